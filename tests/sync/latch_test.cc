// What a Latch promises to threads and processes, those that join it and die included.

#include "sync/latch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/object_info.h"
#include "shared/shared.h"
#include "sync/semaphore.h"
#include "tests/support/alarms.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/listed.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Alarms;
using testing::Child;
using testing::kSanitized;
using testing::Listed;
using testing::PeerNames;
using testing::Peers;
using testing::Settle;
using testing::SleepsOnAfterAlarms;
using SteadyClock = std::chrono::steady_clock;

constexpr int kMost = std::numeric_limits<int>::max();

// Small, so that a test can use it up.
const absl::Status configured = ConfigureDomain({.commit_limit = size_t{48} << 20});

// What one thread alone sees.

TEST(LatchTest, CountsDownToNothingAndNoFurther) {
  const Latch latch(3);
  EXPECT_EQ(latch.GetCount(), 3);
  EXPECT_FALSE(latch.TryWait());
  latch.CountDown();
  EXPECT_EQ(latch.GetCount(), 2);
  latch.CountDown(0);
  EXPECT_EQ(latch.GetCount(), 2);
  EXPECT_FALSE(latch.TryWait());
  latch.CountDown(2);
  EXPECT_EQ(latch.GetCount(), 0);
  EXPECT_TRUE(latch.TryWait());
  latch.CountDown();
  latch.CountDown(kMost);
  EXPECT_EQ(latch.GetCount(), 0);
  latch.Wait();
}

TEST(LatchTest, MayBeginWithAnyNumber) {
  const Latch none(0);
  none.Wait();
  EXPECT_TRUE(none.TryWait());
  EXPECT_TRUE(none.Wait(-absl::InfiniteDuration()));
  const Latch most(kMost);
  EXPECT_EQ(most.GetCount(), kMost);
  EXPECT_FALSE(most.TryWait());
  most.CountDown(kMost - 1);
  EXPECT_EQ(most.GetCount(), 1);
  most.CountDown(kMost);
  EXPECT_TRUE(most.TryWait());
}

TEST(LatchTest, ATimeoutEndsTheWait) {
  const Latch latch(1);
  for (const absl::Duration none :
       {absl::ZeroDuration(), absl::Seconds(-1), -absl::InfiniteDuration()}) {
    EXPECT_FALSE(latch.Wait(none));
  }
  const auto start = SteadyClock::now();
  EXPECT_FALSE(latch.Wait(absl::Milliseconds(30)));
  EXPECT_GE(SteadyClock::now() - start, std::chrono::milliseconds(30));
  latch.CountDown();
  for (const absl::Duration timeout :
       {absl::ZeroDuration(), absl::Seconds(-1), absl::Hours(1), absl::InfiniteDuration()}) {
    EXPECT_TRUE(latch.Wait(timeout));
  }
}

TEST(LatchTest, WhatIsJoinedIsCountedDownFirst) {
  const Latch latch(5);
  latch.Join();
  latch.Join();
  EXPECT_EQ(latch.GetCount(), 5);
  latch.CountDown();  // one of these
  EXPECT_EQ(latch.GetCount(), 4);
  latch.CountDown(2);  // the other one, and one that nobody has joined
  EXPECT_EQ(latch.GetCount(), 2);
  latch.Join();
  latch.CountDown(10);
  EXPECT_EQ(latch.GetCount(), 0);
  latch.Join();  // nobody is to come; no harm
  EXPECT_EQ(latch.GetCount(), 0);
  latch.CountDown();
  EXPECT_EQ(latch.GetCount(), 0);
  EXPECT_EQ((**Domain::Get()).holds().Check((**Domain::Get()).processes()), absl::OkStatus());
}

TEST(LatchTest, CreateTellsWhatIsWrong) {
  const absl::StatusOr<Latch> latch = Latch::Create(2, {.name = "started"});
  ASSERT_TRUE(latch.ok());
  EXPECT_EQ(latch->GetCount(), 2);
  ASSERT_TRUE(Listed("started").has_value());
  EXPECT_EQ(Listed("started")->type, "Latch");
  const absl::Status negative = Latch::Create(-1).status();
  EXPECT_EQ(negative.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(negative.message()), ::testing::HasSubstr("-1"));
}

