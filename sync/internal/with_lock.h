// WithLock: the part of a Condition, a Value or an Array that is its lock. What is done to it is
// done to the lock, so that LockGuard and std::scoped_lock take either; the contracts are those of
// RLock.
//
// Without thread-safety annotations, as RLock.

#ifndef MP_SYNC_INTERNAL_WITH_LOCK_H_
#define MP_SYNC_INTERNAL_WITH_LOCK_H_

#include <concepts>

#include "absl/time/time.h"
#include "shared/internal/handle.h"
#include "sync/internal/robust_lock.h"
#include "sync/lock.h"
#include "sync/rlock.h"

namespace mp::internal {

// What they may be made with.
template <typename L>
concept LockHandle = std::same_as<L, Lock> || std::same_as<L, RLock>;

class WithLock {
 public:
  // May be copied, and outlive this handle: then the object lives on. Where it was made with a
  // Lock, this is that Lock still: its holder may not take it again.
  const RLock& GetLock() const { return lock_; }

  void Acquire() const { lock_.Acquire(); }
  [[nodiscard]] bool Acquire(absl::Duration timeout) const { return lock_.Acquire(timeout); }
  [[nodiscard]] bool TryAcquire() const { return lock_.TryAcquire(); }
  void Release() const { lock_.Release(); }
  bool Locked() const { return lock_.Locked(); }
  void AssertHeld() const { lock_.AssertHeld(); }
  bool owner_died() const { return lock_.owner_died(); }
  void MarkConsistent() const { lock_.MarkConsistent(); }
  void lock() const { lock_.Acquire(); }
  void unlock() const { lock_.Release(); }
  [[nodiscard]] bool try_lock() const { return lock_.TryAcquire(); }

 protected:
  const RobustLock& robust_lock() const { return RobustLock::Of(lock_); }

  // The lock in its own cell.
  explicit WithLock(const Handle<LockState>& own) : WithLock(RobustLock(own)) {}
  // Another's.
  explicit WithLock(const RobustLock& lock) : lock_(lock.As<RLock>()) {}
  WithLock(const WithLock&) = default;
  WithLock& operator=(const WithLock&) = default;
  ~WithLock() = default;

 private:
  RLock lock_;
};

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_WITH_LOCK_H_
