#include "mp/internal/communication.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mp/fd.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/no_sigpipe.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"

namespace mp::internal {
namespace {

// As much as a pipe holds.
constexpr size_t kReadSize = size_t{64} << 10;

bool IsForLater(int error) { return error == EAGAIN || error == EINTR; }

absl::Status Failed(const char* call, const Fd& fd) {
  return absl::ErrnoToStatus(
      errno, absl::StrCat(call, " descriptor ", fd.get(), ": ", std::strerror(errno)));
}

// What goes in now. Closes the pipe after the last byte, and where nobody reads it.
absl::Status WriteSome(Fd& in, std::string_view& input) {
  if (!input.empty()) {
    const NoSigpipe no_sigpipe;
    const ssize_t n = write(in.get(), input.data(), input.size());
    if (n >= 0) {
      input.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EPIPE) {
      no_sigpipe.TakeBack();
      input = {};
    } else if (!IsForLater(errno)) {
      return Failed("write", in);
    }
  }
  if (input.empty()) in.Close();
  return absl::OkStatus();
}

// What is there. Closes the pipe at its end.
absl::Status ReadSome(Fd& fd, absl::Span<char> buffer, std::string& output) {
  const ssize_t n = read(fd.get(), buffer.data(), buffer.size());
  if (n > 0) {
    output.append(buffer.data(), static_cast<size_t>(n));
  } else if (n == 0) {
    fd.Close();
  } else if (!IsForLater(errno)) {
    return Failed("read", fd);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Communication::Begin(const Pipes& pipes, std::string_view input,
                                  const timespec* deadline) {
  has_begun_ = true;
  // A write may not wait while there is something to be read. The flag is of this end alone.
  if (pipes.in.has_value()) {
    const int flags = fcntl(pipes.in.get(), F_GETFL);
    if (flags == -1 || fcntl(pipes.in.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
      return Failed("fcntl(F_SETFL)", pipes.in);
    }
  }
  absl::Status status = Run(pipes, input, deadline);
  input_ = input;
  return status;
}

absl::Status Communication::Continue(const Pipes& pipes, const timespec* deadline) {
  std::string_view input = input_;
  absl::Status status = Run(pipes, input, deadline);
  input_ = std::string(input);
  return status;
}

absl::Status Communication::Run(const Pipes& pipes, std::string_view& input,
                                const timespec* deadline) {
  if (pipes.in.has_value() && input.empty()) pipes.in.Close();
  const auto buffer = std::make_unique_for_overwrite<char[]>(kReadSize);
  const absl::Span<char> space(buffer.get(), kReadSize);
  while (pipes.in.has_value() || pipes.out.has_value() || pipes.err.has_value()) {
    // Where there is no descriptor, poll(2) looks for nothing.
    pollfd ready[] = {{.fd = pipes.in.get(), .events = POLLOUT, .revents = 0},
                      {.fd = pipes.out.get(), .events = POLLIN, .revents = 0},
                      {.fd = pipes.err.get(), .events = POLLIN, .revents = 0}};
    PollUntil(absl::MakeSpan(ready), deadline);
    absl::Status status;
    if (ready[0].revents != 0) status = WriteSome(pipes.in, input);
    if (status.ok() && ready[1].revents != 0) status = ReadSome(pipes.out, space, out);
    if (status.ok() && ready[2].revents != 0) status = ReadSome(pipes.err, space, err);
    if (!status.ok()) return status;
    // Also where there is always something.
    if (CancelScope::IsLate(deadline) &&
        (pipes.in.has_value() || pipes.out.has_value() || pipes.err.has_value())) {
      return LateStatus("it has not closed its pipes in time");
    }
  }
  return absl::OkStatus();
}

}  // namespace mp::internal
