// Timer: an event at a point in time, or at each of many, to be waited for beside others: what
// alarm(2), setitimer(2) and SIGALRM are used for, without a signal.
//
//   mp::Timer timer;
//   mp::OrDie(timer.Start(absl::Seconds(1), absl::Seconds(1)));   // in a second, and every second
//   for (;;) {
//     const std::vector<size_t> ready = mp::OrDie(mp::Wait({jobs, timer}));
//     if (ready.back() == 1) Report(timer.Expirations());
//     ...
//   }
//
// Time is that of the monotonic clock, which nobody sets; it does not count while the machine is
// suspended. Points that a program is late for are not shifted: they are counted.
//
// Fork:    a child's copy is inert; it makes one of its own.
// Threads: from any number. An expiration is counted for one of them.
// Signals: not in a signal handler. A wait goes on after one.
// Cost:    a descriptor (a timerfd). A system call for each operation.

#ifndef MP_MP_TIMER_H_
#define MP_MP_TIMER_H_

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/internal/descriptor.h"
#include "shared/domain.h"

namespace mp {

class Timer {
 public:
  // Not started. Ends the process, with a line that says why, where Create() would fail.
  Timer();
  // kResourceExhausted: no descriptors.
  static absl::StatusOr<Timer> Create();

  // In `after`, zero or less: at once; then every `every`, zero or less: no more. Forgets what it
  // was started for, and what has expired. kFailedPrecondition: it was made in another process.
  absl::Status Start(absl::Duration after, absl::Duration every = absl::ZeroDuration()) const;
  // Stopped, and what has expired is forgotten.
  void Cancel() const;

  // Readable while something has expired. Negative: it was made in another process.
  int fileno() const { return IsInherited() ? -1 : descriptor_.fd(); }
  // How often it has expired since the last call, or Start(). Does not wait.
  uint64_t Expirations() const;
  // The same, when it is not 0. kDeadlineExceeded: it has not expired in time. kCancelled: see
  // mp/cancellation.h. kFailedPrecondition: it was made in another process.
  absl::StatusOr<uint64_t> Wait(absl::Duration timeout = absl::InfiniteDuration()) const;

 private:
  explicit Timer(internal::Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  // The kernel's is shared with the parent.
  bool IsInherited() const { return generation_ != internal::ForkGeneration(); }

  internal::Descriptor descriptor_;
  uint32_t generation_ = internal::ForkGeneration();
};

}  // namespace mp

#endif  // MP_MP_TIMER_H_
