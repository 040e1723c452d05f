// RobustLock: what Lock and RLock have in common: a robust mutex in a cell, with the
// word that tells later holders of a death until somebody has repaired the data.
//
// Layout: LockHeader (its mutex is recursive for an RLock), then
//   field        written by   meaning
//   owner_died   the holder   1 from a holder's death until MarkConsistent()
//
//   Repair after a death: who gets EOWNERDEAD sets owner_died, then makes the mutex
//   consistent. Dying in between gives EOWNERDEAD to the next one.

#ifndef MP_SYNC_INTERNAL_ROBUST_LOCK_H_
#define MP_SYNC_INTERNAL_ROBUST_LOCK_H_

#include <time.h>

#include <chrono>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/atomic.h"
#include "shared/internal/deadline.h"
#include "shared/internal/handle.h"
#include "shared/internal/held_locks.h"
#include "shared/internal/lock_header.h"
#include "shared/internal/object.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

struct LockState : LockHeader {
  Word owner_died;

  void FreeBlocks() {}
};

// The contracts are those of sync/lock.h and sync/rlock.h.
class RobustLock {
 public:
  static absl::StatusOr<RobustLock> Create(ObjectType type, std::string_view name);
  // Ends the process where Create() would return a status.
  RobustLock(ObjectType type, std::string_view name);

  void Acquire() const {
    if (HeldLocks::IsFull()) [[unlikely]]
      CheckLimit();
    const RobustMutex::Result result = state_->mutex.TryLock();
    if (result != RobustMutex::Result::kAcquired) [[unlikely]] {
      AcquireSlow(result, nullptr);
    } else {
      CountAcquired();
    }
  }
  bool Acquire(absl::Duration timeout) const;
  bool TryAcquire() const {
    if (HeldLocks::IsFull()) [[unlikely]]
      CheckLimit();
    const RobustMutex::Result result = state_->mutex.TryLock();
    if (result != RobustMutex::Result::kAcquired) return AfterTryLock(result);
    CountAcquired();
    return true;
  }
  void Release() const {
    // Before the unlock: then it is another's.
    const bool last = state_->mutex.Level() == 1;
    if (!state_->mutex.Unlock()) [[unlikely]]
      ReleasedByStranger();
    if (last) HeldLocks::Remove();
  }
  bool Locked() const { return state_->mutex.HolderTid() != 0; }
  bool HeldByThisThread() const;
  void AssertHeld() const;
  bool owner_died() const { return state_->owner_died.load(std::memory_order_relaxed) != 0; }
  void MarkConsistent() const;

  template <typename Rep, typename Period>
  bool AcquireFor(const std::chrono::duration<Rep, Period>& timeout) const {
    return Acquire(FromChronoTimeout(timeout));
  }
  template <typename Clock, typename Period>
  bool AcquireUntil(const std::chrono::time_point<Clock, Period>& time) const {
    return Acquire(FromChronoTime(time));
  }

 private:
  explicit RobustLock(LockState* state) : state_(state) {}

  static absl::StatusOr<LockState*> Make(ObjectType type, std::string_view name);
  static LockState* MakeOrDie(ObjectType type, std::string_view name);
  // Returns whether the lock was acquired.
  bool AcquireSlow(RobustMutex::Result result, const timespec* deadline) const;
  RobustMutex::Result LockBusy(const timespec* deadline) const;
  bool AfterLock(RobustMutex::Result result) const;
  bool AfterTryLock(RobustMutex::Result result) const;
  void CountAcquired() const {
    if (state_->mutex.Level() == 1) HeldLocks::Add();
  }
  void CheckLimit() const;
  [[noreturn]] void ReleasedByStranger() const;
  [[noreturn]] void Misuse(std::string_view what, std::string_view instead) const;

  Handle<LockState> state_;
};

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_ROBUST_LOCK_H_
