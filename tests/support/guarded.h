// tests/support/guarded.h
//
// Guarded: two numbers under a pthread mutex that processes share, plain or
// robust. The support is tested on it, since it is known how these die: the
// plain one leaves everybody hanging, the robust one nobody.

#ifndef MP_TESTS_SUPPORT_GUARDED_H_
#define MP_TESTS_SUPPORT_GUARDED_H_

#include <pthread.h>

#include <cerrno>

namespace mp::testing {

struct Guarded {
  pthread_mutex_t mutex;
  volatile long first;  // equal to `second`, except within a Store()
  volatile long second;

  void Init(int robustness) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, robustness);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    first = 0;
    second = 0;
  }

  void Lock() {
    if (pthread_mutex_lock(&mutex) == EOWNERDEAD) pthread_mutex_consistent(&mutex);
  }
  void Unlock() { pthread_mutex_unlock(&mutex); }

  void Store(long value) {
    first = value;
    second = value;
  }
  bool Torn() const { return first != second; }
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_GUARDED_H_
