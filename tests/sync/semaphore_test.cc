// What Semaphore and BoundedSemaphore promise to threads and processes that nobody kills.

#include "sync/semaphore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/holds.h"
#include "shared/shared.h"
#include "tests/support/alarms.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Alarms;
using testing::Child;
using testing::kSanitized;
using testing::PeerNames;
using testing::Peers;
using testing::SleepsOnAfterAlarms;
using testing::ThreadPeer;

constexpr int kMost = std::numeric_limits<int>::max();

size_t RecordBytes() { return (*Domain::Get())->holds().CommittedBytes(); }

// Both kinds, where they promise the same.
template <typename S>
class AnySemaphoreTest : public ::testing::Test {};
using Semaphores = ::testing::Types<Semaphore, BoundedSemaphore>;
class SemaphoreNames {
 public:
  template <typename S>
  static std::string GetName(int) {
    return std::is_same_v<S, Semaphore> ? "Semaphore" : "BoundedSemaphore";
  }
};
TYPED_TEST_SUITE(AnySemaphoreTest, Semaphores, SemaphoreNames);

TYPED_TEST(AnySemaphoreTest, HasOnePermitUnlessToldOtherwise) {
  EXPECT_EQ(TypeParam().GetValue(), 1);
  EXPECT_EQ(TypeParam(0).GetValue(), 0);
  EXPECT_EQ(TypeParam(kMost).GetValue(), kMost);
}

// CPython's test_semaphore and test_bounded_semaphore.
TYPED_TEST(AnySemaphoreTest, CountsDownAndUp) {
  const TypeParam semaphore(2);
  semaphore.Acquire();
  EXPECT_EQ(semaphore.GetValue(), 1);
  EXPECT_TRUE(semaphore.TryAcquire());
  EXPECT_EQ(semaphore.GetValue(), 0);
  EXPECT_FALSE(semaphore.TryAcquire());
  EXPECT_EQ(semaphore.GetValue(), 0);
  EXPECT_TRUE(semaphore.Locked());
  static_cast<void>(semaphore.Release());
  EXPECT_EQ(semaphore.GetValue(), 1);
  EXPECT_FALSE(semaphore.Locked());
  static_cast<void>(semaphore.Release());
  EXPECT_EQ(semaphore.GetValue(), 2);
  static_cast<void>(semaphore.Release(0));
  EXPECT_EQ(semaphore.GetValue(), 2);
}

// CPython's test_timeout of _TestSemaphore.
TYPED_TEST(AnySemaphoreTest, ATimeoutEndsTheWait) {
  using Clock = std::chrono::steady_clock;
  const TypeParam semaphore(0);
  for (const absl::Duration none :
       {absl::ZeroDuration(), absl::Seconds(-1), -absl::InfiniteDuration()}) {
    EXPECT_FALSE(semaphore.Acquire(none));
    EXPECT_EQ(semaphore.AcquirePermit(none), std::nullopt);
  }
  const auto start = Clock::now();
  EXPECT_FALSE(semaphore.Acquire(absl::Milliseconds(30)));
  EXPECT_EQ(semaphore.AcquirePermit(absl::Milliseconds(30)), std::nullopt);
  EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(60));
  EXPECT_EQ(semaphore.GetValue(), 0);
}

TYPED_TEST(AnySemaphoreTest, WhereOneIsLeftNoTimeoutMatters) {
  const TypeParam semaphore(4);
  EXPECT_TRUE(semaphore.Acquire(absl::ZeroDuration()));
  EXPECT_TRUE(semaphore.Acquire(absl::Seconds(-1)));
  EXPECT_TRUE(semaphore.Acquire(absl::InfiniteDuration()));
  const std::optional<Permit> permit = semaphore.AcquirePermit(absl::ZeroDuration());
  EXPECT_NE(permit, std::nullopt);
  EXPECT_EQ(semaphore.GetValue(), 0);
}

TYPED_TEST(AnySemaphoreTest, CreateTellsWhatIsWrong) {
  const absl::StatusOr<TypeParam> semaphore = TypeParam::Create(3, {.name = "seats"});
  ASSERT_TRUE(semaphore.ok());
  EXPECT_EQ(semaphore->GetValue(), 3);
  const absl::Status negative = TypeParam::Create(-1).status();
  EXPECT_EQ(negative.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(negative.message()), ::testing::HasSubstr("-1"));
}

