// How the sentry's duty passes from one to the next, where no nap and no look helps.

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <memory>
#include <thread>

#include "shared/domain.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/sentry_post.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/look.h"
#include "tests/support/shared_word.h"

namespace mp::internal {
namespace {

using mp::testing::Child;
using mp::testing::HasFutexWaitv;
using mp::testing::SharedWord;
using mp::testing::WaitUntilAsleep;

// This thread has the duty, and does nothing of it. It says that there are millions of sleepers:
// who sleeps beside it then naps for days, so that only a wake gets it to go on.
class SentryDutyTest : public ::testing::Test {
 protected:
  SentryDutyTest() : post_((**Domain::Get()).sentry_post()) {
    mp::testing::Settle();
    if (post_.duty.TryLock() == RobustMutex::Result::kOwnerDied) post_.duty.MarkConsistent();
    EXPECT_EQ(SentryTid(), syscall(SYS_gettid));
    post_.sleepers.store(10'000'000);
    // Nobody is to look in its place, either.
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    post_.looked.store(static_cast<uint64_t>(now.tv_sec + 100'000) * 1000);
  }
  ~SentryDutyTest() override {
    post_.looked.store(0);
    post_.sleepers.store(0);
  }

  void SetUp() override {
    if (!HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
  }

  pid_t SentryTid() const { return post_.duty.HolderTid(); }
  void AwaitSentry(pid_t tid) const {
    while (SentryTid() != tid) std::this_thread::yield();
    EXPECT_TRUE(WaitUntilAsleep(tid, {SYS_futex_waitv}));
  }
  // One that sleeps beside the sentry, until `word` is not 0. Of several the first one is first
  // to be woken.
  static std::unique_ptr<Child> StartBeside(const SharedWord& word) {
    auto child = std::make_unique<Child>([&word](auto& step) {
      step("before");
      while (word->load() == 0) Wait(*word, 0);
    });
    EXPECT_TRUE(child->RunTo("before"));
    child->Go();
    EXPECT_TRUE(WaitUntilAsleep(child->pid(), {SYS_futex_waitv}));
    return child;
  }

  SentryPost& post_;
};

TEST_F(SentryDutyTest, WhoSleepsBesideTheSentryFollowsIt) {
  const SharedWord word(0);
  auto sleeper = StartBeside(word);
  ASSERT_TRUE(post_.duty.Unlock());
  AwaitSentry(sleeper->pid());
  WakeAll(*word);
  EXPECT_EQ(sleeper->Finish(), 0);
}

TEST_F(SentryDutyTest, ASuccessorIsFollowedToo) {
  for (const bool killed : {true, false}) {
    if (!killed) {
      post_.sleepers.store(10'000'000);
      ASSERT_EQ(post_.duty.TryLock(), RobustMutex::Result::kAcquired);
    }
    const SharedWord first_word(0);
    const SharedWord second_word(0);
    auto first = StartBeside(first_word);
    auto second = StartBeside(second_word);
    ASSERT_TRUE(post_.duty.Unlock());
    AwaitSentry(first->pid());
    if (killed) {
      first->Kill();
    } else {
      WakeAll(*first_word);
      EXPECT_EQ(first->Finish(), 0);
    }
    AwaitSentry(second->pid());
    WakeAll(*second_word);
    EXPECT_EQ(second->Finish(), 0);
  }
}

TEST_F(SentryDutyTest, ASuccessorThatLeavesInsteadPassesTheDutyOn) {
  const SharedWord first_word(0);
  const SharedWord second_word(0);
  auto first = StartBeside(first_word);
  auto second = StartBeside(second_word);
  // Without a wake: what the first one waits for is so when it is woken to follow.
  first_word->store(1);
  ASSERT_TRUE(post_.duty.Unlock());
  EXPECT_EQ(first->Finish(), 0);
  AwaitSentry(second->pid());
  WakeAll(*second_word);
  EXPECT_EQ(second->Finish(), 0);
}

}  // namespace
}  // namespace mp::internal
