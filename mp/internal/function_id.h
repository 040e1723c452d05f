// FunctionId: a function, as another process of this program finds it: by the file that it is
// in, and where it is there. Programs are loaded at other addresses each time.
//
//   absl::StatusOr<FunctionId> id = FunctionId::Of(address);     // is sent
//   absl::StatusOr<const void*> address = id->Find();            // in the other process
//
// A file is told by its build id, which the linker makes of what is in it; where it has none, by
// what its program headers say. A library that the other process has not loaded is loaded from
// where this one has it.

#ifndef MP_MP_INTERNAL_FUNCTION_ID_H_
#define MP_MP_INTERNAL_FUNCTION_ID_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mp::internal {

struct FunctionId {
  std::string file;     // its build id
  std::string path;     // of a library; "": the program itself
  uint64_t offset = 0;  // from where the file is loaded

  // kInvalidArgument: it is in none of this process's files, such as one made at run time.
  static absl::StatusOr<FunctionId> Of(const void* function);
  // kInvalidArgument: this process has no such file, or nothing that can be run is there.
  absl::StatusOr<const void*> Find() const;

  // kInvalidArgument: the program at `path` is not this one, built alike. Or a status of its own
  // for what cannot be read.
  static absl::Status CheckIsThisProgram(const std::string& path);
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_FUNCTION_ID_H_