TYPED_TEST(AnySemaphoreTest, APermitComesBack) {
  const TypeParam semaphore(1);
  {
    const Permit permit = semaphore.AcquirePermit();
    EXPECT_EQ(semaphore.GetValue(), 0);
    EXPECT_EQ(semaphore.TryAcquirePermit(), std::nullopt);
  }
  EXPECT_EQ(semaphore.GetValue(), 1);
}

TYPED_TEST(AnySemaphoreTest, APermitComesBackOnceWhereverItGoes) {
  const TypeParam semaphore(2);
  Permit first = semaphore.AcquirePermit();
  Permit moved = std::move(first);
  first.Release();  // NOLINT(bugprone-use-after-move): it has nothing
  EXPECT_EQ(semaphore.GetValue(), 1);
  Permit second = semaphore.AcquirePermit();
  EXPECT_EQ(semaphore.GetValue(), 0);
  second = std::move(moved);
  EXPECT_EQ(semaphore.GetValue(), 1);
  Permit& same = second;
  second = std::move(same);
  EXPECT_EQ(semaphore.GetValue(), 1);
  second.Release();
  EXPECT_EQ(semaphore.GetValue(), 2);
  second.Release();
  EXPECT_EQ(semaphore.GetValue(), 2);
  second = semaphore.AcquirePermit();
  EXPECT_EQ(semaphore.GetValue(), 1);
}

