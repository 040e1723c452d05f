// tests/model/mutex_calls.h
//
// The mutex calls of a model build: process-shared robust mutexes as glibc and the kernel have
// them, in the same pthread_mutex_t, each call one step. The death of an actor, or its end,
// leaves what it holds to the next one, who gets EOWNERDEAD. A timeout comes only where the
// exploration allows for some (Options::timeouts).

#ifndef MP_TESTS_MODEL_MUTEX_CALLS_H_
#define MP_TESTS_MODEL_MUTEX_CALLS_H_

#include <pthread.h>
#include <time.h>

namespace mp::internal {

int MutexTryLock(pthread_mutex_t* mutex);
int MutexLockUntil(pthread_mutex_t* mutex, const timespec& deadline);
int MutexUnlock(pthread_mutex_t* mutex);
int MutexConsistent(pthread_mutex_t* mutex);

}  // namespace mp::internal

#endif  // MP_TESTS_MODEL_MUTEX_CALLS_H_
