#include "shared/internal/robust_mutex.h"

#include <linux/futex.h>
#include <pthread.h>

#include <cerrno>
#include <cstddef>
#include <string>

#include "shared/internal/fatal.h"
#include "shared/internal/mutex_calls.h"

namespace mp::internal {

static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);
static_assert(RobustMutex::kSleepers == FUTEX_WAITERS);
static_assert(sizeof(FutexWord) == sizeof(int));

void RobustMutex::Init(bool recursive) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_settype(&attributes,
                            recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_ERRORCHECK);
  const int error = pthread_mutex_init(&mutex_, &attributes);
  pthread_mutexattr_destroy(&attributes);
  if (error != 0) Fatal("robust mutex: pthread_mutex_init: error " + std::to_string(error));
}

void RobustMutex::StartNap() {
  clock_gettime(CLOCK_MONOTONIC, &nap_end_);
  nap_end_.tv_nsec += kNapMilliseconds * 1'000'000L;
  if (nap_end_.tv_nsec >= 1'000'000'000L) {
    nap_end_.tv_nsec -= 1'000'000'000L;
    ++nap_end_.tv_sec;
  }
}

RobustMutex::Result RobustMutex::LockSlow(int error) {
  while (error == ETIMEDOUT) {
    StartNap();
    error = MutexLockUntil(&mutex_, nap_end_);
  }
  return ResultOf("pthread_mutex_clocklock", error);
}

RobustMutex::Result RobustMutex::LockBusy(const timespec& deadline) {
  for (;;) {
    StartNap();
    const bool last = deadline.tv_sec < nap_end_.tv_sec ||
                      (deadline.tv_sec == nap_end_.tv_sec && deadline.tv_nsec <= nap_end_.tv_nsec);
    const int error = MutexLockUntil(&mutex_, last ? deadline : nap_end_);
    if (error != ETIMEDOUT || last) return ResultOf("pthread_mutex_clocklock", error);
  }
}

void RobustMutex::MarkConsistent() {
  const int error = MutexConsistent(&mutex_);
  if (error != 0) Fatal("robust mutex: pthread_mutex_consistent: error " + std::to_string(error));
}

RobustMutex::Result RobustMutex::ResultOf(const char* call, int error) {
  switch (error) {
    case 0:
      return Result::kAcquired;
    case EOWNERDEAD:
      return Result::kOwnerDied;
    case EBUSY:
    case ETIMEDOUT:
      return Result::kBusy;
    case EDEADLK:
      return Result::kHeldByCaller;
    case EAGAIN:
      Fatal("robust mutex: a recursive mutex is taken 2^32 - 1 times by one thread");
    default:
      // EINVAL, ENOTRECOVERABLE.
      Fatal(std::string("robust mutex: ") + call + ": error " + std::to_string(error) +
            "; its memory was overwritten");
  }
}

bool RobustMutex::CheckUnlock(int error) {
  if (error != EPERM) {
    Fatal("robust mutex: pthread_mutex_unlock: error " + std::to_string(error) +
          "; its memory was overwritten");
  }
  return false;
}

}  // namespace mp::internal
