// Who sleeps is woken by who changes what it sleeps for, not by looking up from time to time.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/shared.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/held_duty.h"

namespace mp {
namespace {

using testing::Child;
using testing::HasFutexWaitv;
using testing::HeldDuty;
using testing::SleepsBesideSentry;

class WakeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
  }
  static std::unique_ptr<Child> StartSleeper(const std::function<void()>& wait) {
    auto child = std::make_unique<Child>([wait](auto& step) {
      step("before");
      wait();
    });
    EXPECT_TRUE(child->RunTo("before"));
    child->Go();
    EXPECT_TRUE(SleepsBesideSentry(child->pid()));
    return child;
  }

  const HeldDuty duty_;
};

TEST_F(WakeTest, Lock) {
  const class Lock lock;
  std::unique_ptr<Child> sleeper;
  {
    const LockGuard guard(lock);
    sleeper = StartSleeper([&lock] { const LockGuard inner(lock); });
  }
  EXPECT_EQ(sleeper->Finish(), 0);
}

TEST_F(WakeTest, Event) {
  const class Event event;
  auto first = StartSleeper([&event] { event.Wait(); });
  auto second = StartSleeper([&event] { event.Wait(); });
  event.Set();
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
}

TEST_F(WakeTest, Condition) {
  const class Condition condition;
  const auto wait = [&condition] {
    const LockGuard guard(condition);
    condition.Wait();
  };
  auto first = StartSleeper(wait);
  auto second = StartSleeper(wait);
  auto third = StartSleeper(wait);
  for (const int count : {1, 2}) {
    const LockGuard guard(condition);
    condition.Notify(count);
  }
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
  EXPECT_EQ(third->Finish(), 0);
}

TEST_F(WakeTest, AConditionOfWhichOneDied) {
  // It stays counted, and a notify that is for it is another's.
  const class Condition condition;
  const auto wait = [&condition] {
    const LockGuard guard(condition);
    condition.Wait();
  };
  for (const bool all : {false, true}) {
    auto mortal = StartSleeper(wait);
    mortal->Kill();
    testing::Settle();
    {
      const LockGuard guard(condition);
      condition.Notify();
    }
    auto first = StartSleeper(wait);
    auto second = StartSleeper(wait);
    {
      const LockGuard guard(condition);
      all ? condition.NotifyAll() : condition.Notify();
    }
    EXPECT_EQ(first->Finish(), 0);
    if (!all) {
      const LockGuard guard(condition);
      condition.Notify();
    }
    EXPECT_EQ(second->Finish(), 0);
  }
}

TEST_F(WakeTest, AReleaseOfNone) {
  const class Semaphore semaphore(0);
  auto sleeper = StartSleeper([&semaphore] { semaphore.Acquire(); });
  semaphore.Release(0);
  EXPECT_TRUE(SleepsBesideSentry(sleeper->pid()));
  semaphore.Release();
  EXPECT_EQ(sleeper->Finish(), 0);
}

TEST_F(WakeTest, Semaphore) {
  const class Semaphore semaphore(0);
  auto first = StartSleeper([&semaphore] { semaphore.Acquire(); });
  auto second = StartSleeper([&semaphore] { semaphore.Acquire(); });
  auto third = StartSleeper([&semaphore] { semaphore.Acquire(); });
  // At once, before anybody runs: the second one finds no sleeper noted, and is passed on.
  semaphore.Release();
  semaphore.Release(2);
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
  EXPECT_EQ(third->Finish(), 0);
}

TEST_F(WakeTest, Barrier) {
  const class Barrier plain(3);
  const class Barrier acting(3, {.action = [] {}});
  for (const class Barrier& barrier : {plain, acting}) {
    auto first = StartSleeper([&] { EXPECT_TRUE(barrier.Wait().ok()); });
    auto second = StartSleeper([&] { EXPECT_TRUE(barrier.Wait().ok()); });
    EXPECT_TRUE(barrier.Wait().ok());
    EXPECT_EQ(first->Finish(), 0);
    EXPECT_EQ(second->Finish(), 0);
  }
}

TEST_F(WakeTest, ABarrierThatIsBroken) {
  const class Barrier barrier(4);
  for (const auto& breaks : std::vector<std::function<void()>>{
           [&] { barrier.Abort(); }, [&] { barrier.Reset(); },
           [&] { EXPECT_FALSE(barrier.Wait(absl::ZeroDuration()).ok()); }}) {
    barrier.Reset();
    auto first = StartSleeper([&] { EXPECT_FALSE(barrier.Wait().ok()); });
    auto second = StartSleeper([&] { EXPECT_FALSE(barrier.Wait().ok()); });
    breaks();
    EXPECT_EQ(first->Finish(), 0);
    EXPECT_EQ(second->Finish(), 0);
  }
}

TEST_F(WakeTest, ABarrierWhoseActionIsHanded) {
  const Shared<std::vector<class Barrier, Allocator<class Barrier>>> board;
  Child elder([&](auto& step) {
    step("born");
    EXPECT_TRUE(board->front().Wait().ok());
  });
  ASSERT_TRUE(elder.RunTo("born"));
  board->push_back(Barrier(3, {.action = [] {}}));
  auto first = StartSleeper([&] { EXPECT_TRUE(board->front().Wait().ok()); });
  auto second = StartSleeper([&] { EXPECT_TRUE(board->front().Wait().ok()); });
  EXPECT_EQ(elder.Finish(), 0);
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
}

TEST_F(WakeTest, Latch) {
  const class Latch latch(2);
  auto first = StartSleeper([&] { latch.Wait(); });
  auto second = StartSleeper([&] { latch.Wait(); });
  latch.CountDown();
  latch.Join();
  latch.CountDown();
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
}

TEST_F(WakeTest, ReadersByAWriter) {
  const class RWLock lock;
  std::unique_ptr<Child> first;
  std::unique_ptr<Child> second;
  {
    const LockGuard guard(lock);
    first = StartSleeper([&] { const SharedLockGuard reader(lock); });
    second = StartSleeper([&] { const SharedLockGuard reader(lock); });
  }
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
}

TEST_F(WakeTest, AWriterByReaders) {
  const class RWLock lock;
  std::unique_ptr<Child> writer;
  {
    const SharedLockGuard reader(lock);
    writer = StartSleeper([&] { const LockGuard guard(lock); });
  }
  EXPECT_EQ(writer->Finish(), 0);
}

TEST_F(WakeTest, Once) {
  const class Once once;
  std::unique_ptr<Child> first;
  std::unique_ptr<Child> second;
  once.Call([&] {
    first = StartSleeper([&] { EXPECT_FALSE(once.Call([] {})); });
    second = StartSleeper([&] { EXPECT_FALSE(once.Call([] {})); });
  });
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
}

}  // namespace
}  // namespace mp
