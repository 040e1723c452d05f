// Descriptor: a file descriptor, and its end. And how to wait for some of them.
//
// One that is none of the standard ones, also where those are closed: who puts another file in
// their place later would take it away.

#ifndef MP_MP_INTERNAL_DESCRIPTOR_H_
#define MP_MP_INTERNAL_DESCRIPTOR_H_

#include <poll.h>
#include <sys/types.h>
#include <time.h>

#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace mp::internal {

class Descriptor {
 public:
  Descriptor() = default;
  // Of what a call named `call` has returned: kResourceExhausted and the like where it has failed,
  // and errno tells why.
  static absl::StatusOr<Descriptor> Own(int fd, const char* call);
  // Two sockets that are connected: each is readable where the other has sent to it, or is closed
  // in all processes. Neither waits.
  static absl::StatusOr<std::pair<Descriptor, Descriptor>> Pair(int type);

  // Closes it, but for a number that has come to be another file's: a child may have closed all
  // that it inherited.
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, kNone)), device_(other.device_), inode_(other.inode_) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
    return *this;
  }

  int fd() const { return fd_; }

 private:
  static constexpr int kNone = -1;

  explicit Descriptor(int fd);

  int fd_ = kNone;
  dev_t device_ = 0;  // which file it is
  ino_t inode_ = 0;
};

// poll(2) until `deadline`, a point on CLOCK_MONOTONIC; nullptr: never. A signal does not end it;
// it ends when the thread is cancelled (shared/internal/cancel_scope.h), as at the deadline, unless
// that is kUncancelled. So who tries again asks whether it is cancelled, not only for the time.
// Returns how many are ready, or are no descriptors. `what`: what is waited for, for messages.
int PollUntil(absl::Span<pollfd> descriptors, const timespec* deadline,
              const char* what = "descriptors");
// Ends the process where one of them, which are the library's, was closed.
void EndIfClosed(absl::Span<const pollfd> descriptors);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_DESCRIPTOR_H_
