// Who sleeps is woken by who changes what it sleeps for, not by looking up from time to time.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/internal/object_type.h"
#include "shared/shared.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/internal/robust_lock.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/gate.h"
#include "tests/support/held_duty.h"
#include "tests/support/inherited.h"

// Each way to acquire has its own release.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Child;
using testing::Gate;
using testing::HasFutexWaitv;
using testing::HeldDuty;
using testing::Inherited;
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

TEST_F(WakeTest, RWLock) {
  const class RWLock lock;
  const auto write = [&lock] { const LockGuard guard(lock); };
  const auto read = [&lock] { const SharedLockGuard guard(lock); };
  std::vector<std::unique_ptr<Child>> sleepers;
  {
    const LockGuard guard(lock);
    for (const auto& wait : std::vector<std::function<void()>>{read, write, read, write, read}) {
      sleepers.push_back(StartSleeper(wait));
    }
  }
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper->Finish(), 0);
  sleepers.clear();
  {
    const SharedLockGuard guard(lock);
    sleepers.push_back(StartSleeper(write));
    sleepers.push_back(StartSleeper(read));
    sleepers.push_back(StartSleeper(write));
    sleepers.push_back(StartSleeper(read));
  }
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper->Finish(), 0);
}

TEST_F(WakeTest, ReadersOfAWriterThatGivesUp) {
  const class RWLock lock;
  const SharedLockGuard guard(lock);
  auto writer = StartSleeper([&lock] { EXPECT_FALSE(lock.Acquire(absl::Milliseconds(500))); });
  auto first = StartSleeper([&lock] { const SharedLockGuard inner(lock); });
  auto second = StartSleeper([&lock] { const SharedLockGuard inner(lock); });
  EXPECT_EQ(writer->Finish(), 0);
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
}

TEST_F(WakeTest, AWriterOfAReaderThatDied) {
  const class RWLock lock;
  Child reader([&](auto& step) {
    lock.AcquireShared();
    step("reads");
  });
  ASSERT_TRUE(reader.RunTo("reads"));
  auto writer = StartSleeper([&lock] { const LockGuard guard(lock); });
  reader.Kill();
  testing::Settle();
  EXPECT_EQ(writer->Finish(), 0);
}

// One has said that it sleeps, and does so only when all have been woken and the lock is held anew:
// what it is then woken by is the release that wakes one who acquires it.
TEST_F(WakeTest, BehindOneThatIsLateForAReleaseToAll) {
  const internal::RobustLock lock(internal::ObjectType::kLock, "");
  const Inherited<Gate> sleeps;
  lock->Acquire();
  Child late([&](auto& step) {
    bool first = true;
    EXPECT_TRUE(lock->WaitWhileHeld(nullptr, [&](bool about_to_sleep) {
      if (about_to_sleep && first) {
        first = false;
        step("said so");
        sleeps->Wait();
      }
      return true;
    }));
    step("woken");  // it does not end: its burial would wake who is left asleep
  });
  ASSERT_TRUE(late.RunTo("said so"));
  lock->ReleaseToAll();
  lock->Acquire();
  Child other([&lock] { EXPECT_FALSE(lock->Acquire(absl::Milliseconds(10))); });
  EXPECT_EQ(other.Finish(), 0);
  sleeps->Open();
  late.Go();
  ASSERT_TRUE(SleepsBesideSentry(late.pid()));
  auto behind = StartSleeper([&lock] {
    lock->Acquire();
    lock->Release();
  });
  lock->Release();
  EXPECT_TRUE(late.RunTo("woken"));
  EXPECT_EQ(behind->Finish(), 0);
  EXPECT_EQ(late.Finish(), 0);
}

// The last one is nobody's, or is joined by this process, or by one that dies.
TEST_F(WakeTest, Latch) {
  for (const bool joined : {false, true}) {
    const class Latch latch(2);
    auto first = StartSleeper([&latch] { latch.Wait(); });
    auto second = StartSleeper([&latch] { latch.Wait(); });
    latch.CountDown();
    EXPECT_TRUE(SleepsBesideSentry(first->pid()));
    if (joined) latch.Join();
    latch.CountDown();
    EXPECT_EQ(first->Finish(), 0);
    EXPECT_EQ(second->Finish(), 0);
  }
  const class Latch latch(1);
  auto sleeper = StartSleeper([&latch] { latch.Wait(); });
  Child mortal([&](auto& step) {
    latch.Join();
    step("joined");
  });
  ASSERT_TRUE(mortal.RunTo("joined"));
  mortal.Kill();
  testing::Settle();
  EXPECT_EQ(sleeper->Finish(), 0);
}

TEST_F(WakeTest, Once) {
  // One after the other throws, of which each has slept and been woken.
  const class Once once;
  const Shared<std::atomic<int>> throws(3);
  const auto call = [&] {
    try {
      once.Call([&] {
        if (throws->fetch_sub(1) > 0) throw std::runtime_error("not now");
      });
    } catch (const std::runtime_error&) {
    }
  };
  std::vector<std::unique_ptr<Child>> sleepers;
  const auto start = [&] {
    while (sleepers.size() < 6) sleepers.push_back(StartSleeper(call));
    throw std::runtime_error("not now");
  };
  EXPECT_THROW(once.Call(start), std::runtime_error);
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper->Finish(), 0);
  EXPECT_TRUE(once.Done());
}

}  // namespace
}  // namespace mp
