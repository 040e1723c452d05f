// What two threads, or two processes, see of a Condition while nobody dies.

#include "sync/condition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "tests/support/alarms.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/listed.h"
#include "tests/support/peer.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Alarms;
using testing::Child;
using testing::Listed;
using testing::PeerNames;
using testing::Peers;
using testing::SleepsOnAfterAlarms;

template <typename P>
class ConditionTest : public ::testing::Test {
 protected:
  // One that waits, and then is counted.
  std::unique_ptr<P> StartWaiter() {
    auto peer = std::make_unique<P>([this](auto& step) {
      const LockGuard guard(condition_);
      step("before");
      condition_.Wait();
      *woken_ += 1;
    });
    EXPECT_TRUE(peer->RunTo("before"));
    peer->Go();
    EXPECT_TRUE(peer->WaitUntilAsleep());
    return peer;
  }
  std::vector<std::unique_ptr<P>> StartWaiters(int count) {
    std::vector<std::unique_ptr<P>> peers;
    for (int i = 0; i < count; ++i) peers.push_back(StartWaiter());
    return peers;
  }
  void Notify(int count) {
    const LockGuard guard(condition_);
    condition_.Notify(count);
  }
  void NotifyAll() {
    const LockGuard guard(condition_);
    condition_.NotifyAll();
  }
  int Woken() {
    const LockGuard guard(condition_);
    return *woken_;
  }
  void AwaitWoken(int count) {
    while (Woken() < count) std::this_thread::yield();
  }
  // As long as it takes all sleepers to look up by themselves, which they do once before long.
  void GiveOthersTime() { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }

  const Condition condition_;
  const RawValue<int> woken_;
};
TYPED_TEST_SUITE(ConditionTest, Peers, PeerNames);

TYPED_TEST(ConditionTest, NotifyWakesOne) {
  auto peers = this->StartWaiters(3);
  for (int i = 1; i <= 3; ++i) {
    this->Notify(1);
    this->AwaitWoken(i);
    this->GiveOthersTime();
    EXPECT_EQ(this->Woken(), i);
  }
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
}

TYPED_TEST(ConditionTest, NotifyOfSeveralWakesThatManyOrAll) {
  auto peers = this->StartWaiters(6);
  for (const int count : {0, -1}) {
    this->Notify(count);
    this->GiveOthersTime();
    EXPECT_EQ(this->Woken(), 0);
  }
  this->Notify(2);
  this->AwaitWoken(2);
  this->GiveOthersTime();
  EXPECT_EQ(this->Woken(), 2);
  this->Notify(3);
  this->AwaitWoken(5);
  this->GiveOthersTime();
  EXPECT_EQ(this->Woken(), 5);
  this->Notify(100);
  this->AwaitWoken(6);
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
}

TYPED_TEST(ConditionTest, NotifyAllWakesAll) {
  auto peers = this->StartWaiters(6);
  this->NotifyAll();
  this->AwaitWoken(6);
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
}

TYPED_TEST(ConditionTest, WhoNotifiesTwiceAtOnceWakesTwo) {
  auto peers = this->StartWaiters(3);
  {
    const LockGuard guard(this->condition_);
    this->condition_.Notify();
    this->condition_.Notify();
  }
  this->AwaitWoken(2);
  this->GiveOthersTime();
  EXPECT_EQ(this->Woken(), 2);
  this->Notify(1);
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
}

TYPED_TEST(ConditionTest, ANotifyIsForWhoWaitsThen) {
  // Not remembered for one who comes later.
  this->Notify(1);
  this->NotifyAll();
  const LockGuard guard(this->condition_);
  EXPECT_FALSE(this->condition_.Wait(absl::Milliseconds(20)));
}

TYPED_TEST(ConditionTest, WhoTimedOutIsNotCounted) {
  {
    const LockGuard guard(this->condition_);
    EXPECT_FALSE(this->condition_.Wait(absl::Milliseconds(1)));
    EXPECT_FALSE(this->condition_.Wait(absl::ZeroDuration()));
    EXPECT_FALSE(this->condition_.Wait(-absl::InfiniteDuration()));
  }
  this->Notify(2);
  auto peers = this->StartWaiters(2);
  this->Notify(1);
  this->AwaitWoken(1);
  this->GiveOthersTime();
  EXPECT_EQ(this->Woken(), 1);
  this->Notify(1);
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
}

// CPython's test_wait_result, but for its signal, which does not end a wait here.
TYPED_TEST(ConditionTest, WaitSaysWhetherItWasNotified) {
  TypeParam peer([this](auto& step) {
    const LockGuard guard(this->condition_);
    step("before");
    EXPECT_TRUE(this->condition_.Wait(absl::Hours(1)));
    EXPECT_FALSE(this->condition_.Wait(absl::Milliseconds(1)));
  });
  ASSERT_TRUE(peer.RunTo("before"));
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  this->Notify(1);
  EXPECT_EQ(peer.Finish(), 0);
}

