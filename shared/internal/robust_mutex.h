// RobustMutex: the pthread mutex, process-shared and robust, under every lock of
// this library. Lives in shared memory.
//
// Death: when the holder dies (or its thread ends, or it calls execve) the next
//        one to lock gets kOwnerDied: it holds the mutex, repairs, and calls
//        MarkConsistent(). If it dies before that, the next one gets kOwnerDied
//        again. Unlocking without MarkConsistent() would lose the mutex for ever;
//        callers here always mark before anything that can fail.
// Sleep: a waiter that was woken, and is killed before it runs, takes its wake-up with it
//        if somebody else has locked meanwhile: to the kernel the mutex has a holder, and
//        to that holder it has no waiters, so those that are left would sleep for ever.
//        Hence nobody sleeps in Lock() for longer than 50 ms without looking. Who is to
//        sleep for long takes TryLock() and wait.h, as Lock and RLock do.
// Fork:  a child has the mutex, never the hold.
// Limit: the kernel gives back the 2,048 newest of the robust mutexes that a
//        dying thread holds; older ones stay locked.

#ifndef MP_SHARED_INTERNAL_ROBUST_MUTEX_H_
#define MP_SHARED_INTERNAL_ROBUST_MUTEX_H_

#include <pthread.h>
#include <sys/types.h>
#include <time.h>

#include <cstdint>

#include "shared/internal/futex.h"
#include "shared/internal/mutex_calls.h"

namespace mp::internal {

class RobustMutex {
 public:
  enum class Result {
    kAcquired,
    kOwnerDied,     // acquired; the last holder died with it
    kBusy,          // not acquired: somebody else holds it (in time)
    kHeldByCaller,  // not acquired: a non-recursive mutex that this thread holds
  };

  void Init(bool recursive);

  Result Lock() {
    // With one call: to try first costs a tenth of what two busy processes get done.
    const int error = MutexLockUntil(&mutex_, nap_end_);
    return error == 0 ? Result::kAcquired : LockSlow(error);
  }
  Result TryLock() {
    const int error = MutexTryLock(&mutex_);
    return error == 0 ? Result::kAcquired : ResultOf("pthread_mutex_trylock", error);
  }
  // `deadline` is on CLOCK_MONOTONIC.
  Result LockUntil(const timespec& deadline) {
    const Result result = TryLock();
    return result == Result::kBusy ? LockBusy(deadline) : result;
  }

  // After kOwnerDied, by the holder.
  void MarkConsistent();

  // False: the caller does not hold it, and nothing happened.
  [[nodiscard]] bool Unlock() {
    const int error = MutexUnlock(&mutex_);
    return error == 0 || CheckUnlock(error);
  }

  // The thread that holds it, 0 for none. A hint unless it is the caller.
  pid_t HolderTid() const { return HolderIn(word().load(std::memory_order_relaxed)); }

  // For who sleeps on it by other means. The word has the holder's thread id; while it has
  // kSleepers, the unlock and the holder's death wake one who sleeps on it.
  static constexpr uint32_t kSleepers = 0x80000000;
  static pid_t HolderIn(uint32_t word) { return static_cast<pid_t>(word & 0x3fffffff); }
  FutexWord& word() {
    return reinterpret_cast<FutexWord&>(mutex_.__data.__lock);  // glibc keeps it first
  }
  const FutexWord& word() const { return reinterpret_cast<const FutexWord&>(mutex_.__data.__lock); }
  // Where it was `seen`, and is held: `seen` and the word have kSleepers. False: it has changed.
  [[nodiscard]] bool AnnounceSleeper(uint32_t& seen) {
    if ((seen & kSleepers) != 0) return true;
    if (!word().compare_exchange_strong(seen, seen | kSleepers, std::memory_order_relaxed)) {
      return false;
    }
    seen |= kSleepers;
    return true;
  }
  // By the holder: others may sleep on it.
  void AnnounceSleepers() { word().fetch_or(kSleepers, std::memory_order_relaxed); }

  // By the holder: how often it has locked a recursive mutex; 1 of another.
  uint32_t Level() const { return mutex_.__data.__count; }

 private:
  static constexpr int kNapMilliseconds = 50;

  // When this thread's next nap ends; where that is over, it looks at the clock.
  static inline constinit thread_local timespec nap_end_ = {};

  static void StartNap();
  Result LockSlow(int error);
  Result LockBusy(const timespec& deadline);
  static Result ResultOf(const char* call, int error);
  static bool CheckUnlock(int error);

  pthread_mutex_t mutex_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_ROBUST_MUTEX_H_
