// tests/support/futex_waitv.h
//
// futex_waitv(2): how the sentry sleeps, and who sleeps beside it. Before Linux 5.16 it is not
// there, and they nap: what a test shows of their sleep cannot be shown.
//
//   if (!HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
//   ... WaitUntilAsleep(pid, {SYS_futex_waitv});

#ifndef MP_TESTS_SUPPORT_FUTEX_WAITV_H_
#define MP_TESTS_SUPPORT_FUTEX_WAITV_H_

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace mp::testing {

inline bool HasFutexWaitv() {
  // Of no words: EINVAL.
  return syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0) == 0 ||
         (errno != ENOSYS && errno != EPERM);
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_FUTEX_WAITV_H_
