// Cancellation: ends the waits of threads and processes before their time. A handle: copies mean
// the same one, and it can be sent in messages.
//
//   mp::Cancellation stop;
//   mp::Process worker([=] {
//     const mp::CancellationScope scope(stop);
//     for (absl::StatusOr<Job> job; (job = jobs.Get()).ok();) Do(*job);
//   });                                    // until it is cancelled: then Get() is kCancelled
//   ...
//   stop.Cancel();                         // here, in another thread, in a signal handler
//
// Within a CancellationScope each wait of this library by that thread ends when it is cancelled:
// with kCancelled where it returns a status, with false, or nothing, where it says by that that it
// was not in time. It leaves what a timeout leaves: who waited on a Condition has the lock again,
// no permit and no value is lost, a wake is another's; a Barrier is broken, by one who waits no
// longer. What need not wait is done, cancelled or not: so one takes what is left in a queue. What
// is to be tried once says kCancelled, too, where it would say kDeadlineExceeded.
//
// What returns nothing, and so could not say that it was in vain, goes on: Acquire() of a lock
// without a timeout, Wait() of an Event. Acquire(absl::InfiniteDuration()) and the like are the
// ones that are ended. So is Process::Join(): whether the child still runs says IsAlive(). Where
// there is nobody to ask it goes on, too: Popen::Wait() without a timeout, reads and writes of an
// Fd, and a program's exit, which joins its children.
//
// Scopes: within several all count.
//
// Ordering: what was done before Cancel() is visible to who sees it cancelled, or was ended by it.
// Death:    who is killed in Cancel() has cancelled it or has not; then all who wait are told
//           nevertheless, if only when that process is buried, or in a second.
// Fork:     a child has the handle, or is sent it. It is in none of the scopes of its parent: it
//           makes its own.
// Lifetime: as that of a Shared (shared/shared.h).
// Threads:  a scope is of the thread that makes it, which ends it, the last one first.
// Signals:  cancelled() and Cancel() may be called in a signal handler, also in one that interrupts
//           another operation of this library.
// Cost:     264 bytes of the domain. A wait that would sleep looks at its thread's scope; where it
//           sleeps it is told at once if it has slept for 20 ms, else within them. A scope in which
//           the thread waits for descriptors (a Connection, mp::Wait(), a Process) takes one until
//           its end; where there is none left, or for more than 24 such scopes of one Cancellation,
//           it looks every 50 ms. Cancel() takes one system call, and five for each of those.
//
// Not ended is the wait for a process that is stopped (SIGSTOP) within a queue, which it has locked
// for some instructions.

#ifndef MP_MP_CANCELLATION_H_
#define MP_MP_CANCELLATION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "mp/internal/cancellation_state.h"
#include "mp/internal/doorbell.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"

namespace mp {

struct CancellationOptions {
  std::string name = {};  // for messages and listings
};

class Cancellation {
 public:
  // Not cancelled. Ends the process, with a line that says why, where Create() would fail.
  Cancellation() : Cancellation(CancellationOptions{}) {}
  explicit Cancellation(const CancellationOptions& options);
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Cancellation> Create(const CancellationOptions& options = {});

  // For ever.
  void Cancel() const { state_->Cancel(); }
  bool cancelled() const { return state_->cancelled(); }

 private:
  friend struct internal::HandleAccess;
  friend class CancellationScope;
  using Travels = Cancellation;

  using State = internal::CancellationState;

  explicit Cancellation(const internal::Handle<State>& state) : state_(state) {}

  static absl::StatusOr<State*> Make(const CancellationOptions& options);
  static State* MakeOrDie(const CancellationOptions& options);

  internal::Handle<State> state_;
};

// While it lives the calling thread's waits end when it is cancelled.
class CancellationScope final : private internal::CancelScope {
 public:
  explicit CancellationScope(const Cancellation& cancellation);
  ~CancellationScope();

 private:
  int Bell() const override;

  const internal::Handle<internal::CancellationState> state_;
  const uint32_t generation_;
  mutable std::optional<internal::Doorbell> bell_;  // since the first wait for descriptors
};

}  // namespace mp

#endif  // MP_MP_CANCELLATION_H_
