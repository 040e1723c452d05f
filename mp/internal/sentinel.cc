#include "mp/internal/sentinel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/descriptor.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"

namespace mp::internal {
absl::Duration TimeLeft(const timespec& deadline) {
  return absl::DurationFromTimespec(deadline) -
         absl::DurationFromTimespec(MonotonicDeadline(absl::ZeroDuration()));
}

// A program that closed its standard input gets descriptor 0 for the next thing it opens;
// a child would put the null device over it.
absl::StatusOr<Sentinel> Sentinel::Own(int fd, const char* call) {
  if (fd > STDERR_FILENO) return Sentinel(fd);
  if (fd < 0) return absl::ErrnoToStatus(errno, call);
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  close(fd);
  if (moved < 0) return absl::ErrnoToStatus(error, call);
  return Sentinel(moved);
}

absl::StatusOr<Sentinel> Sentinel::Open(pid_t pid) {
  return Own(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), "pidfd_open");
}

absl::StatusOr<Sentinel> Sentinel::OfTheDead() { return Own(eventfd(1, EFD_CLOEXEC), "eventfd"); }

Sentinel::Sentinel(int fd) : fd_(fd) {
  struct stat file;
  if (fstat(fd, &file) != 0) return;
  device_ = file.st_dev;
  inode_ = file.st_ino;
}

Sentinel::~Sentinel() {
  struct stat file;
  if (fd_ != kNone && fstat(fd_, &file) == 0 && file.st_dev == device_ && file.st_ino == inode_) {
    close(fd_);
  }
}

bool Sentinel::Wait(absl::Duration timeout) const { return WaitUntil(MonotonicDeadline(timeout)); }

bool Sentinel::WaitUntil(const timespec& deadline) const {
  pollfd ended = {.fd = fd_, .events = POLLIN, .revents = 0};
  const int n = PollUntil({&ended, 1}, &deadline, "a process");
  if (n > 0 && (ended.revents & POLLNVAL) != 0) FailClosed();
  return n > 0;
}

void Sentinel::FailClosed() const {
  Fatal(absl::StrCat("pid ", getpid(), ": the program closed descriptor ", fd_,
                     ", which is the sentinel of a process; leave it open"));
}

}  // namespace mp::internal
