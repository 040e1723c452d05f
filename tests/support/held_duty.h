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

#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/sentry_post.h"
#include "tests/support/bury.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/look.h"
#include "tests/support/no_look_is_due.h"

namespace mp::testing {

class HeldDuty {
 public:
  HeldDuty() : post_((**Domain::Get()).sentry_post()) {
    Settle();
    Take();
  }
  ~HeldDuty() {
    static_cast<void>(post_.duty.Unlock());
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
  const NoLookIsDue no_look_;  // in its place, either
};

inline bool SleepsBesideSentry(pid_t tid) { return WaitUntilAsleep(tid, {SYS_futex_waitv}); }

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_HELD_DUTY_H_
