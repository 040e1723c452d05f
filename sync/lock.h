// Lock: mutual exclusion between the threads and processes of a family. A handle: copies
// mean the same lock.
//
//   mp::Lock lock;
//   mp::Process child([lock] {
//     mp::LockGuard guard(lock);
//     if (guard.owner_died()) {  // held, but the data may be half-written
//       Repair();
//       lock.MarkConsistent();  // else every later holder is told again
//     }
//   });
//
// Ordering: what a holder did before Release() is visible to the next holder.
// Death:    when a holder dies, the next Acquire() succeeds; owner_died() tells it, and
//           every later holder, until one calls MarkConsistent(). The end of the
//           holding thread, and execve(), count as a death.
// Fork:     a child has the handle, never the hold.
// Lifetime: as that of a Shared (shared/shared.h); and no shorter than it is held.
// Signals:  not in a signal handler.
// Misuse:   a second Acquire() by the holder, a Release() by anybody else: this process
//           ends, with one line that names the lock and its holder. Use RLock, or
//           Semaphore(1).
// Limit:    a thread holds at most 2,000 locks; one more ends its process, with a line that
//           says so: when it dies, the kernel would not give them all back. A family is
//           within one PID namespace: where ids of threads repeat, one thread is taken for
//           the other.
// Cost:     120 bytes of the domain; uncontended, no system call. Figures in
//           docs/benchmarks.md.

#ifndef MP_SYNC_LOCK_H_
#define MP_SYNC_LOCK_H_

#include <chrono>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/handle_access.h"
#include "sync/internal/robust_lock.h"
#include "sync/lock_guard.h"  // IWYU pragma: export

namespace mp {

struct LockOptions {
  std::string name = {};  // for messages and listings
};

class ABSL_LOCKABLE Lock {
 public:
  // Ends the process, with a line that says why, where Create() would fail.
  Lock() : Lock(LockOptions{}) {}
  explicit Lock(const LockOptions& options) : lock_(internal::ObjectType::kLock, options.name) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Lock> Create(const LockOptions& options = {}) {
    absl::StatusOr<internal::RobustLock> lock =
        internal::RobustLock::Create(internal::ObjectType::kLock, options.name);
    if (!lock.ok()) return lock.status();
    return Lock(*std::move(lock));
  }

  void Acquire() const ABSL_EXCLUSIVE_LOCK_FUNCTION() { lock_->Acquire(); }
  // False: it was not to be had in time. Zero or less tries once.
  [[nodiscard]] bool Acquire(absl::Duration timeout) const ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return lock_->Acquire(timeout);
  }
  // False also when the caller holds it.
  [[nodiscard]] bool TryAcquire() const ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return lock_->TryAcquire();
  }
  void Release() const ABSL_UNLOCK_FUNCTION() { lock_->Release(); }

  // Whether anybody holds it now; the answer may be old when it arrives.
  bool Locked() const { return lock_->Locked(); }
  // Ends the process if the caller's thread does not hold it.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() { lock_->AssertHeld(); }

  // By the holder.
  bool owner_died() const { return lock_->owner_died(); }
  void MarkConsistent() const { lock_->MarkConsistent(); }

  // Lockable and TimedLockable, for std::scoped_lock and std::unique_lock.
  void lock() const ABSL_EXCLUSIVE_LOCK_FUNCTION() { lock_->Acquire(); }
  void unlock() const ABSL_UNLOCK_FUNCTION() { lock_->Release(); }
  [[nodiscard]] bool try_lock() const ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return lock_->TryAcquire();
  }
  template <typename Rep, typename Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return lock_->AcquireFor(timeout);
  }
  template <typename Clock, typename Period>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Period>& time) const
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return lock_->AcquireUntil(time);
  }

 private:
  friend class internal::RobustLock;
  friend struct internal::HandleAccess;
  using Travels = Lock;

  explicit Lock(internal::RobustLock lock) : lock_(std::move(lock)) {}

  internal::RobustLock lock_;
};

}  // namespace mp

#endif  // MP_SYNC_LOCK_H_
