// Sentinel: a descriptor that becomes readable when a process has ended (a pidfd).
//
// Any process may hold one of any other and wait on it; unlike a pid it never comes to
// mean somebody else. It tells that the process has ended, not how: see children.h.

#ifndef MP_MP_INTERNAL_SENTINEL_H_
#define MP_MP_INTERNAL_SENTINEL_H_

#include <sys/types.h>
#include <time.h>

#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mp::internal {

// Until a point on CLOCK_MONOTONIC; negative when it has passed.
absl::Duration TimeLeft(const timespec& deadline);

class Sentinel {
 public:
  // Of no process.
  Sentinel() = default;
  // Of a process that nobody can reap in the meantime, or of this one. The descriptor is
  // none of the standard ones, also where those are closed. kResourceExhausted: no
  // descriptor is left. kNotFound: no such process.
  static absl::StatusOr<Sentinel> Open(pid_t pid);

  // Of a pidfd, which it takes over, or closes where there is no other number for a standard one.
  static absl::StatusOr<Sentinel> Take(int pidfd) { return Own(pidfd, "fcntl(F_DUPFD)"); }

  // Of a process that has ended already.
  static absl::StatusOr<Sentinel> OfTheDead();

  // Closes it, but for a number that has come to be another file's: a child may have closed
  // all descriptors that it inherited, and with them this one, to open its own. (Before
  // Linux 6.9 a pidfd cannot be told from an eventfd.)
  ~Sentinel();
  Sentinel(Sentinel&& other) noexcept
      : fd_(std::exchange(other.fd_, kNone)), device_(other.device_), inode_(other.inode_) {}
  Sentinel& operator=(Sentinel&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
    return *this;
  }

  int fd() const { return fd_; }

  // True: the process has ended. A signal that interrupts it does not make it longer; it ends when
  // the thread is cancelled (shared/internal/cancel_scope.h).
  [[nodiscard]] bool Wait(absl::Duration timeout) const;
  [[nodiscard]] bool WaitUntil(const timespec& deadline) const;

  // Ends this process: the program closed a descriptor that is not its own.
  [[noreturn]] void FailClosed() const;

 private:
  static constexpr int kNone = -1;

  explicit Sentinel(int fd);
  static absl::StatusOr<Sentinel> Own(int fd, const char* call);

  int fd_ = kNone;
  dev_t device_ = 0;  // which file it is
  ino_t inode_ = 0;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_SENTINEL_H_
