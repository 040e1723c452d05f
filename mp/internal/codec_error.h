// CodecError: how the coding of a value is given up, through whatever code of the user's called for
// it. Nobody outside sees it: Guarded() makes a status of it.

#ifndef MP_MP_INTERNAL_CODEC_ERROR_H_
#define MP_MP_INTERNAL_CODEC_ERROR_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace mp::internal {

// No std::exception: code of the user's that catches those does not take it for one of its own.
struct CodecError {
  absl::Status status;
};

// What `run` ends with. Other exceptions are `thrown`, with their what(); of memory that is
// missing, kResourceExhausted.
absl::Status Guarded(absl::StatusCode thrown, absl::FunctionRef<void()> run);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CODEC_ERROR_H_
