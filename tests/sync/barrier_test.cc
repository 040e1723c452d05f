// What threads, or processes, see of a Barrier while nobody dies.

#include "sync/barrier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/inspect.h"
#include "shared/shared.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/listed.h"
#include "tests/support/peer.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using testing::Alarms;
using ::testing::AllOf;
using testing::Child;
using testing::Gate;
using ::testing::HasSubstr;
using testing::Inherited;
using testing::IsOk;
using testing::Listed;
using testing::PeerNames;
using testing::Peers;
using testing::SleepsOnAfterAlarms;
using testing::StatusIs;

using Clock = std::chrono::steady_clock;

template <typename P>
class BarrierTest : public ::testing::Test {
 protected:
  // One that stands in Wait(), asleep.
  template <typename Wait>
  std::unique_ptr<P> StartWaiter(const Barrier& barrier, const Wait& wait) {
    const int before = barrier.NWaiting();
    auto peer = std::make_unique<P>([wait](auto& step) {
      step("before");
      wait();
    });
    EXPECT_TRUE(peer->RunTo("before"));
    peer->Go();
    EXPECT_TRUE(peer->WaitUntilAsleep());
    EXPECT_EQ(barrier.NWaiting(), before + 1);
    return peer;
  }
};
TYPED_TEST_SUITE(BarrierTest, Peers, PeerNames);

TYPED_TEST(BarrierTest, NobodyGoesOnBeforeAllHaveCome) {
  constexpr int kParties = 4;
  constexpr int kRounds = 50;
  const Barrier barrier(kParties);
  const Inherited<std::atomic<int>> come(0);
  auto work = [&] {
    for (int round = 0; round < kRounds; ++round) {
      come->fetch_add(1);
      ASSERT_THAT(barrier.Wait(), IsOk());
      EXPECT_GE(come->load(), (round + 1) * kParties);
      ASSERT_THAT(barrier.Wait(), IsOk());
      EXPECT_LE(come->load(), (round + 1) * kParties);
      ASSERT_THAT(barrier.Wait(), IsOk());
    }
  };
  std::vector<std::unique_ptr<TypeParam>> peers;
  for (int i = 1; i < kParties; ++i) peers.push_back(std::make_unique<TypeParam>(work));
  for (auto& peer : peers) peer->Go();
  work();
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
}

TYPED_TEST(BarrierTest, TellsEachAsWhichItCame) {
  const Barrier barrier(3);
  auto first = this->StartWaiter(barrier, [barrier] { EXPECT_EQ(*barrier.Wait(), 0); });
  auto second = this->StartWaiter(barrier, [barrier] { EXPECT_EQ(*barrier.Wait(), 1); });
  EXPECT_EQ(*barrier.Wait(), 2);
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
  EXPECT_EQ(barrier.NWaiting(), 0);
}

TEST(BarrierOneTest, OnePartyWaitsForNobody) {
  int acted = 0;
  const Barrier barrier(1, {.action = [&acted] { ++acted; }});
  EXPECT_EQ(barrier.parties(), 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*barrier.Wait(absl::ZeroDuration()), 0);
  EXPECT_EQ(acted, 3);
}

TYPED_TEST(BarrierTest, TheActionIsRunOnceBeforeAnybodyGoesOn) {
  const Inherited<std::atomic<int>> acted(0);
  const Barrier barrier(3, {.action = [&acted] { acted->fetch_add(1); }});
  auto rounds = [&] {
    for (int round = 1; round <= 100; ++round) {
      ASSERT_THAT(barrier.Wait(), IsOk());
      EXPECT_GE(acted->load(), round);
      EXPECT_LE(acted->load(), round + 1);  // the others may have come again, but not this one
    }
  };
  TypeParam one(rounds);
  TypeParam two(rounds);
  one.Go();
  two.Go();
  rounds();
  EXPECT_EQ(one.Finish(), 0);
  EXPECT_EQ(two.Finish(), 0);
  EXPECT_EQ(acted->load(), 100);
}

TYPED_TEST(BarrierTest, WhoDoesNotWaitAnyLongerBreaksItForAll) {
  const Barrier barrier(3, {.name = "line"});
  auto waiter = this->StartWaiter(barrier, [barrier] {
    EXPECT_THAT(barrier.Wait().status(),
                StatusIs(absl::StatusCode::kAborted, AllOf(HasSubstr("Barrier \"line\""),
                                                           HasSubstr("did not wait any longer"))));
  });
  const Clock::time_point begin = Clock::now();
  EXPECT_THAT(barrier.Wait(absl::Milliseconds(50)).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("not all of 3 came")));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(50));
  EXPECT_EQ(waiter->Finish(), 0);
  EXPECT_TRUE(barrier.Broken());
  EXPECT_EQ(barrier.NWaiting(), 0);
  EXPECT_THAT(barrier.Wait().status(),
              StatusIs(absl::StatusCode::kAborted, HasSubstr(absl::StrCat("pid ", getpid()))));
}

