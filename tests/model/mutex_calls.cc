#include "tests/model/mutex_calls.h"

#include <linux/futex.h>
#include <pthread.h>
#include <time.h>

#include <cerrno>
#include <climits>

#include "tests/model/sleepers.h"
#include "tests/model/step.h"

namespace mp::internal {
namespace {

// As glibc has them in __owner: locked after a death, and unlocked without having been
// made consistent.
constexpr int kInconsistent = INT_MAX;
constexpr int kNotRecoverable = INT_MAX - 1;

bool Recursive(const pthread_mutex_t& mutex) {
  return (mutex.__data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE;
}

int HolderOf(const pthread_mutex_t& mutex) { return mutex.__data.__lock & FUTEX_TID_MASK; }

// FUTEX_WAITERS, or 0.
int SleepersOn(const pthread_mutex_t& mutex) {
  return mutex.__data.__lock & static_cast<int>(FUTEX_WAITERS);
}

bool MayBeTaken(const void* argument) {
  const auto& mutex = *static_cast<const pthread_mutex_t*>(argument);
  return HolderOf(mutex) == 0 || HolderOf(mutex) == model::ActorNumber() ||
         mutex.__data.__owner == kNotRecoverable;
}

void LeaveToTheNext(void* what) {
  auto& mutex = *static_cast<pthread_mutex_t*>(what);
  const int sleepers = SleepersOn(mutex);
  mutex.__data.__lock = sleepers | FUTEX_OWNER_DIED;
  if (sleepers != 0) model::Sleepers::Wake(&mutex, 1);
}

// At a death between an unlock and its wake.
void WakeIfFree(void* what) {
  if (static_cast<pthread_mutex_t*>(what)->__data.__lock == 0) model::Sleepers::Wake(what, 1);
}

int Take(pthread_mutex_t& mutex) {
  const int self = model::ActorNumber();
  if (mutex.__data.__owner == kNotRecoverable) return ENOTRECOVERABLE;
  if (HolderOf(mutex) == self) {
    if (!Recursive(mutex)) return EDEADLK;
    ++mutex.__data.__count;
    return 0;
  }
  if (HolderOf(mutex) != 0) return EBUSY;
  const bool died = (mutex.__data.__lock & FUTEX_OWNER_DIED) != 0;
  mutex.__data.__lock = self | (died ? SleepersOn(mutex) : 0);
  mutex.__data.__count = 1;
  mutex.__data.__owner = died ? kInconsistent : self;
  model::Holds(&mutex, LeaveToTheNext);
  return died ? EOWNERDEAD : 0;
}

int Tell(int error) {
  model::Saw(static_cast<uint64_t>(error));
  return error;
}

}  // namespace

int MutexTryLock(pthread_mutex_t* mutex) {
  model::TakeStep({.what = "try to lock", .address = mutex, .write = true});
  return Tell(Take(*mutex));
}

int MutexLockUntil(pthread_mutex_t* mutex, const timespec&) {
  if (model::TakeStep({.what = "lock",
                       .address = mutex,
                       .write = true,
                       .ready = MayBeTaken,
                       .argument = mutex,
                       .timed = true}) == model::Outcome::kTimedOut) {
    return Tell(ETIMEDOUT);
  }
  return Tell(Take(*mutex));
}

int MutexUnlock(pthread_mutex_t* mutex) {
  model::TakeStep({.what = "unlock", .address = mutex, .write = true});
  if (HolderOf(*mutex) != model::ActorNumber()) return Tell(EPERM);
  if (--mutex->__data.__count != 0) return Tell(0);
  mutex->__data.__owner = mutex->__data.__owner == kInconsistent ? kNotRecoverable : 0;
  const bool wake = SleepersOn(*mutex) != 0;
  mutex->__data.__lock = 0;
  model::HoldsNoMore(mutex);
  if (wake) {
    model::Holds(mutex, WakeIfFree);
    model::TakeStep({.what = "wake after the unlock", .address = mutex, .write = true});
    model::HoldsNoMore(mutex);
    model::Sleepers::Wake(mutex, 1);
  }
  return Tell(0);
}

int MutexConsistent(pthread_mutex_t* mutex) {
  model::TakeStep({.what = "make consistent", .address = mutex, .write = true});
  if (mutex->__data.__owner != kInconsistent) return Tell(EINVAL);
  mutex->__data.__owner = model::ActorNumber();
  return Tell(0);
}

}  // namespace mp::internal