TYPED_TEST(AnySemaphoreTest, PermitsOfSeveralAreApart) {
  const std::vector<TypeParam> semaphores = {TypeParam(1), TypeParam(2), TypeParam(3)};
  std::vector<Permit> permits;
  for (const TypeParam& semaphore : semaphores) {
    while (std::optional<Permit> permit = semaphore.TryAcquirePermit()) {
      permits.push_back(*std::move(permit));
    }
  }
  EXPECT_EQ(permits.size(), 6u);
  // Neither first in, first out, nor the other way around.
  std::swap(permits[0], permits[5]);
  std::swap(permits[1], permits[3]);
  permits.erase(permits.begin() + 2, permits.begin() + 4);
  permits.clear();
  for (size_t i = 0; i < semaphores.size(); ++i) {
    EXPECT_EQ(semaphores[i].GetValue(), static_cast<int>(i) + 1);
  }
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(BoundedSemaphoreTest, RefusesToHaveMoreThanItBeganWith) {
  const BoundedSemaphore semaphore(2, {.name = "seats"});
  EXPECT_EQ(semaphore.Release().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(semaphore.GetValue(), 2);
  semaphore.Acquire();
  const absl::Status refused = semaphore.Release(2);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("BoundedSemaphore \"seats\""));
  EXPECT_EQ(semaphore.GetValue(), 1);
  EXPECT_EQ(semaphore.Release(), absl::OkStatus());
  EXPECT_EQ(semaphore.GetValue(), 2);
}

TEST(BoundedSemaphoreTest, MayBeginWithNone) {
  const BoundedSemaphore semaphore(0);
  EXPECT_FALSE(semaphore.TryAcquire());
  EXPECT_EQ(semaphore.Release().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(semaphore.GetValue(), 0);
}

// The end of CPython's test_semaphore.
TEST(SemaphoreTest, MayHaveMoreThanItBeganWith) {
  const Semaphore semaphore(0);
  semaphore.Release(5);
  semaphore.Release();
  EXPECT_EQ(semaphore.GetValue(), 6);
}

TEST(SemaphoreDeathTest, MisuseEndsTheProcessWithTheName) {
  const Semaphore semaphore(kMost, {.name = "seats"});
  EXPECT_DEATH(semaphore.Release(-1),
               "^mp: Semaphore \"seats\": released -1 times by pid [0-9]+; 0 is the least\n");
  EXPECT_DEATH(semaphore.Release(),
               "^mp: Semaphore \"seats\": released 1 times by pid [0-9]+; it would have "
               "more than 2147483647 permits; release what was acquired\n");
  EXPECT_DEATH(Semaphore(-1, {.name = "less"}), "^mp: .*Semaphore.*less.*-1");
  EXPECT_DEATH(BoundedSemaphore(-2, {.name = "less"}), "^mp: .*BoundedSemaphore.*less.*-2");
  const BoundedSemaphore bounded(1, {.name = "bound"});
  EXPECT_TRUE(absl::IsInvalidArgument(bounded.Release(-1)));
  EXPECT_DEATH(Semaphore(1, {.name = "two\nlines"}).Release(-1),
               "^mp: Semaphore \"two\\\\nlines\": released -1 times");
  const auto too_many = [&] {
    Permit permit = semaphore.AcquirePermit();
    semaphore.Release();
    permit.Release();
  };
  EXPECT_DEATH(too_many(),
               "^mp: Semaphore \"seats\": released a permit by pid [0-9]+; it would have more than "
               "2147483647 permits\n");
  EXPECT_EQ(semaphore.GetValue(), kMost);
}

// Threads, or processes.
template <typename P>
class SemaphorePeersTest : public ::testing::Test {};
TYPED_TEST_SUITE(SemaphorePeersTest, Peers, PeerNames);

TYPED_TEST(SemaphorePeersTest, WhoFindsNoneSleepsUntilARelease) {
  const Semaphore semaphore(0);
  for (const bool permit : {false, true}) {
    for (const bool timed : {false, true}) {
      TypeParam waiter([&](auto& step) {
        step("before");
        if (permit) {
          const auto has =
              semaphore.AcquirePermit(timed ? absl::Hours(1) : absl::InfiniteDuration());
          EXPECT_NE(has, std::nullopt);
          step("has it");
        } else {
          EXPECT_TRUE(semaphore.Acquire(timed ? absl::Hours(1) : absl::InfiniteDuration()));
          step("has it");
          semaphore.Release();
        }
      });
      ASSERT_TRUE(waiter.RunTo("before"));
      waiter.Go();
      ASSERT_TRUE(waiter.WaitUntilAsleep());
      semaphore.Release();
      ASSERT_TRUE(waiter.RunTo("has it"));
      EXPECT_EQ(semaphore.GetValue(), 0);
      EXPECT_EQ(waiter.Finish(), 0);
      EXPECT_EQ(semaphore.GetValue(), 1);
      semaphore.Acquire();
    }
  }
}

TYPED_TEST(SemaphorePeersTest, WhatOneAcquiredAnotherMayRelease) {
  const BoundedSemaphore semaphore(1);
  semaphore.Acquire();
  TypeParam other([&] { EXPECT_EQ(semaphore.Release(), absl::OkStatus()); });
  EXPECT_EQ(other.Finish(), 0);
  EXPECT_EQ(semaphore.GetValue(), 1);
}

TYPED_TEST(SemaphorePeersTest, NoMoreGoOnAtOnceThanItHas) {
  constexpr int kSeats = 3;
  constexpr int kPeers = 6;
  constexpr int kRounds = kSanitized ? 200 : 2000;
  const Semaphore semaphore(kSeats);
  const Shared<std::atomic<int>> inside;
  std::vector<std::unique_ptr<TypeParam>> peers;
  for (int i = 0; i < kPeers; ++i) {
    peers.push_back(std::make_unique<TypeParam>([&, i] {
      for (int round = 0; round < kRounds; ++round) {
        std::optional<Permit> permit;
        if ((round + i) % 2 == 0) {
          permit = semaphore.AcquirePermit();
        } else {
          semaphore.Acquire();
        }
        EXPECT_LE(inside->fetch_add(1), kSeats - 1);
        inside->fetch_sub(1);
        if (!permit.has_value()) semaphore.Release();
      }
    }));
  }
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
  EXPECT_EQ(semaphore.GetValue(), kSeats);
}

// By one release of all, and one by one.
TEST(SemaphoreTest, EachOfManyWaitersIsWoken) {
  constexpr int kWaiters = kSanitized ? 50 : 200;
  for (const bool at_once : {true, false}) {
    const Semaphore semaphore(0);
    std::vector<std::unique_ptr<ThreadPeer>> waiters;
    for (int i = 0; i < kWaiters; ++i) {
      waiters.push_back(std::make_unique<ThreadPeer>([&] { semaphore.Acquire(); }));
    }
    for (auto& waiter : waiters) ASSERT_TRUE(waiter->WaitUntilAsleep());
    if (at_once) semaphore.Release(kWaiters);
    for (int i = 0; !at_once && i < kWaiters; ++i) semaphore.Release();
    for (auto& waiter : waiters) EXPECT_EQ(waiter->Finish(), 0);
    EXPECT_EQ(semaphore.GetValue(), 0);
  }
}

TEST(SemaphoreTest, APermitMayEndInAnotherThread) {
  const Semaphore semaphore(1);
  std::optional<Permit> permit = semaphore.AcquirePermit();
  std::thread([moved = std::move(permit)] {}).join();
  EXPECT_EQ(semaphore.GetValue(), 1);
}

// Also where the permit ends in a thread that has never had one, or after its other records.
TEST(SemaphoreTest, ThreadsThatEndLeaveNoRecords) {
  constexpr int kThreads = kSanitized ? 300 : 2000;
  const Semaphore semaphore(1);
  const auto pass_on = [&] {
    std::optional<Permit> permit;
    std::thread([&] { permit = semaphore.AcquirePermit(); }).join();
    std::thread([moved = *std::move(permit)]() mutable { moved.Release(); }).join();
  };
  const auto at_the_end = [&] {
    std::thread([&] {
      thread_local std::optional<Permit> last;
      last.emplace(semaphore.AcquirePermit());
    }).join();
  };
  pass_on();
  at_the_end();
  const size_t before = RecordBytes();
  for (int i = 0; i < kThreads; ++i) {
    pass_on();
    at_the_end();
  }
  EXPECT_EQ(RecordBytes(), before);
  EXPECT_EQ(semaphore.GetValue(), 1);
}

TEST(SemaphoreTest, ProcessesThatEndLeaveNoRecords) {
  const Semaphore semaphore(1);
  const auto run = [&] {
    Child child([&](auto& step) {
      const Permit permit = semaphore.AcquirePermit();
      step("has it");
    });
    ASSERT_TRUE(child.RunTo("has it"));
    child.Kill();
    testing::Settle();
  };
  run();
  const size_t before = RecordBytes();
  for (int i = 0; i < 40; ++i) run();
  EXPECT_EQ(RecordBytes(), before);
  EXPECT_EQ(semaphore.GetValue(), 1);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(SemaphoreTest, ACopyOfAPermitInAChildDoesNothing) {
  const Semaphore semaphore(2);
  Permit permit = semaphore.AcquirePermit();
  Child child([&] {
    EXPECT_EQ(semaphore.GetValue(), 1);
    permit.Release();
    EXPECT_EQ(semaphore.GetValue(), 1);
    permit = semaphore.AcquirePermit();
    EXPECT_EQ(semaphore.GetValue(), 0);
    permit.Release();
    EXPECT_EQ(semaphore.GetValue(), 1);
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(semaphore.GetValue(), 1);
  permit.Release();
  EXPECT_EQ(semaphore.GetValue(), 2);
}

// Its records are the parent's threads': the child takes others.
TEST(SemaphoreTest, AForkMayComeWhileAnotherThreadAcquires) {
  constexpr int kForks = kSanitized ? 10 : 50;
  const Semaphore semaphore(2);
  std::atomic<bool> stop = false;
  std::thread other([&] {
    while (!stop.load()) const Permit permit = semaphore.AcquirePermit();
  });
  for (int i = 0; i < kForks; ++i) {
    Child child([&] {
      for (int round = 0; round < 100; ++round) const Permit permit = semaphore.AcquirePermit();
    });
    EXPECT_EQ(child.Finish(), 0);
  }
  stop.store(true);
  other.join();
  EXPECT_EQ(semaphore.GetValue(), 2);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(SemaphoreTest, LivesInASharedObject) {
  struct Pool {
    Semaphore seats{2};
    BoundedSemaphore turns{1};
  };
  const Shared<Pool> pool;
  const Semaphore copy = pool->seats;
  Child child([&] {
    Permit permit = pool->seats.AcquirePermit();
    EXPECT_EQ(copy.GetValue(), 1);
    pool->turns.Acquire();
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(copy.GetValue(), 2);
  EXPECT_EQ(pool->turns.GetValue(), 0);
}

TEST(SemaphoreTest, SignalsDoNotEndAWait) {
  const Semaphore semaphore(0);
  for (const bool permit : {false, true}) {
    Child waiter([&](auto& step) {
      const Alarms alarms(Alarms::kNever);
      step("before");
      if (permit) {
        const Permit has = semaphore.AcquirePermit();
      } else {
        semaphore.Acquire();
      }
    });
    ASSERT_TRUE(waiter.RunTo("before"));
    waiter.Go();
    ASSERT_TRUE(SleepsOnAfterAlarms(waiter));
    semaphore.Release();
    EXPECT_EQ(waiter.Finish(), 0);
    EXPECT_EQ(semaphore.TryAcquire(), permit);
  }
}

// What the handler of a signal releases, and how often it has.
const Semaphore* in_handler = nullptr;
std::atomic<int> released_in_handler{0};

TEST(SemaphoreTest, MayBeReleasedInAHandlerThatInterruptsAnythingElse) {
  // Alarms come all the time, also within operations on the same semaphore and on others.
  const Semaphore semaphore(0);
  const Semaphore own(1);
  in_handler = &semaphore;
  Child waiter([&] {
    int left = 0;
    {
      const Alarms alarms(200, [](int) {
        in_handler->Release();
        released_in_handler.fetch_add(1);
      });
      for (int i = 0; i < 3000; ++i) {
        own.AcquirePermit().Release();
        semaphore.Release(2);
        left += 2;
        left -= semaphore.TryAcquire();
        left -= semaphore.Acquire(absl::Microseconds(50));
        left -= semaphore.Acquire(absl::Microseconds(50));
        static_cast<void>(semaphore.AcquirePermit(absl::Microseconds(50)));
      }
    }
    EXPECT_GT(released_in_handler.load(), 0);
    EXPECT_EQ(semaphore.GetValue(), left + released_in_handler.load());
    EXPECT_EQ(own.GetValue(), 1);
  });
  EXPECT_EQ(waiter.Finish(), 0);
}

TEST(SemaphoreTest, SignalsDoNotShortenATimeout) {
  using Clock = std::chrono::steady_clock;
  const Semaphore semaphore(0);
  Child waiter([&] {
    const Alarms alarms;
    const auto start = Clock::now();
    EXPECT_FALSE(semaphore.Acquire(absl::Milliseconds(50)));
    EXPECT_EQ(semaphore.AcquirePermit(absl::Milliseconds(50)), std::nullopt);
    EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(100));
  });
  EXPECT_EQ(waiter.Finish(), 0);
}

TEST(SemaphoreTest, APermitOfOneWhoIsKilledComesBack) {
  const Semaphore semaphore(1);
  Child child([&](auto& step) {
    const Permit permit = semaphore.AcquirePermit();
    step("has it");
  });
  ASSERT_TRUE(child.RunTo("has it"));
  Child next([&] { const Permit permit = semaphore.AcquirePermit(); });
  next.Go();
  ASSERT_TRUE(next.WaitUntilAsleep());
  child.Kill();
  EXPECT_EQ(next.Finish(), 0);
  EXPECT_EQ(semaphore.GetValue(), 1);
}

TEST(SemaphoreTest, WhatWasAcquiredWithoutAPermitDoesNotComeBack) {
  const Semaphore semaphore(1);
  Child child([&](auto& step) {
    semaphore.Acquire();
    step("has it");
  });
  ASSERT_TRUE(child.RunTo("has it"));
  child.Kill();
  testing::Settle();
  EXPECT_EQ(semaphore.GetValue(), 0);
}

TEST(SemaphoreTest, PermitsOfOneWhoEndsComeBack) {
  const Semaphore semaphore(20);
  Child child([&] {
    for (int i = 0; i < 20; ++i) new Permit(semaphore.AcquirePermit());
  });
  EXPECT_EQ(child.Finish(), 0);
  testing::Settle();
  EXPECT_EQ(semaphore.GetValue(), 20);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(BoundedSemaphoreTest, WhoReleasesInThePlaceOfAPermitAddsNone) {
  const BoundedSemaphore semaphore(1);
  {
    const Permit permit = semaphore.AcquirePermit();
    EXPECT_TRUE(semaphore.Release().ok());
  }
  EXPECT_EQ(semaphore.GetValue(), 1);
}

TEST(SemaphoreTest, OneWithPermitsOutDoesNotEnd) {
  // The burial of who had it is to find it, and nothing else in its place.
  std::optional<Semaphore> semaphore(std::in_place, 1);
  std::optional<Permit> permit(semaphore->AcquirePermit());
  semaphore.reset();
  const Semaphore other(1);
  permit.reset();
  EXPECT_EQ(other.GetValue(), 1);
}

TEST(SemaphoreTest, TakesNoMoreThanItSays) {
  const uint64_t before = Stats().in_use;
  const Semaphore semaphore(1);
  EXPECT_LE(Stats().in_use - before, 88u);
}

}  // namespace
}  // namespace mp
