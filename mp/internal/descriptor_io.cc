#include "mp/internal/descriptor_io.h"

#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/no_sigpipe.h"
#include "shared/internal/deadline.h"

namespace mp::internal {
namespace {

absl::Status Failed(const char* call, int fd, int error) {
  std::string message = absl::StrCat(call, " descriptor ", fd, ": ", std::strerror(error));
  if (error == EPIPE) return absl::UnavailableError(absl::StrCat(message, "; nobody reads it"));
  return absl::ErrnoToStatus(error, message);
}

// Whether to try again, after waiting for it if need be: as read(2) itself would, cancelled or not,
// since half of what is read or written is worse than all or nothing.
bool TryAgain(int fd, short events) {
  if (errno == EINTR) return true;
  if (errno != EAGAIN) return false;
  pollfd ready = {.fd = fd, .events = events, .revents = 0};
  PollUntil({&ready, 1}, &kUncancelled);
  return true;
}

std::string_view After(std::string_view bytes, size_t size) {
  return bytes.substr(std::min(size, bytes.size()));
}

iovec VectorOf(std::string_view bytes) {
  return {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
}

}  // namespace

absl::StatusOr<size_t> ReadSome(int fd, absl::Span<char> to) {
  for (;;) {
    const ssize_t n = read(fd, to.data(), to.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (!TryAgain(fd, POLLIN)) return Failed("read", fd, errno);
  }
}

absl::StatusOr<size_t> ReadFully(int fd, absl::Span<char> to) {
  size_t got = 0;
  while (got < to.size()) {
    absl::StatusOr<size_t> n = ReadSome(fd, to.subspan(got));
    if (!n.ok()) return n;
    if (*n == 0) break;
    got += *n;
  }
  return got;
}

absl::Status WriteFully(int fd, std::string_view bytes, std::string_view more) {
  const NoSigpipe no_sigpipe;
  do {
    const iovec vectors[] = {VectorOf(bytes), VectorOf(more)};
    const ssize_t n = writev(fd, vectors, 2);
    if (n >= 0) {
      const auto written = static_cast<size_t>(n);
      more = After(more, written - std::min(written, bytes.size()));
      bytes = After(bytes, written);
    } else if (errno == EPIPE) {
      no_sigpipe.TakeBack();
      return Failed("write", fd, EPIPE);
    } else if (!TryAgain(fd, POLLOUT)) {
      return Failed("write", fd, errno);
    }
  } while (!bytes.empty() || !more.empty());
  return absl::OkStatus();
}

}  // namespace mp::internal
