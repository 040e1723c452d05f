// What two threads, or two processes, see of an Event while nobody dies.

#include "sync/event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/shared.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/listed.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Alarms;
using testing::Child;
using testing::Listed;
using testing::PeerNames;
using testing::Peers;
using testing::SleepsOnAfterAlarms;
using testing::Stress;

template <typename P>
class EventTest : public ::testing::Test {
 protected:
  std::unique_ptr<P> StartWaiter() {
    auto peer = std::make_unique<P>([this](auto& step) {
      step("before");
      event_.Wait();
    });
    EXPECT_TRUE(peer->RunTo("before"));
    peer->Go();
    EXPECT_TRUE(peer->WaitUntilAsleep());
    return peer;
  }

  const Event event_;
};
TYPED_TEST_SUITE(EventTest, Peers, PeerNames);

TYPED_TEST(EventTest, IsSetUntilItIsCleared) {
  EXPECT_FALSE(this->event_.IsSet());
  EXPECT_FALSE(this->event_.Wait(absl::ZeroDuration()));
  EXPECT_FALSE(this->event_.Wait(absl::Seconds(-1)));
  EXPECT_FALSE(this->event_.Wait(absl::Milliseconds(5)));
  this->event_.Set();
  this->event_.Set();
  EXPECT_TRUE(this->event_.IsSet());
  EXPECT_TRUE(this->event_.Wait(absl::ZeroDuration()));
  EXPECT_TRUE(this->event_.Wait(absl::InfiniteDuration()));
  this->event_.Wait();
  this->event_.Clear();
  this->event_.Clear();
  EXPECT_FALSE(this->event_.IsSet());
}

TYPED_TEST(EventTest, WhoWaitsGoesOnWhenItIsSet) {
  auto first = this->StartWaiter();
  auto second = this->StartWaiter();
  this->event_.Set();
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
}

TYPED_TEST(EventTest, APulseWakesEveryoneWhoWaited) {
  for (int round = 0; round < 20; ++round) {
    auto first = this->StartWaiter();
    auto second = this->StartWaiter();
    this->event_.Set();
    this->event_.Clear();
    EXPECT_EQ(first->Finish(), 0);
    EXPECT_EQ(second->Finish(), 0);
    EXPECT_FALSE(this->event_.IsSet());
  }
}

TYPED_TEST(EventTest, ATimeoutBoundsTheWait) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  EXPECT_FALSE(this->event_.Wait(absl::Milliseconds(120)));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(120));
}

TYPED_TEST(EventTest, ItTakesTurns) {
  constexpr int kRounds = 2000;
  const Event ping;
  const Event pong;
  TypeParam peer([&] {
    for (int i = 0; i < kRounds; ++i) {
      ping.Wait();
      ping.Clear();
      pong.Set();
    }
  });
  peer.Go();
  for (int i = 0; i < kRounds; ++i) {
    ping.Set();
    pong.Wait();
    pong.Clear();
  }
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(EventTest, WhatWasDoneBeforeItWasSetIsSeen) {
  const Shared<int> data(0);
  TypeParam peer([&] {
    this->event_.Wait();
    EXPECT_EQ(*data, 7);
  });
  peer.Go();
  *data = 7;
  this->event_.Set();
  EXPECT_EQ(peer.Finish(), 0);
}

TEST(EventProcessTest, ManyAreWokenAtOnce) {
  const int sleepers = Stress() ? 1000 : 100;
  const Event event;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < sleepers; ++i) {
    children.push_back(std::make_unique<Child>([&](auto& step) {
      step("before");
      event.Wait();
    }));
    ASSERT_TRUE(children.back()->RunTo("before"));
    children.back()->Go();
  }
  for (auto& child : children) ASSERT_TRUE(child->WaitUntilAsleep());
  event.Set();
  for (auto& child : children) EXPECT_EQ(child->Finish(), 0);
}

TEST(EventProcessTest, ACopyInAStructOfTheDomainIsTheSame) {
  struct Board {
    Event ready;
  };
  const Shared<Board> board;
  Child child([&](auto& step) {
    step("before");
    board->ready.Wait();
  });
  ASSERT_TRUE(child.RunTo("before"));
  child.Go();
  ASSERT_TRUE(child.WaitUntilAsleep());
  const Event copy = board->ready;
  copy.Set();
  EXPECT_EQ(child.Finish(), 0);
}

TEST(EventProcessTest, SignalsDoNotEndAWait) {
  const Event event;
  Child waiter([&](auto& step) {
    const Alarms alarms(Alarms::kNever);
    step("before");
    event.Wait();
    EXPECT_TRUE(event.IsSet());
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(SleepsOnAfterAlarms(waiter));
  event.Set();
  EXPECT_EQ(waiter.Finish(), 0);
}

// What the handler of a signal sets.
const Event* in_handler = nullptr;

TEST(EventProcessTest, MayBeSetInAHandlerThatInterruptsAnythingElse) {
  // Alarms come all the time, also within operations on the same event and on others.
  const Event event;
  const Event own;
  in_handler = &event;
  Child waiter([&] {
    const Alarms alarms(200, [](int) {
      in_handler->Set();
      if (in_handler->IsSet()) in_handler->Clear();
    });
    for (int i = 0; i < 3000; ++i) {
      own.Set();
      own.Wait();
      own.Clear();
      event.Set();
      event.Clear();
      static_cast<void>(event.Wait(absl::Microseconds(50)));
    }
  });
  EXPECT_EQ(waiter.Finish(), 0);
}

TEST(EventProcessTest, TakesNoMoreThanItSays) {
  const uint64_t before = Stats().in_use;
  const Event event;
  EXPECT_LE(Stats().in_use - before, 72u);
}

TEST(EventProcessTest, NamesAreInListings) {
  const Event event({.name = "ready"});
  const absl::StatusOr<Event> made = Event::Create({.name = "made"});
  ASSERT_TRUE(made.ok());
  for (const char* name : {"ready", "made"}) {
    ASSERT_TRUE(Listed(name).has_value()) << name;
    EXPECT_EQ(Listed(name)->type, "Event");
  }
}

}  // namespace
}  // namespace mp
