#include "mp/os_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace mp {
namespace {

absl::Status Failed(const char* call) {
  return absl::ErrnoToStatus(errno, absl::StrCat("OsPipe: ", call, ": ", std::strerror(errno),
                                                 "; close some, or raise the limit (ulimit -n)"));
}

}  // namespace

absl::StatusOr<std::pair<Fd, Fd>> OsPipe(const OsPipeOptions& options) {
  int numbers[2];
  if (pipe2(numbers, options.inheritable ? 0 : O_CLOEXEC) != 0) return Failed("pipe2");
  std::pair<Fd, Fd> ends(numbers[0], numbers[1]);
  for (Fd* const end : {&ends.first, &ends.second}) {
    if (end->get() > STDERR_FILENO) continue;
    Fd moved(fcntl(end->get(), options.inheritable ? F_DUPFD : F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!moved) return Failed("fcntl(F_DUPFD)");
    *end = std::move(moved);
  }
  return ends;
}

}  // namespace mp