TEST(LatchTest, CreateTellsThatThereIsNoMemory) {
  Child child([] {
    Domain& domain = **Domain::Get();
    for (const size_t size : {size_t{1} << 20, size_t{4096}}) {
      while (domain.Allocate(size).ok()) {
      }
    }
    std::vector<Latch> latches;
    absl::StatusOr<Latch> latch = Latch::Create(1);
    for (; latch.ok(); latch = Latch::Create(1)) latches.push_back(*latch);
    EXPECT_EQ(latch.status().code(), absl::StatusCode::kResourceExhausted) << latch.status();
    EXPECT_DEATH(Latch(1, {.name = "full"}),
                 "^mp: Latch \"full\": cannot be made \\([0-9]+ bytes\\): ");
    for (const Latch& each : latches) each.CountDown();
  });
  EXPECT_EQ(child.Finish(), 0);
}

TEST(LatchTest, TakesNoMoreThanItSays) {
  const uint64_t before = Stats().in_use;
  const Latch latch(1);
  EXPECT_LE(Stats().in_use - before, 88u);
}

TEST(LatchDeathTest, MisuseEndsTheProcessWithTheName) {
  const Latch latch(1, {.name = "started"});
  EXPECT_DEATH(latch.CountDown(-1),
               "^mp: Latch \"started\": counted down by -1 by pid [0-9]+; 0 is the "
               "least\n");
  EXPECT_DEATH(Latch(-3, {.name = "less"}), "^mp: Latch \"less\": cannot be made .*-3");
  EXPECT_EQ(latch.GetCount(), 1);
}

// In a child, since the table does not shrink.
TEST(LatchDeathTest, NoMoreAreJoinedThanTheDomainHasRoomFor) {
  constexpr size_t kRoom = 163'840;
  const Latch latch(kMost, {.name = "started"});
  auto one_more = [&] {
    for (size_t i = 0; i <= kRoom; ++i) latch.Join();
  };
  EXPECT_DEATH(one_more(),
               "^mp: Latch \"started\": there is no memory, or no room in the domain, for one more "
               "that is joined\n");
}

// Threads, or processes.
template <typename P>
class LatchPeersTest : public ::testing::Test {};
TYPED_TEST_SUITE(LatchPeersTest, Peers, PeerNames);

