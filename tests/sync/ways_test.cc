// What holds of every way to wait: stops, forks, and handles that lie in the domain.

#include "tests/sync/ways.h"

#include <gtest/gtest.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <memory>
#include <thread>

#include "shared/inspect.h"
#include "shared/shared.h"
#include "sync/once.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"

namespace mp {
namespace {

using testing::Child;
using testing::Gate;
using testing::Inherited;
using testing::Turnstile;
using testing::WaitUntilAsleepInFutex;
using testing::WayNames;
using testing::Ways;

template <typename W>
class WaysTest : public ::testing::Test {};
TYPED_TEST_SUITE(WaysTest, Ways, WayNames);

// Its system calls end with EINTR, or begin again, without a handler of any signal.
TYPED_TEST(WaysTest, AStopDoesNotEndAWait) {
  const TypeParam way(1);
  const Inherited<Turnstile> turnstile;
  Child waiter([&](auto& step) {
    step("before");
    way.Wait(*turnstile);
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(waiter.WaitUntilAsleep());
    waiter.Stop();
    waiter.Continue();
  }
  ASSERT_TRUE(waiter.WaitUntilAsleep());
  turnstile->allowed = 1;
  way.Wake(1);
  EXPECT_EQ(waiter.Finish(), 0);
}

// The child waits itself, and the thread that it does not have goes on in its parent.
TYPED_TEST(WaysTest, AForkMayComeWhileAnotherThreadWaits) {
  const TypeParam way(2);
  const Inherited<Turnstile> turnstile;
  struct Tids {
    std::atomic<pid_t> thread;
    std::atomic<pid_t> child;
  };
  const Inherited<Tids> tids;
  Child parent([&] {
    std::thread thread([&] {
      tids->thread = gettid();
      way.Wait(*turnstile);
    });
    while (tids->thread == 0) std::this_thread::yield();
    EXPECT_TRUE(WaitUntilAsleepInFutex(tids->thread));
    Child child([&] {
      tids->child = gettid();
      way.Wait(*turnstile);
    });
    child.Go();
    EXPECT_EQ(child.Finish(), 0);
    thread.join();
  });
  parent.Go();
  while (tids->child == 0) std::this_thread::yield();
  ASSERT_TRUE(WaitUntilAsleepInFutex(tids->child));
  turnstile->allowed = 2;
  way.Wake(2);
  EXPECT_EQ(parent.Finish(), 0);
}

// It was made by a handle that is gone by then; what waits for it has its handle from the domain.
TYPED_TEST(WaysTest, AHandleInTheDomainIsAsGood) {
  if constexpr (std::copy_constructible<TypeParam>) {
    auto way = std::make_unique<const TypeParam>(1);
    const Shared<TypeParam> shared(*way);
    way.reset();
    const Inherited<Turnstile> turnstile;
    Child waiter([&](auto& step) {
      const TypeParam own = *shared;
      step("before");
      own.Wait(*turnstile);
    });
    ASSERT_TRUE(waiter.RunTo("before"));
    waiter.Go();
    ASSERT_TRUE(waiter.WaitUntilAsleep());
    turnstile->allowed = 1;
    shared->Wake(1);
    EXPECT_EQ(waiter.Finish(), 0);
  } else {
    const Shared<Once> once;
    Child runner([&] { EXPECT_TRUE(once->Call([] {})); });
    EXPECT_EQ(runner.Finish(), 0);
    EXPECT_TRUE(once->Done());
    EXPECT_FALSE(Once(*once).Call([] {}));
  }
}

// By the process that has made it: it goes on for those who have it, and ends with them.
TYPED_TEST(WaysTest, MayBeDroppedWhileOthersWait) {
  testing::Settle();
  const size_t before = Stats().in_use;
  const Inherited<Turnstile> turnstile;
  if constexpr (std::same_as<TypeParam, testing::EndOfWriting>) {
    GTEST_SKIP() << "who holds a lock keeps it";
  } else if constexpr (std::copy_constructible<TypeParam>) {
    auto way = std::make_unique<const TypeParam>(1);
    Child waiter([&](auto& step) {
      step("before");
      way->Wait(*turnstile);
    });
    ASSERT_TRUE(waiter.RunTo("before"));
    waiter.Go();
    ASSERT_TRUE(waiter.WaitUntilAsleep());
    Child waker([&](auto& step) {
      step("before");
      way->Wake(1);
    });
    ASSERT_TRUE(waker.RunTo("before"));
    way.reset();
    turnstile->allowed = 1;
    EXPECT_EQ(waker.Finish(), 0);
    EXPECT_EQ(waiter.Finish(), 0);
  } else {
    const Inherited<Gate> begun;
    const Inherited<Gate> ends;
    auto once = std::make_unique<const Once>();
    Child runner([&] {
      EXPECT_TRUE(once->Call([&] {
        begun->Open();
        ends->Wait();
      }));
    });
    runner.Go();
    begun->Wait();
    Child waiter([&](auto& step) {
      step("before");
      EXPECT_FALSE(once->Call([] {}));
    });
    ASSERT_TRUE(waiter.RunTo("before"));
    waiter.Go();
    ASSERT_TRUE(waiter.WaitUntilAsleep());
    once.reset();
    ends->Open();
    EXPECT_EQ(runner.Finish(), 0);
    EXPECT_EQ(waiter.Finish(), 0);
  }
  testing::Settle();
  EXPECT_EQ(Stats().in_use, before);
}

}  // namespace
}  // namespace mp
