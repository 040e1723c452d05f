// Signals that a process handles while it waits for a Lock or an RLock.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>

#include <chrono>
#include <type_traits>

#include "absl/time/time.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "tests/support/child.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Child;

// In a child. The handler returns, and does not ask for what it interrupts to be
// restarted.
void HandleAlarms() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);
}

template <typename T>
class LockSignalTest : public ::testing::Test {};

class Names {
 public:
  template <typename T>
  static const char* GetName(int) {
    return std::is_same_v<T, Lock> ? "Lock" : "RLock";
  }
};
using Locks = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(LockSignalTest, Locks, Names);

TYPED_TEST(LockSignalTest, DoNotEndAnUntimedWait) {
  const TypeParam lock;
  lock.Acquire();
  Child waiter([&](auto& step) {
    HandleAlarms();
    step("before");
    lock.Acquire();
    step("acquired");
    lock.Release();
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(waiter.WaitUntilAsleep());
    kill(waiter.pid(), SIGALRM);
  }
  ASSERT_TRUE(waiter.WaitUntilAsleep());
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
    HandleAlarms();
    const itimerval each_ms = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &each_ms, nullptr);
    const Clock::time_point start = Clock::now();
    EXPECT_FALSE(lock.Acquire(absl::Milliseconds(50)));
    EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(50));
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
  });
  EXPECT_EQ(waiter.Finish(), 0);
  lock.Release();
}

}  // namespace
}  // namespace mp
