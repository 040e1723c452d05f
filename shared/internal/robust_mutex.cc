#include "shared/internal/robust_mutex.h"

#include <linux/futex.h>
#include <pthread.h>

#include <cerrno>
#include <cstddef>
#include <string>

#include "shared/internal/fatal.h"

#if defined(__SANITIZE_THREAD__)
#define MP_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MP_THREAD_SANITIZER 1
#endif
#endif

#ifdef MP_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace mp::internal {

// HolderTid() reads the futex word of the mutex, which glibc keeps first.
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

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

RobustMutex::Result RobustMutex::LockBusy(const timespec* deadline) {
  for (;;) {
    timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += kNapMilliseconds * 1'000'000L;
    if (until.tv_nsec >= 1'000'000'000L) {
      until.tv_nsec -= 1'000'000'000L;
      ++until.tv_sec;
    }
    const bool last = deadline != nullptr &&
                      (deadline->tv_sec < until.tv_sec ||
                       (deadline->tv_sec == until.tv_sec && deadline->tv_nsec <= until.tv_nsec));
    const Result result = Nap(last ? *deadline : until);
    if (result != Result::kBusy || last) return result;
  }
}

RobustMutex::Result RobustMutex::Nap(const timespec& until) {
#ifdef MP_THREAD_SANITIZER
  // The thread sanitizers of gcc 12 and clang 14 do not know clocklock.
  __tsan_mutex_pre_lock(&mutex_, 0);
  const int error = pthread_mutex_clocklock(&mutex_, CLOCK_MONOTONIC, &until);
  const bool acquired = error == 0 || error == EOWNERDEAD;
  __tsan_mutex_post_lock(&mutex_, acquired ? 0 : __tsan_mutex_try_lock_failed, 0);
#else
  const int error = pthread_mutex_clocklock(&mutex_, CLOCK_MONOTONIC, &until);
#endif
  return ResultOf("pthread_mutex_clocklock", error);
}

void RobustMutex::MarkConsistent() {
  const int error = pthread_mutex_consistent(&mutex_);
  if (error != 0) Fatal("robust mutex: pthread_mutex_consistent: error " + std::to_string(error));
}

pid_t RobustMutex::HolderTid() const {
  const int word = __atomic_load_n(&mutex_.__data.__lock, __ATOMIC_RELAXED);
  return word & FUTEX_TID_MASK;
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
    default:
      // EINVAL, ENOTRECOVERABLE: the memory of the mutex was overwritten.
      // EAGAIN: a recursive mutex taken more than 2^32 - 1 times.
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