TYPED_TEST(LatchPeersTest, WhoWaitsSleepsUntilTheLastHasCome) {
  for (const absl::Duration timeout :
       {absl::InfiniteDuration(), absl::Hours(1), absl::Hours(1'000'000'000)}) {
    const Latch latch(2);
    std::array<std::unique_ptr<TypeParam>, 3> waiters;
    for (auto& waiter : waiters) {
      waiter = std::make_unique<TypeParam>([&](auto& step) {
        step("before");
        if (timeout == absl::InfiniteDuration()) {
          latch.Wait();
        } else {
          EXPECT_TRUE(latch.Wait(timeout));
        }
        EXPECT_EQ(latch.GetCount(), 0);
      });
      ASSERT_TRUE(waiter->RunTo("before"));
      waiter->Go();
      ASSERT_TRUE(waiter->WaitUntilAsleep());
    }
    latch.CountDown();
    for (auto& waiter : waiters) ASSERT_TRUE(waiter->WaitUntilAsleep());
    latch.CountDown();
    for (auto& waiter : waiters) EXPECT_EQ(waiter->Finish(), 0);
  }
}

TYPED_TEST(LatchPeersTest, WhatWasDoneBeforeIsSeen) {
  constexpr int kPeers = 4;
  const Latch latch(kPeers);
  // Plain memory: the thread sanitizer would tell.
  const Shared<std::array<int, kPeers>> done;
  std::vector<std::unique_ptr<TypeParam>> peers;
  for (int i = 0; i < kPeers; ++i) {
    peers.push_back(std::make_unique<TypeParam>([&, i] {
      if (i % 2 == 0) latch.Join();
      (*done)[static_cast<size_t>(i)] = i + 1;
      latch.CountDown();
      latch.Wait();
      for (int j = 0; j < kPeers; ++j) EXPECT_EQ((*done)[static_cast<size_t>(j)], j + 1);
    }));
  }
  latch.Wait();
  for (int j = 0; j < kPeers; ++j) EXPECT_EQ((*done)[static_cast<size_t>(j)], j + 1);
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
}

TYPED_TEST(LatchPeersTest, EachCountIsCounted) {
  constexpr int kPeers = 4;
  constexpr int kRounds = kSanitized ? 300 : 3000;
  const Latch latch(kPeers * kRounds + 1);
  std::vector<std::unique_ptr<TypeParam>> peers;
  for (int i = 0; i < kPeers; ++i) {
    peers.push_back(std::make_unique<TypeParam>([&, i] {
      for (int round = 0; round < kRounds; ++round) {
        if ((i + round) % 2 == 0) latch.Join();
        latch.CountDown();
      }
    }));
  }
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
  Settle();
  EXPECT_EQ(latch.GetCount(), 1);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(LatchPeersTest, HandlesInTheDomainAreTheSameLatch) {
  struct Board {
    Latch ready{1};
    Latch done{1};
  };
  const Shared<Board> board;
  TypeParam peer([&] {
    board->ready.Wait();
    board->done.CountDown();
  });
  const Latch copy = board->done;
  EXPECT_FALSE(copy.TryWait());
  board->ready.CountDown();
  copy.Wait();
  EXPECT_EQ(peer.Finish(), 0);
}

// Threads.

TEST(LatchThreadsTest, WhatOneHasJoinedAnotherMayCountDown) {
  const Latch latch(2);
  Child child([&](auto& step) {
    std::thread([&] { latch.Join(); }).join();
    std::thread([&] { latch.CountDown(); }).join();
    step("counted down");
  });
  ASSERT_TRUE(child.RunTo("counted down"));
  EXPECT_EQ(latch.GetCount(), 1);
  child.Kill();
  Settle();
  EXPECT_EQ(latch.GetCount(), 1);
}

// A record that one thread is about to count down may be another's meanwhile: of the same latch,
// or of the other one.
TEST(LatchThreadsTest, OnlyWhatIsJoinedToIt) {
  constexpr int kThreads = 4;
  constexpr int kRounds = kSanitized ? 2000 : 100'000;
  const std::array<Latch, 2> latches = {Latch(kMost), Latch(kMost)};
  Child child([&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        for (int round = 0; round < kRounds; ++round) {
          const Latch& latch = latches[static_cast<size_t>(i + round) % 2];
          latch.Join();
          latch.CountDown();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  EXPECT_EQ(child.Finish(), 0);
  Settle();
  for (const Latch& latch : latches) EXPECT_EQ(latch.GetCount(), kMost - kThreads * kRounds / 2);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Fork.

TEST(LatchForkTest, WhatAParentHasJoinedIsTheParents) {
  const Latch latch(3);
  latch.Join();
  {
    Child child([&] {
      EXPECT_EQ(latch.GetCount(), 3);
      latch.CountDown();  // one that nobody has joined
    });
    EXPECT_EQ(child.Finish(), 0);
  }
  Settle();
  EXPECT_EQ(latch.GetCount(), 2);
  latch.CountDown();
  EXPECT_EQ(latch.GetCount(), 1);
  Child child([&] { latch.CountDown(0); });
  EXPECT_EQ(child.Finish(), 0);
  Settle();
  EXPECT_EQ(latch.GetCount(), 1);
}

TEST(LatchForkTest, AForkMayComeWhileAnotherThreadJoinsAndCountsDown) {
  constexpr int kForks = kSanitized ? 10 : 40;
  constexpr int kRounds = 50;
  const Latch latch(kMost);
  std::atomic<bool> stop = false;
  int counted = 0;
  std::thread other([&] {
    for (; !stop.load(); ++counted) {
      latch.Join();
      latch.CountDown();
    }
  });
  for (int i = 0; i < kForks; ++i) {
    Child child([&] {
      for (int round = 0; round < kRounds; ++round) {
        latch.Join();
        latch.CountDown();
      }
    });
    EXPECT_EQ(child.Finish(), 0);
  }
  stop.store(true);
  other.join();
  Settle();
  EXPECT_EQ(latch.GetCount(), kMost - counted - kForks * kRounds);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Death.

TEST(LatchOwnerDeathTest, WhoHasJoinedIsCountedDownByItsEndOnce) {
  const Latch latch(3);
  Child waiter([&](auto& step) {
    step("before");
    latch.Wait();
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(waiter.WaitUntilAsleep());
  {
    Child child([&](auto& step) {
      latch.Join();
      latch.Join();
      latch.CountDown();
      step("one is left");
    });
    ASSERT_TRUE(child.RunTo("one is left"));
    EXPECT_EQ(latch.GetCount(), 2);
    child.Kill();
  }
  Settle();
  EXPECT_EQ(latch.GetCount(), 1);
  ASSERT_TRUE(waiter.WaitUntilAsleep());
  // One that ends by itself, without a word.
  Child child([&] { latch.Join(); });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(waiter.Finish(), 0);
  EXPECT_EQ(latch.GetCount(), 0);
}

TEST(LatchOwnerDeathTest, OfWhoHasNotJoinedNobodyKnows) {
  const Latch latch(1);
  Child child([&](auto& step) { step("lives"); });
  ASSERT_TRUE(child.RunTo("lives"));
  child.Kill();
  Settle();
  EXPECT_FALSE(latch.Wait(absl::Milliseconds(1)));
  EXPECT_EQ(latch.GetCount(), 1);
}

TEST(LatchOwnerDeathTest, ExecveIsADeath) {
  const Latch latch(1);
  Child child([&](auto& step) {
    latch.Join();
    step("joined");
    execl("/bin/sleep", "sleep", "1000", nullptr);
  });
  ASSERT_TRUE(child.RunTo("joined"));
  child.Go();
  latch.Wait();
  EXPECT_TRUE(child.Running());
}

TEST(LatchOwnerDeathTest, ADeadWaiterIsNotMissed) {
  const Latch latch(1);
  auto wait = [&](auto& step) {
    step("before");
    latch.Wait();
  };
  Child doomed(wait);
  Child other(wait);
  for (Child* child : {&doomed, &other}) {
    ASSERT_TRUE(child->RunTo("before"));
    child->Go();
    ASSERT_TRUE(child->WaitUntilAsleep());
  }
  doomed.Kill();
  latch.CountDown();
  EXPECT_EQ(other.Finish(), 0);
}

TEST(LatchOwnerDeathTest, OneThatIsJoinedDoesNotEnd) {
  // The burial of who has joined it is to find it, and nothing else in its place.
  auto latch = std::make_unique<Latch>(1);
  Child child([&](auto& step) {
    latch->Join();
    step("joined");
  });
  ASSERT_TRUE(child.RunTo("joined"));
  latch.reset();
  const std::vector<Latch> others(10, Latch(1));
  child.Kill();
  Settle();
  for (const Latch& other : others) EXPECT_EQ(other.GetCount(), 1);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(LatchTest, AHandleMayBeDroppedWhileOthersWait) {
  auto latch = std::make_unique<Latch>(1);
  const Latch copy = *latch;
  Child waiter([&](auto& step) {
    step("before");
    latch->Wait();
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(waiter.WaitUntilAsleep());
  latch.reset();
  copy.CountDown();
  EXPECT_EQ(waiter.Finish(), 0);
}

// Signals.

TEST(LatchSignalTest, AWaitGoesOnAfterAHandler) {
  for (const int flags : {0, SA_RESTART}) {
    const Latch latch(1);
    Child waiter([&](auto& step) {
      const Alarms alarms(
          Alarms::kNever, [](int) {}, flags);
      step("before");
      latch.Wait();
      EXPECT_TRUE(latch.TryWait());
    });
    ASSERT_TRUE(waiter.RunTo("before"));
    waiter.Go();
    ASSERT_TRUE(SleepsOnAfterAlarms(waiter));
    latch.CountDown();
    EXPECT_EQ(waiter.Finish(), 0);
  }
}

TEST(LatchSignalTest, HandlersDoNotShortenATimeout) {
  const Latch latch(1);
  Child waiter([&] {
    const Alarms alarms;
    const auto start = SteadyClock::now();
    EXPECT_FALSE(latch.Wait(absl::Milliseconds(60)));
    EXPECT_GE(SteadyClock::now() - start, std::chrono::milliseconds(60));
  });
  EXPECT_EQ(waiter.Finish(), 0);
}

}  // namespace
}  // namespace mp
