#include "mp/internal/descriptor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"

namespace mp::internal {
namespace {

absl::Duration LeftUntil(const timespec& deadline) {
  const timespec now = MonotonicDeadline(absl::ZeroDuration());
  return std::max(absl::DurationFromTimespec(deadline) - absl::DurationFromTimespec(now),
                  absl::ZeroDuration());
}

}  // namespace

absl::StatusOr<Descriptor> Descriptor::Own(int fd, const char* call) {
  if (fd > STDERR_FILENO) return Descriptor(fd);
  if (fd < 0) return absl::ErrnoToStatus(errno, call);
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  close(fd);
  if (moved < 0) return absl::ErrnoToStatus(error, call);
  return Descriptor(moved);
}

absl::StatusOr<std::pair<Descriptor, Descriptor>> Descriptor::Pair(int type) {
  int fds[2] = {kNone, kNone};
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  absl::StatusOr<Descriptor> first = Own(fds[0], "socketpair");
  absl::StatusOr<Descriptor> second = Own(fds[1], "socketpair");
  if (!first.ok()) return first.status();
  if (!second.ok()) return second.status();
  return std::pair(*std::move(first), *std::move(second));
}

Descriptor::Descriptor(int fd) : fd_(fd) {
  struct stat file;
  if (fstat(fd, &file) != 0) return;
  device_ = file.st_dev;
  inode_ = file.st_ino;
}

Descriptor::~Descriptor() {
  struct stat file;
  if (fd_ != kNone && fstat(fd_, &file) == 0 && file.st_dev == device_ && file.st_ino == inode_) {
    close(fd_);
  }
}

int PollUntil(absl::Span<pollfd> descriptors, const timespec* deadline) {
  for (;;) {
    timespec left;
    if (deadline != nullptr) left = absl::ToTimespec(LeftUntil(*deadline));
    const int n = ppoll(descriptors.data(), descriptors.size(),
                        deadline != nullptr ? &left : nullptr, nullptr);
    if (n >= 0) return n;
    if (errno != EINTR) {
      Fatal(absl::StrCat("pid ", getpid(), ": cannot wait for ", descriptors.size(),
                         " descriptors: ppoll: ", std::strerror(errno),
                         "; it needs an RLIMIT_NOFILE of as many, and kernel memory"));
    }
  }
}

void EndIfClosed(absl::Span<const pollfd> descriptors) {
  for (const pollfd& descriptor : descriptors) {
    if ((descriptor.revents & POLLNVAL) != 0) {
      Fatal(absl::StrCat("pid ", getpid(), ": the program closed descriptor ", descriptor.fd,
                         ", which is a pipe's; use Connection::Close()"));
    }
  }
}

}  // namespace mp::internal
