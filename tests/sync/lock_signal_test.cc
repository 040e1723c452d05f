// Signals that a process handles while it waits for a Lock or an RLock.

#include <gtest/gtest.h>

#include <chrono>

#include "absl/time/time.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/sync/lock_types.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Alarms;
using testing::Child;
using testing::LockNames;
using testing::Locks;
using testing::SleepsOnAfterAlarms;

template <typename T>
class LockSignalTest : public ::testing::Test {};

TYPED_TEST_SUITE(LockSignalTest, Locks, LockNames);

TYPED_TEST(LockSignalTest, DoNotEndAnUntimedWait) {
  const TypeParam lock;
  lock.Acquire();
  Child waiter([&](auto& step) {
    const Alarms alarms(Alarms::kNever);
    step("before");
    lock.Acquire();
    step("acquired");
    lock.Release();
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(SleepsOnAfterAlarms(waiter));
  lock.Release();
  ASSERT_TRUE(waiter.RunTo("acquired"));
  EXPECT_TRUE(lock.Locked());
  EXPECT_EQ(waiter.Finish(), 0);
}

TYPED_TEST(LockSignalTest, DoNotShortenATimeout) {
  using Clock = std::chrono::steady_clock;
  const TypeParam lock;
  lock.Acquire();
  Child waiter([&] {
    const Alarms alarms;
    const Clock::time_point start = Clock::now();
    EXPECT_FALSE(lock.Acquire(absl::Milliseconds(120)));
    EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(120));
  });
  EXPECT_EQ(waiter.Finish(), 0);
  lock.Release();
}

}  // namespace
}  // namespace mp