TYPED_TEST(BarrierTest, ZeroAndLessWaitForNobody) {
  const Barrier barrier(2);
  for (const absl::Duration timeout : {absl::ZeroDuration(), -absl::InfiniteDuration()}) {
    EXPECT_THAT(barrier.Wait(timeout).status(), StatusIs(absl::StatusCode::kDeadlineExceeded));
    EXPECT_TRUE(barrier.Broken());
    barrier.Reset();
    EXPECT_FALSE(barrier.Broken());
  }
  auto waiter = this->StartWaiter(
      barrier, [barrier] { EXPECT_EQ(*barrier.Wait(absl::InfiniteDuration()), 0); });
  EXPECT_EQ(*barrier.Wait(absl::ZeroDuration()), 1);
  EXPECT_EQ(waiter->Finish(), 0);
}

TYPED_TEST(BarrierTest, ItsOwnTimeoutIsOfWhoNamesNone) {
  const Barrier barrier(2, {.timeout = absl::Milliseconds(30)});
  EXPECT_THAT(barrier.Wait().status(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  barrier.Reset();
  auto waiter = this->StartWaiter(
      barrier, [barrier] { EXPECT_EQ(*barrier.Wait(absl::InfiniteDuration()), 0); });
  EXPECT_EQ(*barrier.Wait(), 1);
  EXPECT_EQ(waiter->Finish(), 0);
}

TYPED_TEST(BarrierTest, AbortIsToldToAllUntilAReset) {
  const Barrier barrier(3);
  auto waits = [barrier] {
    EXPECT_THAT(barrier.Wait().status(),
                StatusIs(absl::StatusCode::kAborted, HasSubstr("called Abort()")));
  };
  auto first = this->StartWaiter(barrier, waits);
  auto second = this->StartWaiter(barrier, waits);
  barrier.Abort();
  barrier.Abort();
  EXPECT_EQ(first->Finish(), 0);
  EXPECT_EQ(second->Finish(), 0);
  EXPECT_TRUE(barrier.Broken());
  waits();
  barrier.Reset();
  auto third = this->StartWaiter(barrier, [barrier] { EXPECT_EQ(*barrier.Wait(), 0); });
  auto fourth = this->StartWaiter(barrier, [barrier] { EXPECT_EQ(*barrier.Wait(), 1); });
  EXPECT_EQ(*barrier.Wait(), 2);
  EXPECT_EQ(third->Finish(), 0);
  EXPECT_EQ(fourth->Finish(), 0);
}

TYPED_TEST(BarrierTest, AResetIsToldToThoseWhoWait) {
  const Barrier barrier(2);
  barrier.Reset();  // nobody waits: nothing
  for (int round = 0; round < 20; ++round) {
    auto waiter = this->StartWaiter(barrier, [barrier] {
      EXPECT_THAT(barrier.Wait().status(),
                  StatusIs(absl::StatusCode::kAborted, HasSubstr("called Reset()")));
    });
    barrier.Reset();
    // It is as new before the one that waited has gone.
    EXPECT_FALSE(barrier.Broken());
    auto next = this->StartWaiter(barrier, [barrier] { EXPECT_EQ(*barrier.Wait(), 0); });
    EXPECT_EQ(*barrier.Wait(), 1);
    EXPECT_EQ(waiter->Finish(), 0);
    EXPECT_EQ(next->Finish(), 0);
  }
}

TYPED_TEST(BarrierTest, AnActionThatThrowsBreaksIt) {
  const Barrier barrier(2, {.action = [] { throw std::runtime_error("no luck"); }});
  auto waiter = this->StartWaiter(barrier, [barrier] {
    EXPECT_THAT(barrier.Wait().status(),
                StatusIs(absl::StatusCode::kAborted, HasSubstr("which threw")));
  });
  EXPECT_THAT(barrier.Wait().status(), StatusIs(absl::StatusCode::kInternal, HasSubstr("no luck")));
  EXPECT_EQ(waiter->Finish(), 0);
  EXPECT_TRUE(barrier.Broken());
  const Barrier other(1, {.action = [] { throw 1; }});
  EXPECT_THAT(other.Wait().status(), StatusIs(absl::StatusCode::kInternal));
}

// An action may take longer than somebody waits.
TYPED_TEST(BarrierTest, ATimeoutBoundsTheActionToo) {
  const Inherited<Gate> gate;
  const Barrier barrier(2, {.action = [&gate] { gate->Wait(); }});
  auto waiter = this->StartWaiter(barrier, [barrier] {
    // Long enough to be seen asleep on a busy machine.
    EXPECT_THAT(barrier.Wait(absl::Seconds(1)).status(),
                StatusIs(absl::StatusCode::kDeadlineExceeded));
  });
  TypeParam actor(
      [&] { EXPECT_THAT(barrier.Wait().status(), StatusIs(absl::StatusCode::kAborted)); });
  actor.Go();
  EXPECT_EQ(waiter->Finish(), 0);
  gate->Open();
  EXPECT_EQ(actor.Finish(), 0);
}

// More than there are parties.
TYPED_TEST(BarrierTest, WhoComesDuringTheActionWaitsForTheNextRound) {
  const Inherited<Gate> gate;
  const Inherited<std::atomic<int>> acted(0);
  const Barrier barrier(1, {.action = [&] {
                          if (acted->fetch_add(1) == 0) gate->Wait();
                        }});
  TypeParam actor([&] { EXPECT_EQ(*barrier.Wait(), 0); });
  actor.Go();
  while (acted->load() == 0) {
  }
  TypeParam other([&](auto& step) {
    step("before");
    EXPECT_EQ(*barrier.Wait(), 0);
  });
  ASSERT_TRUE(other.RunTo("before"));
  other.Go();
  ASSERT_TRUE(other.WaitUntilAsleep());
  EXPECT_THAT(barrier.Wait(absl::Milliseconds(1)).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_FALSE(barrier.Broken());
  gate->Open();
  EXPECT_EQ(actor.Finish(), 0);
  EXPECT_EQ(other.Finish(), 0);
  EXPECT_EQ(acted->load(), 2);
}

// Who was there before the barrier was made does not have its action.
TEST(BarrierProcessTest, TheActionIsRunByOneWhoHasIt) {
  const Shared<std::vector<Barrier, Allocator<Barrier>>> board;
  const Inherited<std::atomic<pid_t>> actor(0);
  Child elder([&](auto& step) {
    step("born");
    EXPECT_EQ(*board->front().Wait(), 1);
    EXPECT_THAT(board->back().Wait().status(),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("has the action")));
  });
  ASSERT_TRUE(elder.RunTo("born"));
  const Barrier two(2, {.action = [&actor] { actor->store(getpid()); }});
  const Barrier one(1, {.action = [] {}});
  board->push_back(two);
  board->push_back(one);
  Child younger([&](auto& step) {
    step("before");
    EXPECT_EQ(*two.Wait(), 0);
  });
  ASSERT_TRUE(younger.RunTo("before"));
  younger.Go();
  ASSERT_TRUE(younger.WaitUntilAsleep());
  EXPECT_EQ(elder.Finish(), 0);
  EXPECT_EQ(younger.Finish(), 0);
  EXPECT_EQ(actor->load(), younger.pid());
  EXPECT_TRUE(one.Broken());
  board->clear();
}

TEST(BarrierProcessTest, SignalsDoNotEndAWait) {
  const Barrier barrier(2);
  Child waiter([&](auto& step) {
    const Alarms alarms(Alarms::kNever);
    step("before");
    EXPECT_THAT(barrier.Wait(), IsOk());
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(SleepsOnAfterAlarms(waiter));
  EXPECT_THAT(barrier.Wait(), IsOk());
  EXPECT_EQ(waiter.Finish(), 0);
}

// A thread has ended, and its process lives: it takes a while to tell that from a death.
// What the handler of a signal breaks.
const Barrier* in_handler = nullptr;

TEST(BarrierProcessTest, MayBeBrokenInAHandlerThatInterruptsAnythingElse) {
  // Alarms come all the time, also within operations on the same barrier and on others.
  const Barrier barrier(2);
  const Barrier own(1);
  in_handler = &barrier;
  Child waiter([&] {
    const Alarms alarms(200, [](int) { in_handler->Abort(); });
    for (int i = 0; i < 3000; ++i) {
      EXPECT_THAT(own.Wait(), IsOk());
      EXPECT_FALSE(barrier.Wait(absl::Microseconds(50)).ok());
      EXPECT_TRUE(barrier.Broken());
      barrier.Reset();
      EXPECT_EQ(barrier.NWaiting(), 0);
    }
  });
  EXPECT_EQ(waiter.Finish(), 0);
  barrier.Reset();
  Child other([&] { EXPECT_THAT(barrier.Wait(), IsOk()); });
  other.Go();
  EXPECT_THAT(barrier.Wait(), IsOk());
  EXPECT_EQ(other.Finish(), 0);
}

TEST(BarrierProcessTest, ATimeoutBoundsTheLookForTheDead) {
  const Barrier barrier(2);
  Child other([&](auto& step) {
    signal(SIGUSR1, [](int) { syscall(SYS_exit, 0); });  // as the kernel sees it
    for (;;) {
      std::atomic<pid_t> tid(0);
      std::thread waiter([&] {
        tid.store(static_cast<pid_t>(syscall(SYS_gettid)));
        static_cast<void>(barrier.Wait());
      });
      while (barrier.NWaiting() == 0) std::this_thread::yield();
      pthread_kill(waiter.native_handle(), SIGUSR1);
      waiter.detach();
      while (access(absl::StrCat("/proc/self/task/", tid.load()).c_str(), F_OK) == 0) {
        std::this_thread::yield();
      }
      step("gone");
    }
  });
  ASSERT_TRUE(other.RunTo("gone"));
  EXPECT_THAT(barrier.Wait(absl::ZeroDuration()).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("not known in time")));
  EXPECT_TRUE(barrier.Broken());
  barrier.Reset();
  // Who has the time is told that it lives, and so has come.
  ASSERT_TRUE(other.RunTo("gone"));
  EXPECT_THAT(barrier.Wait(), IsOk());
}

TEST(BarrierProcessTest, MayBeDroppedWhileOthersWait) {
  auto barrier = std::make_unique<Barrier>(2);
  Child waiter([copy = *barrier](auto& step) {
    step("before");
    EXPECT_THAT(copy.Wait(), IsOk());
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(waiter.WaitUntilAsleep());
  Child other([copy = *barrier] { EXPECT_THAT(copy.Wait(), IsOk()); });
  barrier.reset();
  EXPECT_EQ(other.Finish(), 0);
  EXPECT_EQ(waiter.Finish(), 0);
}

TEST(BarrierProcessTest, WhatTheActionHasEndsWithIt) {
  const auto had = std::make_shared<int>(0);
  {
    const Barrier barrier(1, {.action = [had] { ++*had; }});
    EXPECT_THAT(barrier.Wait(), IsOk());
    EXPECT_EQ(had.use_count(), 2);
  }
  EXPECT_EQ(had.use_count(), 1);
  EXPECT_EQ(*had, 1);
}

TEST(BarrierProcessTest, AThreadThatEndsInTheActionLeavesNothing) {
  {
    const Barrier barrier(2, {.action = [] { pthread_exit(nullptr); }, .name = "left"});
    std::thread waiter(
        [&barrier] { EXPECT_THAT(barrier.Wait().status(), StatusIs(absl::StatusCode::kAborted)); });
    while (barrier.NWaiting() == 0) std::this_thread::yield();
    std::thread actor([&barrier] { static_cast<void>(barrier.Wait()); });
    actor.join();
    waiter.join();
  }
  EXPECT_FALSE(Listed("left").has_value());
}

TEST(BarrierForkTest, AChildThatComesOutOfTheActionEndsNothing) {
  for (const bool throws : {false, true}) {
    const pid_t self = getpid();
    const Barrier barrier(1, {.action = [&] {
                            const pid_t child = fork();
                            if (child == 0 && throws) throw std::runtime_error("in the child");
                            if (child == 0) return;
                            int status = 0;
                            EXPECT_EQ(waitpid(child, &status, 0), child);
                            EXPECT_EQ(status, 0);
                          }});
    const absl::StatusOr<int> index = barrier.Wait();
    if (getpid() != self) {
      // It has no part in what its parent does, nor the place.
      const absl::StatusCode told =
          throws ? absl::StatusCode::kInternal : absl::StatusCode::kFailedPrecondition;
      _exit(index.status().code() == told && !barrier.Broken() ? 0 : 1);
    }
    EXPECT_THAT(index, IsOk());
    EXPECT_FALSE(barrier.Broken());
  }
}

TEST(BarrierProcessTest, RefusesWhatCannotBe) {
  for (const int parties : {0, -1, 65'536}) {
    EXPECT_THAT(Barrier::Create(parties).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("parties")));
  }
  EXPECT_THAT(Barrier::Create(65'535), IsOk());
  EXPECT_DEATH(Barrier(0, {.name = "none"}), "Barrier \"none\": cannot be made .*0 parties");
}

TEST(BarrierProcessTest, TakesNoMoreThanItSays) {
  const uint64_t before = Stats().in_use;
  const Barrier barrier(2);
  EXPECT_LE(Stats().in_use - before, 232u);
}

TEST(BarrierProcessTest, NamesAreInListings) {
  const Barrier barrier(2, {.name = "steps"});
  ASSERT_TRUE(Listed("steps").has_value());
  EXPECT_EQ(Listed("steps")->type, "Barrier");
}

}  // namespace
}  // namespace mp
