#include "shared/internal/mutex_calls.h"

#ifdef MP_MUTEX_CALLS_PAST_SANITIZER

#include <dlfcn.h>
#include <pthread.h>
#include <sanitizer/tsan_interface.h>
#include <time.h>

#include <cerrno>
#include <string>

#include "shared/internal/fatal.h"

namespace mp::internal {
namespace {

// The function of the C library itself.
template <typename Function>
Function* FromTheCLibrary(const char* name) {
  // Before glibc 2.34 they were in a library of their own.
  void* library = dlopen("libpthread.so.0", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) library = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  void* function = library == nullptr ? nullptr : dlsym(library, name);
  if (function == nullptr) Fatal(std::string("the C library has no ") + name);
  return reinterpret_cast<Function*>(function);
}

struct Calls {
  decltype(pthread_mutex_trylock)* const trylock =
      FromTheCLibrary<decltype(pthread_mutex_trylock)>("pthread_mutex_trylock");
  decltype(pthread_mutex_clocklock)* const clocklock =
      FromTheCLibrary<decltype(pthread_mutex_clocklock)>("pthread_mutex_clocklock");
  decltype(pthread_mutex_unlock)* const unlock =
      FromTheCLibrary<decltype(pthread_mutex_unlock)>("pthread_mutex_unlock");
};

const Calls& RealCalls() {
  static const Calls calls;
  return calls;
}

int Acquired(pthread_mutex_t* mutex, int error) {
  if (error == 0 || error == EOWNERDEAD) __tsan_acquire(mutex);
  return error;
}

}  // namespace

int MutexTryLock(pthread_mutex_t* mutex) { return Acquired(mutex, RealCalls().trylock(mutex)); }

int MutexLockUntil(pthread_mutex_t* mutex, const timespec& deadline) {
  return Acquired(mutex, RealCalls().clocklock(mutex, CLOCK_MONOTONIC, &deadline));
}

int MutexUnlock(pthread_mutex_t* mutex) {
  __tsan_release(mutex);
  return RealCalls().unlock(mutex);
}

}  // namespace mp::internal

#endif  // MP_MUTEX_CALLS_PAST_SANITIZER
