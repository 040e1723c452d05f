// RobustLock: what Lock and RLock have in common: a robust mutex in a cell, with the
// word that tells later holders of a death until somebody has repaired the data. What carries
// its own lock, as a Condition or a Value does, has a LockState as its base.

#ifndef MP_SYNC_INTERNAL_ROBUST_LOCK_H_
#define MP_SYNC_INTERNAL_ROBUST_LOCK_H_

#include <time.h>

#include <chrono>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/deadline.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/held_locks.h"
#include "shared/internal/lane.h"
#include "shared/internal/object.h"
#include "shared/internal/object_type.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/spinning.h"
#include "shared/internal/thread_id.h"
#include "shared/internal/wait.h"
#include "sync/internal/lock_state.h"

namespace mp::internal {

// The contracts are those of sync/lock.h and sync/rlock.h.
class RobustLock {
 public:
  static absl::StatusOr<RobustLock> Create(ObjectType type, std::string_view name);
  // Ends the process where Create() would return a status.
  RobustLock(ObjectType type, std::string_view name);
  // That of a Lock or an RLock.
  template <typename L>
  static const RobustLock& Of(const L& lock) {
    return lock.lock_;
  }
  // The lock that an object of another type has in its cell.
  explicit RobustLock(const Handle<LockState>& state) : state_(state) {}
  // A Lock or an RLock that refers to it; what its holder may do is up to the lock itself.
  template <typename L>
  L As() const {
    return L(*this);
  }

  void Acquire() const {
    if (MayNot()) [[unlikely]] {
      CheckMay();
    }
    const RobustMutex::Result result = state_->mutex.TryLock();
    if (result != RobustMutex::Result::kAcquired) [[unlikely]] {
      AcquireSlow(result, &kUncancelled);
    } else {
      CountAcquired();
    }
  }
  bool Acquire(absl::Duration timeout) const;
  // `deadline` is on CLOCK_MONOTONIC; nullptr: never, but when the thread is cancelled.
  bool AcquireBefore(const timespec* deadline) const;
  bool TryAcquire() const {
    if (MayNot()) [[unlikely]] {
      CheckMay();
    }
    const RobustMutex::Result result = state_->mutex.TryLock();
    if (result != RobustMutex::Result::kAcquired) return AfterTryLock(result);
    CountAcquired();
    return true;
  }
  void Release() const {
    // Before the unlock: then it is another's.
    const bool last = state_->mutex.Level() == 1;
    if (state_->notes.load(std::memory_order_relaxed) > LockState::kOwnerDied) [[unlikely]] {
      return ReleaseAndWake();
    }
    if (!state_->mutex.Unlock()) [[unlikely]] {
      ReleasedByStranger();
    }
    if (last) HeldLocks::Remove();
  }
  // By the holder: gives back all levels of a recursive lock, and returns how many there were, for
  // who takes them again.
  uint32_t ReleaseAll() const;
  void AcquireLevels(uint32_t levels) const;
  // By the holder: at most `count` of those who sleep on `word` are woken when the lock is free:
  // earlier they would only run into it.
  void WakeWhenReleased(FutexWord& word, int count) const;

  // By the holder: all who sleep on it are woken.
  void ReleaseToAll() const;
  // Sleeps while somebody holds it and `waits(sleeps)`; `sleeps`: the caller is about to, and notes
  // that where a holder which makes it false sees that it has to release it to all. False: not by
  // `deadline`.
  template <typename Waits>
  bool WaitWhileHeld(const timespec* deadline, const Waits& waits) const;

  const RobustMutex& mutex() const { return state_->mutex; }
  bool Locked() const { return state_->mutex.HolderTid() != 0; }
  bool HeldByThisThread() const { return state_->mutex.HolderTid() == ThreadId::OfThisThread(); }
  void AssertHeld() const;
  bool owner_died() const {
    return (state_->notes.load(std::memory_order_relaxed) & LockState::kOwnerDied) != 0;
  }
  void MarkConsistent() const;
  // Ends the process: `what` was done to `object` by who may not, since it does not hold the lock,
  // or does; or for what stands in `since`.
  [[noreturn]] void Misuse(const ObjectHeader& object, std::string_view what,
                           std::string_view instead, std::string_view since = {}) const;

  template <typename Rep, typename Period>
  bool AcquireFor(const std::chrono::duration<Rep, Period>& timeout) const {
    return Acquire(FromChronoTimeout(timeout));
  }
  template <typename Clock, typename Period>
  bool AcquireUntil(const std::chrono::time_point<Clock, Period>& time) const {
    return Acquire(FromChronoTime(time));
  }

 private:
  friend struct HandleAccess;

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
  // Whether the calling thread holds as many as it may, or its process is perhaps a copy of which
  // nobody knows; then it ends where that is so.
  static bool MayNot() { return HeldLocks::IsFull() || !Domain::HasSlot(); }
  void CheckMay() const;
  void ReleaseAndWake() const;
  [[noreturn]] void ReleasedByStranger() const;
  [[noreturn]] void Misuse(std::string_view what, std::string_view instead) const {
    Misuse(*state_, what, instead);
  }

  Handle<LockState> state_;
};

template <typename Waits>
bool RobustLock::WaitWhileHeld(const timespec* deadline, const Waits& waits) const {
  RobustMutex& mutex = state_->mutex;
  if (SpinRarelyUntil([&] { return mutex.HolderTid() == 0 || !waits(/*sleeps=*/false); })) {
    return true;
  }
  // Where the holder dies the kernel wakes one; if that one dies, too, its burial wakes the others.
  const SleepsOn note(LaneForNotes(), mutex.word());
  for (bool woken = false;;) {
    uint32_t seen = mutex.word().load(std::memory_order_acquire);
    if (RobustMutex::HolderIn(seen) == 0) {
      // Who came to sleep late, after a release to all, got the wake of the next release, which
      // is for one who acquires it. This one may not, and then wakes nobody by its own release.
      // Test: WakeTest.BehindOneThatIsLateForAReleaseToAll
      if (woken) FutexWake(mutex.word(), 1);
      return true;
    }
    // Where it is held the wake is passed on by the holder, to which this says that others sleep.
    if (!mutex.AnnounceSleeper(seen)) continue;
    if (!waits(/*sleeps=*/true)) return true;
    const WaitResult result =
        internal::Wait(mutex.word(), seen, {.deadline = deadline, .spin = false});
    if (result == WaitResult::kTimedOut) return false;
    woken = result == WaitResult::kWoken;
  }
}

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_ROBUST_LOCK_H_
