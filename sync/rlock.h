// RLock: a Lock that its holder, a thread, may take again; it is free when it was released
// as often. A handle: copies mean the same lock.
//
//   mp::RLock lock;
//   mp::LockGuard outer(lock);
//   mp::LockGuard inner(lock);  // at once
//
// Ordering: what a holder did before its last Release() is visible to the next holder.
// Death:    as for Lock: the next Acquire() succeeds, at level one, and owner_died() tells
//           until MarkConsistent().
// Fork:     a child has the handle, never the hold, at whatever level its parent held it.
// Lifetime: that of a Lock.
// Signals:  not in a signal handler.
// Misuse:   a Release() by anybody but the holder: this process ends, with one line that
//           names the lock and its holder.
// Limit:    as for Lock: a thread holds at most 2,000, at whatever levels; threads that have
//           the same id, in different PID namespaces, are one holder.
// Cost:     120 bytes of the domain; uncontended, no system call. Figures in
//           docs/benchmarks.md.
//
// Without thread-safety annotations: to the analysis a second Acquire() is a mistake.

#ifndef MP_SYNC_RLOCK_H_
#define MP_SYNC_RLOCK_H_

#include <chrono>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/handle_access.h"
#include "sync/internal/robust_lock.h"
#include "sync/lock_guard.h"  // IWYU pragma: export

namespace mp {

struct RLockOptions {
  std::string name = {};  // for messages and listings
};

class RLock {
 public:
  // Ends the process, with a line that says why, where Create() would fail.
  RLock() : RLock(RLockOptions{}) {}
  explicit RLock(const RLockOptions& options) : lock_(internal::ObjectType::kRLock, options.name) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<RLock> Create(const RLockOptions& options = {}) {
    absl::StatusOr<internal::RobustLock> lock =
        internal::RobustLock::Create(internal::ObjectType::kRLock, options.name);
    if (!lock.ok()) return lock.status();
    return RLock(*std::move(lock));
  }

  void Acquire() const { lock_->Acquire(); }
  // False: it was not to be had in time. Zero or less tries once.
  [[nodiscard]] bool Acquire(absl::Duration timeout) const { return lock_->Acquire(timeout); }
  // At once; true also when the caller holds it.
  [[nodiscard]] bool TryAcquire() const { return lock_->TryAcquire(); }
  void Release() const { lock_->Release(); }

  // Whether anybody holds it now; the answer may be old when it arrives.
  bool Locked() const { return lock_->Locked(); }
  // Ends the process if the caller's thread does not hold it.
  void AssertHeld() const { lock_->AssertHeld(); }

  // By the holder.
  bool owner_died() const { return lock_->owner_died(); }
  void MarkConsistent() const { lock_->MarkConsistent(); }

  // Lockable and TimedLockable, for std::scoped_lock and std::unique_lock.
  void lock() const { lock_->Acquire(); }
  void unlock() const { lock_->Release(); }
  [[nodiscard]] bool try_lock() const { return lock_->TryAcquire(); }
  template <typename Rep, typename Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return lock_->AcquireFor(timeout);
  }
  template <typename Clock, typename Period>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Period>& time) const {
    return lock_->AcquireUntil(time);
  }

 private:
  friend class internal::RobustLock;
  friend struct internal::HandleAccess;
  using Travels = RLock;

  explicit RLock(internal::RobustLock lock) : lock_(std::move(lock)) {}

  internal::RobustLock lock_;
};

}  // namespace mp

#endif  // MP_SYNC_RLOCK_H_
