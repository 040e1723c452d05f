// How the sentry's duty passes from one to the next, where no nap and no look helps.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <memory>
#include <thread>

#include "shared/internal/wait.h"
#include "tests/support/child.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/held_duty.h"
#include "tests/support/shared_word.h"

namespace mp::internal {
namespace {

using mp::testing::Child;
using mp::testing::HasFutexWaitv;
using mp::testing::HeldDuty;
using mp::testing::SharedWord;
using mp::testing::SleepsBesideSentry;

class SentryDutyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
  }

  void AwaitSentry(pid_t tid) const {
    while (duty_.Holder() != tid) std::this_thread::yield();
    EXPECT_TRUE(SleepsBesideSentry(tid));
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
    EXPECT_TRUE(SleepsBesideSentry(child->pid()));
    return child;
  }

  HeldDuty duty_;
};

TEST_F(SentryDutyTest, WhoSleepsBesideTheSentryFollowsIt) {
  const SharedWord word(0);
  auto sleeper = StartBeside(word);
  duty_.GiveUp();
  AwaitSentry(sleeper->pid());
  WakeAll(*word);
  EXPECT_EQ(sleeper->Finish(), 0);
}

TEST_F(SentryDutyTest, ASuccessorIsFollowedToo) {
  for (const bool killed : {true, false}) {
    if (!killed) duty_.Take();
    const SharedWord first_word(0);
    const SharedWord second_word(0);
    auto first = StartBeside(first_word);
    auto second = StartBeside(second_word);
    duty_.GiveUp();
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
  duty_.GiveUp();
  EXPECT_EQ(first->Finish(), 0);
  AwaitSentry(second->pid());
  WakeAll(*second_word);
  EXPECT_EQ(second->Finish(), 0);
}

}  // namespace
}  // namespace mp::internal
