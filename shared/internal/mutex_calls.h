// The calls that RobustMutex makes of pthread, with pthread's results.
//
// Built with the thread sanitizer they go past its interceptors, and tell it what matters:
// what happened before an unlock happened before the next lock. The interceptors also keep
// who holds a mutex, by threads of one process. A child of fork has that from its parent,
// where a thread that the child does not have held it, and then takes a lock for misuse.
// (Those of gcc 12 and clang 14 do not know pthread_mutex_clocklock either.)
//
// A model build has others: those of the header that MP_MODEL_MUTEX_CALLS names.

#ifndef MP_SHARED_INTERNAL_MUTEX_CALLS_H_
#define MP_SHARED_INTERNAL_MUTEX_CALLS_H_

#include <pthread.h>
#include <time.h>

#if defined(MP_MODEL_MUTEX_CALLS)
#include MP_MODEL_MUTEX_CALLS
#elif defined(__SANITIZE_THREAD__)
#define MP_MUTEX_CALLS_PAST_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MP_MUTEX_CALLS_PAST_SANITIZER 1
#endif
#endif

#ifndef MP_MODEL_MUTEX_CALLS
namespace mp::internal {

#ifdef MP_MUTEX_CALLS_PAST_SANITIZER

int MutexTryLock(pthread_mutex_t* mutex);
int MutexLockUntil(pthread_mutex_t* mutex, const timespec& deadline);
int MutexUnlock(pthread_mutex_t* mutex);

#else

inline int MutexTryLock(pthread_mutex_t* mutex) { return pthread_mutex_trylock(mutex); }
// `deadline` is on CLOCK_MONOTONIC.
inline int MutexLockUntil(pthread_mutex_t* mutex, const timespec& deadline) {
  return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &deadline);
}
inline int MutexUnlock(pthread_mutex_t* mutex) { return pthread_mutex_unlock(mutex); }

#endif

inline int MutexConsistent(pthread_mutex_t* mutex) { return pthread_mutex_consistent(mutex); }

}  // namespace mp::internal
#endif  // MP_MODEL_MUTEX_CALLS

#endif  // MP_SHARED_INTERNAL_MUTEX_CALLS_H_