// CPython's test_timeout of _TestCondition.
TYPED_TEST(ConditionTest, ATimeoutBoundsTheWait) {
  using Clock = std::chrono::steady_clock;
  const LockGuard guard(this->condition_);
  const Clock::time_point begin = Clock::now();
  EXPECT_FALSE(this->condition_.Wait(absl::Milliseconds(120)));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(120));
}

TYPED_TEST(ConditionTest, AllLevelsAreGivenBackAndTakenAgain) {
  TypeParam peer([this](auto& step) {
    const LockGuard outer(this->condition_);
    const LockGuard middle(this->condition_);
    const LockGuard inner(this->condition_);
    step("before");
    this->condition_.Wait();
    this->condition_.AssertHeld();
    step("woken");
  });
  ASSERT_TRUE(peer.RunTo("before"));
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  ASSERT_TRUE(this->condition_.TryAcquire());
  this->condition_.Notify();
  this->condition_.Release();
  ASSERT_TRUE(peer.RunTo("woken"));
  EXPECT_FALSE(this->condition_.TryAcquire());
  EXPECT_EQ(peer.Finish(), 0);
  EXPECT_FALSE(this->condition_.Locked());
}

TYPED_TEST(ConditionTest, WaitForLooksFirst) {
  const LockGuard guard(this->condition_);
  this->condition_.WaitFor([] { return true; });
  EXPECT_TRUE(this->condition_.WaitFor([] { return true; }, absl::ZeroDuration()));
  int looks = 0;
  EXPECT_FALSE(this->condition_.WaitFor([&looks] { return ++looks < 0; }, absl::Seconds(-1)));
  EXPECT_EQ(looks, 1);
  EXPECT_FALSE(this->condition_.WaitFor([] { return false; }, absl::Milliseconds(5)));
}

