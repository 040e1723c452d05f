// LockState: the cell of a Lock or an RLock, and the base of those that carry a lock of their own;
// and what is done to a lock. RobustLock (robust_lock.h) is a handle to one.
//
// Layout: LockHeader (its mutex is recursive for an RLock), then
//   field   written by   meaning
//   notes   the holder   bit 0: from a holder's death until MarkConsistent()
//                        bits 1-: whom the holder has to wake once it has released the lock: how
//                        many (bits 1-16, all of them set: all), on which word (17-63, its
//                        address); 0: nobody
//
//   Repair after a death: who gets EOWNERDEAD sets bit 0, then makes the mutex consistent. Dying
//   in between gives EOWNERDEAD to the next one. Whom the dead one had to wake is woken by its
//   burial, and once more by the next one's release.

#ifndef MP_SYNC_INTERNAL_LOCK_STATE_H_
#define MP_SYNC_INTERNAL_LOCK_STATE_H_

#include <time.h>

#include <chrono>
#include <cstdint>
#include <string_view>

#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/deadline.h"
#include "shared/internal/futex.h"
#include "shared/internal/held_locks.h"
#include "shared/internal/lane.h"
#include "shared/internal/lock_header.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/spinning.h"
#include "shared/internal/thread_id.h"
#include "shared/internal/wait.h"

namespace mp::internal {

// The contracts of what is done to it are those of sync/lock.h and sync/rlock.h.
struct LockState : LockHeader {
  static constexpr uint64_t kOwnerDied = 1;
  static constexpr int kCountShift = 1;
  static constexpr int kWordShift = 17;
  static constexpr uint64_t kMostCount = 0xffff;

  Word notes;

  void Init(bool recursive) {
    mutex.Init(recursive);
    notes.store(0, std::memory_order_relaxed);
  }
  // The end of whatever it is the base of: the last handle may be one to the lock alone.
  void FreeBlocks() {
    if (type() == ObjectType::kArray) FreeElements();
  }

  void Acquire() {
    if (MayNot()) [[unlikely]] {
      CheckMay();
    }
    const RobustMutex::Result result = mutex.TryLock();
    if (result != RobustMutex::Result::kAcquired) [[unlikely]] {
      AcquireSlow(result, &kUncancelled);
    } else {
      CountAcquired();
    }
  }
  bool Acquire(absl::Duration timeout);
  // `deadline` is on CLOCK_MONOTONIC; nullptr: never, but when the thread is cancelled.
  bool AcquireBefore(const timespec* deadline);
  bool TryAcquire() {
    if (MayNot()) [[unlikely]] {
      CheckMay();
    }
    const RobustMutex::Result result = mutex.TryLock();
    if (result != RobustMutex::Result::kAcquired) return AfterTryLock(result);
    CountAcquired();
    return true;
  }
  void Release() {
    // Before the unlock: then it is another's.
    const bool last = mutex.Level() == 1;
    if (notes.load(std::memory_order_relaxed) > kOwnerDied) [[unlikely]] {
      return ReleaseAndWake();
    }
    if (!mutex.Unlock()) [[unlikely]] {
      ReleasedByStranger();
    }
    if (last) HeldLocks::Remove();
  }
  // By the holder: gives back all levels of a recursive lock, and returns how many there were, for
  // who takes them again.
  uint32_t ReleaseAll();
  void AcquireLevels(uint32_t levels);
  // By the holder: at most `count` of those who sleep on `word` are woken when the lock is free:
  // earlier they would only run into it.
  void WakeWhenReleased(FutexWord& word, int count);

  // By the holder: all who sleep on it are woken.
  void ReleaseToAll();
  // Sleeps while somebody holds it and `waits(sleeps)`; `sleeps`: the caller is about to, and notes
  // that where a holder which makes it false sees that it has to release it to all. False: not by
  // `deadline`.
  template <typename Waits>
  bool WaitWhileHeld(const timespec* deadline, const Waits& waits);

  bool Locked() const { return mutex.HolderTid() != 0; }
  bool HeldByThisThread() const { return mutex.HolderTid() == ThreadId::OfThisThread(); }
  void AssertHeld() const;
  bool owner_died() const { return (notes.load(std::memory_order_relaxed) & kOwnerDied) != 0; }
  void MarkConsistent();
  // Ends the process: `what` was done, to it or to `object`, by who may not, since it does not hold
  // the lock, or does; or for what stands in `since`.
  [[noreturn]] void Misuse(std::string_view what, std::string_view instead,
                           std::string_view since = {}) const {
    Misuse(*this, what, instead, since);
  }
  [[noreturn]] void Misuse(const ObjectHeader& object, std::string_view what,
                           std::string_view instead, std::string_view since = {}) const;

  template <typename Rep, typename Period>
  bool AcquireFor(const std::chrono::duration<Rep, Period>& timeout) {
    return Acquire(FromChronoTimeout(timeout));
  }
  template <typename Clock, typename Period>
  bool AcquireUntil(const std::chrono::time_point<Clock, Period>& time) {
    return Acquire(FromChronoTime(time));
  }

 private:
  // Returns whether the lock was acquired.
  bool AcquireSlow(RobustMutex::Result result, const timespec* deadline);
  RobustMutex::Result LockBusy(const timespec* deadline);
  bool AfterLock(RobustMutex::Result result);
  bool AfterTryLock(RobustMutex::Result result);
  void CountAcquired() const {
    if (mutex.Level() == 1) HeldLocks::Add();
  }
  // Whether the calling thread holds as many as it may, or its process is perhaps a copy of which
  // nobody knows; then it ends where that is so.
  static bool MayNot() { return HeldLocks::IsFull() || !Domain::HasSlot(); }
  void CheckMay() const;
  void ReleaseAndWake();
  [[noreturn]] void ReleasedByStranger() const;
  void FreeElements();
};

template <typename Waits>
bool LockState::WaitWhileHeld(const timespec* deadline, const Waits& waits) {
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

#endif  // MP_SYNC_INTERNAL_LOCK_STATE_H_
