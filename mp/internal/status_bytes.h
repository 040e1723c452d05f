// An absl::Status in a message: its code, its text and its payloads.

#ifndef MP_MP_INTERNAL_STATUS_BYTES_H_
#define MP_MP_INTERNAL_STATUS_BYTES_H_

#include "absl/status/status.h"
#include "mp/decoder.h"
#include "mp/encoder.h"

namespace mp::internal {

void PutStatus(const absl::Status& status, Encoder& encoder);
absl::Status GetStatus(Decoder& decoder);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_STATUS_BYTES_H_