TYPED_TEST(ConditionTest, WaitForWaitsUntilItIsSo) {
  // As Python's: the peer counts up, and each is told.
  const RawValue<int> state(0);
  TypeParam peer([&, this] {
    for (int i = 1; i <= 4; ++i) {
      const LockGuard guard(this->condition_);
      *state = i;
      this->condition_.Notify();
    }
  });
  peer.Go();
  {
    const LockGuard guard(this->condition_);
    this->condition_.WaitFor([&] { return *state == 4; });
    EXPECT_TRUE(this->condition_.WaitFor([&] { return *state == 4; }, absl::Hours(1)));
  }
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(ConditionTest, ItTakesTurns) {
  constexpr int kRounds = 2000;
  const RawValue<int> turn(0);
  auto play = [&, this](int self) {
    for (int i = 0; i < kRounds; ++i) {
      const LockGuard guard(this->condition_);
      this->condition_.WaitFor([&] { return *turn == self; });
      *turn = 1 - self;
      this->condition_.Notify();
    }
  };
  TypeParam peer([&] { play(1); });
  peer.Go();
  play(0);
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(ConditionTest, ProducersAndConsumers) {
  // Lost or doubled notifications end in a hang, or in a wrong sum.
  constexpr int kItems = 3000;
  constexpr int kRoom = 4;
  const RLock lock;
  const Condition has_items(lock);
  const Condition has_room(lock);
  const RawArray<int> ring(kRoom);
  const RawValue<int> count(0);
  const RawValue<int> put(0);
  const RawValue<int> got(0);
  const RawValue<int64_t> sum(0);
  auto consume = [&] {
    for (;;) {
      const LockGuard guard(lock);
      has_items.WaitFor([&] { return *count > 0 || *got == kItems; });
      if (*got == kItems) return;
      *sum += ring[static_cast<size_t>(*got % kRoom)];
      *count -= 1;
      if (++*got == kItems) has_items.NotifyAll();
      has_room.Notify();
    }
  };
  auto produce = [&] {
    for (;;) {
      const LockGuard guard(lock);
      has_room.WaitFor([&] { return *count < kRoom || *put == kItems; });
      if (*put == kItems) return;
      ring[static_cast<size_t>(*put % kRoom)] = *put;
      *count += 1;
      if (++*put == kItems) has_room.NotifyAll();
      has_items.Notify();
    }
  };
  std::vector<std::unique_ptr<TypeParam>> peers;
  for (int i = 0; i < 2; ++i) {
    peers.push_back(std::make_unique<TypeParam>(consume));
    peers.back()->Go();
    peers.push_back(std::make_unique<TypeParam>(produce));
    peers.back()->Go();
  }
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
  EXPECT_EQ(*sum, int64_t{kItems} * (kItems - 1) / 2);
}

TYPED_TEST(ConditionTest, WorksOverALockThatIsHandedIn) {
  const Lock lock;
  const Condition condition(lock);
  TypeParam peer([&](auto& step) {
    const LockGuard guard(lock);
    step("before");
    condition.Wait();
  });
  ASSERT_TRUE(peer.RunTo("before"));
  EXPECT_TRUE(condition.Locked());
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  {
    const LockGuard guard(condition);
    EXPECT_TRUE(lock.Locked());
    condition.Notify();
  }
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(ConditionTest, ANotifyOfOneIsNotOfAnotherOnTheSameLock) {
  const RLock lock;
  const Condition first(lock);
  const Condition second(lock);
  TypeParam peer([&](auto& step) {
    const LockGuard guard(first);
    step("before");
    first.Wait();
  });
  ASSERT_TRUE(peer.RunTo("before"));
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  {
    const LockGuard guard(lock);
    second.NotifyAll();
  }
  ASSERT_TRUE(peer.WaitUntilAsleep());
  {
    // Both at once: who is to be woken on the release is noted for one word.
    const LockGuard guard(lock);
    second.NotifyAll();
    first.Notify();
    second.Notify();
  }
  EXPECT_EQ(peer.Finish(), 0);
}

TEST(ConditionProcessTest, ACopyInAStructOfTheDomainIsTheSame) {
  struct Board {
    Condition changed;
    int value = 0;
  };
  const Shared<Board> board;
  Child child([&](auto& step) {
    const LockGuard guard(board->changed);
    step("before");
    board->changed.WaitFor([&] { return board->value == 7; });
  });
  ASSERT_TRUE(child.RunTo("before"));
  child.Go();
  ASSERT_TRUE(child.WaitUntilAsleep());
  const Condition copy = board->changed;
  {
    const LockGuard guard(copy);
    board->value = 7;
    copy.Notify();
  }
  EXPECT_EQ(child.Finish(), 0);
}

TEST(ConditionProcessTest, ItIsLockable) {
  const Condition condition;
  const Lock lock;
  {
    const std::scoped_lock both(condition, lock);
    EXPECT_TRUE(condition.Locked());
  }
  std::unique_lock held(condition, std::try_to_lock);
  EXPECT_TRUE(held.owns_lock());
}

TEST(ConditionProcessTest, SignalsDoNotEndAWait) {
  const Condition condition;
  const RawValue<int> done(0);
  Child waiter([&](auto& step) {
    const Alarms alarms(Alarms::kNever);
    const LockGuard guard(condition);
    step("before");
    condition.Wait();
    EXPECT_EQ(*done, 1);
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(SleepsOnAfterAlarms(waiter));
  {
    const LockGuard guard(condition);
    *done = 1;
    condition.Notify();
  }
  EXPECT_EQ(waiter.Finish(), 0);
}

TEST(ConditionProcessTest, MayBeDroppedWhileOthersWait) {
  std::optional<Condition> condition(std::in_place);
  Child waiter([&condition](auto& step) {
    const Condition own = *condition;
    const LockGuard guard(own);
    step("before");
    EXPECT_FALSE(own.Wait(absl::Milliseconds(100)));
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(waiter.WaitUntilAsleep());
  condition.reset();
  EXPECT_EQ(waiter.Finish(), 0);
  // It ends when the one who may have it is buried.
  testing::Settle();
  for (const ObjectInfo& object : ListObjects()) EXPECT_NE(object.type, "Condition");
  EXPECT_TRUE(Check().ok());
}

TEST(ConditionProcessTest, TakesNoMoreThanItSays) {
  const uint64_t before = Stats().in_use;
  const Condition condition;
  EXPECT_LE(Stats().in_use - before, 120u);
}

TEST(ConditionProcessTest, NamesAreInListings) {
  const Condition condition({.name = "ready"});
  const absl::StatusOr<Condition> made = Condition::Create({.name = "made"});
  ASSERT_TRUE(made.ok());
  for (const char* name : {"ready", "made"}) {
    ASSERT_TRUE(Listed(name).has_value()) << name;
    EXPECT_EQ(Listed(name)->type, "Condition");
  }
}

TEST(ConditionDeathTest, MisuseEndsTheProcessAndNamesTheCondition) {
  const Condition condition({.name = "ready"});
  EXPECT_DEATH(condition.Wait(),
               "^mp: Condition \"ready\": waited on by pid .* but nobody holds it; acquire it "
               "first\n");
  EXPECT_DEATH(condition.Notify(), "Condition \"ready\": notified by pid");
  EXPECT_DEATH(condition.NotifyAll(), "Condition \"ready\": notified by pid");
  EXPECT_DEATH(static_cast<void>(condition.Wait(absl::ZeroDuration())), "waited on by");
  EXPECT_DEATH(condition.Release(), "Condition \"ready\": released by");
  const Lock lock({.name = "jobs"});
  const Condition over(lock, {.name = "done"});
  EXPECT_DEATH(over.Notify(), "Condition \"done\": notified by");
  EXPECT_DEATH(over.Release(), "Lock \"jobs\": released by");
}

}  // namespace
}  // namespace mp
