// tests/model/mutex_calls.h
//
// The mutex calls of a model build: process-shared robust mutexes as glibc and the kernel have
// them, in the same pthread_mutex_t, each call one step. The death of an actor, or its end,
// leaves what it holds to the next one, who gets EOWNERDEAD. A timeout comes only where the
// exploration allows for some (Options::timeouts).
//
// Where others have said that they sleep on a mutex (FUTEX_WAITERS), its unlock, and its holder's
// death, wake one of them: the unlock in a step of its own, and who is killed before that has it
// done by the kernel.

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
