// Condition: threads and processes wait until another says that what they wait for may be so. A
// handle: copies mean the same condition.
//
//   mp::Condition condition;                // with an RLock of its own
//   mp::Process child([condition, ready] {
//     mp::LockGuard guard(condition);
//     condition.WaitFor([&] { return *ready; });
//     ...                                   // it is so, and the lock is held
//   });
//   mp::LockGuard guard(condition);
//   *ready = true;
//   condition.Notify();                     // one of them is woken when the guard ends
//
// It is a lock, too: its own, or the Lock or RLock that it was made with, which several may share.
// Wait() gives back all levels of an RLock, and has them again when it returns.
//
// Notify(n) wakes n of those who wait at that moment, or all if there are fewer. Wait() may return
// without having been meant when another that waited has died: so wait in a loop, or with
// WaitFor().
//
// Ordering: the lock's.
// Death:    whoever dies, waiting, woken or notifying, before or after any step, leaves nobody
//           asleep whom a Notify() was for: where the one who was chosen dies, all who waited are
//           woken. Notify() waits for nobody. When the lock's holder dies, owner_died() tells the
//           next one, who may return from Wait() with it. A process that is killed while it
//           assigns a Condition that lies in the domain may leave there the one and the lock of
//           the other.
// Fork:     a child has the handle, never the hold; and does not wait in its parent's place.
// Lifetime: that of a Lock.
// Signals:  not in a signal handler. Wait() goes on after one.
// Misuse:   Wait(), Notify() and Release() by whoever does not hold the lock: this process ends,
//           with one line that names the condition and the holder.
// Limit:    65,535 threads wait at once; one more ends its process.
// Cost:     120 bytes of the domain, its lock included. Who waits spins a little, then sleeps; no
//           system call where nobody sleeps. Figures in docs/benchmarks.md.
//
// Without thread-safety annotations, as RLock.

#ifndef MP_SYNC_CONDITION_H_
#define MP_SYNC_CONDITION_H_

#include <time.h>

#include <limits>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "sync/internal/condition_state.h"
#include "sync/internal/robust_lock.h"
#include "sync/internal/with_lock.h"
#include "sync/lock_guard.h"  // IWYU pragma: export

namespace mp {

struct ConditionOptions {
  std::string name = {};  // for messages and listings
};

// GetLock(), Acquire() and what else a lock has: sync/internal/with_lock.h.
class Condition : public internal::WithLock {
 public:
  // Each ends the process, with a line that says why, where Create() would fail.
  Condition() : Condition(ConditionOptions{}) {}
  explicit Condition(const ConditionOptions& options) : Condition(MakeOrDie(options)) {}
  // Over a Lock or an RLock of the caller's.
  template <internal::LockHandle L>
  explicit Condition(const L& lock, const ConditionOptions& options = {})
      : Condition(MakeOrDie(options), internal::RobustLock::Of(lock)) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Condition> Create(const ConditionOptions& options = {}) {
    const absl::StatusOr<State*> state = Make(options);
    if (!state.ok()) return state.status();
    return Condition(internal::Handle<State>(*state));
  }
  template <internal::LockHandle L>
  static absl::StatusOr<Condition> Create(const L& lock, const ConditionOptions& options = {}) {
    const absl::StatusOr<State*> state = Make(options);
    if (!state.ok()) return state.status();
    return Condition(internal::Handle<State>(*state), internal::RobustLock::Of(lock));
  }

  // By the holder. Gives the lock back, waits, and has it again on return.
  void Wait() const { static_cast<void>(WaitUntil(&internal::kUncancelled)); }
  // False: it was not notified in time; also where that is zero or less. To have the lock again is
  // not bounded by `timeout`.
  [[nodiscard]] bool Wait(absl::Duration timeout) const;
  // Until `predicate` is true, which is called with the lock held.
  template <typename Predicate>
  void WaitFor(Predicate predicate) const {
    while (!predicate()) Wait();
  }
  // False: it was not in time, and the last look says so. Zero or less looks once.
  template <typename Predicate>
  [[nodiscard]] bool WaitFor(Predicate predicate, absl::Duration timeout) const;

  // By the holder. At most `count` of those who wait; zero or less: nobody.
  void Notify(int count = 1) const;
  void NotifyAll() const { Notify(std::numeric_limits<int>::max()); }

 private:
  friend struct internal::HandleAccess;
  using Travels = Condition;

  using State = internal::ConditionState;

  explicit Condition(const internal::Handle<State>& state)
      : WithLock(internal::Handle<internal::LockState>(state)), state_(state) {}
  Condition(const internal::Handle<State>& state, const internal::RobustLock& lock)
      : WithLock(lock), state_(state) {}

  static absl::StatusOr<State*> Make(const ConditionOptions& options);
  static internal::Handle<State> MakeOrDie(const ConditionOptions& options);
  bool WaitUntil(const timespec* deadline) const;
  void CheckHeld(const char* what) const;

  internal::Handle<State> state_;
};

template <typename Predicate>
bool Condition::WaitFor(Predicate predicate, absl::Duration timeout) const {
  if (predicate()) return true;
  if (timeout <= absl::ZeroDuration()) return false;
  const internal::Deadline deadline(timeout);
  for (;;) {
    const bool in_time = WaitUntil(deadline.get());
    if (predicate()) return true;
    if (!in_time) return false;
  }
}

}  // namespace mp

#endif  // MP_SYNC_CONDITION_H_
