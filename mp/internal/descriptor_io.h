// Descriptor I/O: read(2) and write(2) as one means them: they wait, also where the descriptor
// would not, go on after signals, and never end the process with SIGPIPE.
//
// Errors name the call and the descriptor. kUnavailable: nobody is left to read what is written.
// kFailedPrecondition: no descriptor, or not open for that. Else what errno says.

#ifndef MP_MP_INTERNAL_DESCRIPTOR_IO_H_
#define MP_MP_INTERNAL_DESCRIPTOR_IO_H_

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace mp::internal {

// Some bytes, as soon as there are any; 0: the end, or there is no room.
absl::StatusOr<size_t> ReadSome(int fd, absl::Span<char> to);

// Until there is no room, or the end has come.
absl::StatusOr<size_t> ReadFully(int fd, absl::Span<char> to);

// All of both, as if they were one: to a pipe in one piece among those of other writers, where that
// is no more than PIPE_BUF bytes.
absl::Status WriteFully(int fd, std::string_view bytes, std::string_view more = {});

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_DESCRIPTOR_IO_H_
