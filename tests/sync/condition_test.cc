// What a Condition promises to threads and processes that nobody kills.

#include "sync/condition.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "shared/raw_value.h"
#include "sync/event.h"
#include "tests/support/child.h"

namespace mp {
namespace {

using testing::Child;

TEST(ConditionTest, NotifyWakesAsManyAsItSays) {
  Condition condition;
  RawValue<int> woken(0);
  std::vector<std::unique_ptr<Child>> waiters;
  for (int i = 0; i < 6; ++i) {
    waiters.push_back(std::make_unique<Child>([&](auto& step) {
      LockGuard guard(condition);
      step("holds");
      condition.Wait();
      ++*woken;
    }));
    ASSERT_TRUE(waiters.back()->RunTo("holds"));
    waiters.back()->Go();
    ASSERT_TRUE(waiters.back()->WaitUntilAsleep());
  }
  for (int expected : {1, 3, 6}) {
    {
      LockGuard guard(condition);
      const int before = *woken;
      condition.Notify(expected - before);
    }
    for (;;) {
      LockGuard guard(condition);
      if (*woken >= expected) break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    LockGuard guard(condition);
    EXPECT_EQ(*woken, expected);
  }
  for (auto& waiter : waiters) EXPECT_EQ(waiter->Finish(), 0);
}

TEST(ConditionTest, PingPong) {
  Condition condition;
  RawValue<int> turn(0);
  Child child([&] {
    for (int i = 0; i < 20000; ++i) {
      LockGuard guard(condition);
      condition.WaitFor([&] { return *turn == 1; });
      *turn = 0;
      condition.Notify();
    }
  });
  child.Go();
  for (int i = 0; i < 20000; ++i) {
    LockGuard guard(condition);
    *turn = 1;
    condition.Notify();
    condition.WaitFor([&] { return *turn == 0; });
  }
  EXPECT_EQ(child.Finish(), 0);
}

TEST(EventTest, Smoke) {
  Event event;
  EXPECT_FALSE(event.Wait(absl::Milliseconds(5)));
  Child child([&] { event.Wait(); });
  child.Go();
  ASSERT_TRUE(child.WaitUntilAsleep());
  event.Set();
  event.Clear();
  EXPECT_EQ(child.Finish(), 0);
}

}  // namespace
}  // namespace mp
