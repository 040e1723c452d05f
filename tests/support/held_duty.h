// tests/support/held_duty.h
//
// HeldDuty: while it lives, this thread has the sentry's duty and does nothing of it, and says that
// there are millions of sleepers: who sleeps beside it then naps for days, so that only a wake gets
// it to go on.
//
//   const HeldDuty duty;
//   ASSERT_TRUE(child.RunTo("before"));
//   child.Go();
//   ASSERT_TRUE(SleepsBesideSentry(child.pid()));
//
// Where there is no futex_waitv (futex_waitv.h) everybody naps, and it is of no use.

#ifndef MP_TESTS_SUPPORT_HELD_DUTY_H_
#define MP_TESTS_SUPPORT_HELD_DUTY_H_

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>

#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/sentry_post.h"
#include "tests/support/bury.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/look.h"

namespace mp::testing {

class HeldDuty {
 public:
  HeldDuty() : post_((**Domain::Get()).sentry_post()) {
    Settle();
    Take();
    // Nobody is to look in its place, either.
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    post_.looked.store(static_cast<uint64_t>(now.tv_sec + 100'000) * 1000);
  }
  ~HeldDuty() {
    static_cast<void>(post_.duty.Unlock());
    post_.looked.store(0);
    post_.sleepers.store(0);
  }
  HeldDuty(const HeldDuty&) = delete;
  HeldDuty& operator=(const HeldDuty&) = delete;

  void Take() {
    post_.sleepers.store(10'000'000);
    const internal::RobustMutex::Result result = post_.duty.TryLock();
    if (result == internal::RobustMutex::Result::kOwnerDied) post_.duty.MarkConsistent();
    EXPECT_NE(result, internal::RobustMutex::Result::kBusy);
  }
  void GiveUp() { EXPECT_TRUE(post_.duty.Unlock()); }
  pid_t Holder() const { return post_.duty.HolderTid(); }

 private:
  internal::SentryPost& post_;
};

inline bool SleepsBesideSentry(pid_t tid) { return WaitUntilAsleep(tid, {SYS_futex_waitv}); }

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_HELD_DUTY_H_
