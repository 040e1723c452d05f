#include "mp/internal/descriptor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"

namespace mp::internal {
namespace {

absl::Duration LeftUntil(const timespec& deadline) {
  const timespec now = MonotonicDeadline(absl::ZeroDuration());
  return std::max(absl::DurationFromTimespec(deadline) - absl::DurationFromTimespec(now),
                  absl::ZeroDuration());
}

// Negative: a signal came.
int PollOnce(absl::Span<pollfd> descriptors, const timespec* deadline, const char* what) {
  timespec left;
  if (deadline != nullptr) left = absl::ToTimespec(LeftUntil(*deadline));
  const int n =
      ppoll(descriptors.data(), descriptors.size(), deadline != nullptr ? &left : nullptr, nullptr);
  if (n < 0 && errno != EINTR) {
    Fatal(absl::StrCat("pid ", getpid(), ": cannot wait for ", what,
                       ": ppoll: ", std::strerror(errno), "; it needs an RLIMIT_NOFILE of ",
                       descriptors.size(), " or more, and kernel memory"));
  }
  return n;
}

// The same with what calls those who are cancelled.
int PollUnderScope(const CancelScope& innermost, absl::Span<pollfd> descriptors,
                   const timespec* deadline, const char* what) {
  // Who cancels may die before it has called.
  constexpr absl::Duration kLook = absl::Seconds(1);
  constexpr absl::Duration kLookWithoutBell = absl::Milliseconds(50);
  absl::Duration pause = kLook;
  std::vector<pollfd> all(descriptors.begin(), descriptors.end());
  for (const CancelScope* scope = &innermost; scope != nullptr; scope = scope->outer()) {
    const int bell = scope->Bell();
    if (bell >= 0) {
      all.push_back({.fd = bell, .events = POLLIN, .revents = 0});
    } else {
      pause = kLookWithoutBell;
    }
  }
  const absl::Span<const pollfd> bells = absl::MakeConstSpan(all).subspan(descriptors.size());
  for (;;) {
    // Looked at behind Bell(): who cancels later calls it.
    const bool last_look = CancelScope::Cancelled();
    timespec end = MonotonicDeadline(last_look ? absl::ZeroDuration() : pause);
    const bool last = deadline != nullptr && LeftUntil(*deadline) <= LeftUntil(end);
    if (last) end = *deadline;
    if (PollOnce(absl::MakeSpan(all), &end, what) < 0) continue;
    EndIfClosed(bells);
    int ready = 0;
    for (size_t i = 0; i < descriptors.size(); ++i) {
      descriptors[i].revents = all[i].revents;
      if (all[i].revents != 0) ++ready;
    }
    if (ready > 0 || last_look || (last && IsPast(*deadline))) return ready;
  }
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

int PollUntil(absl::Span<pollfd> descriptors, const timespec* deadline, const char* what) {
  const CancelScope* const scope = CancelScope::HeededUntil(deadline);
  // Who only looks needs no bell.
  if (scope != nullptr && !(deadline != nullptr && IsPast(*deadline))) {
    return PollUnderScope(*scope, descriptors, deadline, what);
  }
  if (IsUncancelled(deadline)) deadline = nullptr;
  for (;;) {
    const int n = PollOnce(descriptors, deadline, what);
    if (n >= 0) return n;
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
