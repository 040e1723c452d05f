// LockGuard: holds a lock from its construction to the end of its scope. For Lock, RLock
// and whatever else has Acquire(), Release() and owner_died().
//
//   mp::LockGuard guard(lock);
//
// It refers to the handle, which has to outlive it; a temporary one does not compile.
//
// Ordering: the lock's, as for Acquire() and Release().
// Threads:  a guard is destroyed by the thread that made it.
// Death:    the lock's: whoever dies with a guard dies as a holder.
// Fork:     a guard belongs to the process that made it; its copy in a child does nothing.
// Misuse:   the lock's: a second guard on a Lock by its holder ends this process.
// Cost:     16 bytes, outside the domain; no system call of its own.

#ifndef MP_SYNC_LOCK_GUARD_H_
#define MP_SYNC_LOCK_GUARD_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "shared/domain.h"

namespace mp {

template <typename L>
class ABSL_SCOPED_LOCKABLE LockGuard {
 public:
  explicit LockGuard(const L& lock) ABSL_EXCLUSIVE_LOCK_FUNCTION(lock)
      : lock_(lock), generation_(internal::ForkGeneration()) {
    lock_.Acquire();
  }
  explicit LockGuard(const L&& temporary) = delete;
  ~LockGuard() ABSL_UNLOCK_FUNCTION() {
    if (generation_ == internal::ForkGeneration()) lock_.Release();
  }

  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

  // A holder died, and nobody has called MarkConsistent() since.
  bool owner_died() const { return lock_.owner_died(); }

 private:
  const L& lock_;
  const uint32_t generation_;
};

// The same for a reader of an RWLock.
template <typename L>
class ABSL_SCOPED_LOCKABLE SharedLockGuard {
 public:
  explicit SharedLockGuard(const L& lock) ABSL_SHARED_LOCK_FUNCTION(lock)
      : lock_(lock), generation_(internal::ForkGeneration()) {
    lock_.AcquireShared();
  }
  explicit SharedLockGuard(const L&& temporary) = delete;
  ~SharedLockGuard() ABSL_UNLOCK_FUNCTION() {
    if (generation_ == internal::ForkGeneration()) lock_.ReleaseShared();
  }

  SharedLockGuard(const SharedLockGuard&) = delete;
  SharedLockGuard& operator=(const SharedLockGuard&) = delete;

  bool owner_died() const { return lock_.owner_died(); }

 private:
  const L& lock_;
  const uint32_t generation_;
};

}  // namespace mp

#endif  // MP_SYNC_LOCK_GUARD_H_
