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
//        Hence nobody sleeps for longer than 50 ms without looking. A lost wake-up costs
//        that much; it cannot cost more.
// Fork:  a child has the mutex, never the hold.
// Limit: the kernel gives back the 2,048 newest of the robust mutexes that a
//        dying thread holds; older ones stay locked.

#ifndef MP_SHARED_INTERNAL_ROBUST_MUTEX_H_
#define MP_SHARED_INTERNAL_ROBUST_MUTEX_H_

#include <pthread.h>
#include <sys/types.h>
#include <time.h>

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
    const int error = MutexLockUntil(&mutex_, nap_end);
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
  pid_t HolderTid() const;

 private:
  static constexpr int kNapMilliseconds = 50;

  // When this thread's next nap ends; where that is over, it looks at the clock.
  static inline constinit thread_local timespec nap_end = {};

  static void StartNap();
  Result LockSlow(int error);
  Result LockBusy(const timespec& deadline);
  static Result ResultOf(const char* call, int error);
  static bool CheckUnlock(int error);

  pthread_mutex_t mutex_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_ROBUST_MUTEX_H_
