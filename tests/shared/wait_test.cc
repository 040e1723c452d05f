// Wait, and the wakes that end it.

#include "shared/internal/wait.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/internal/deadline.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/sentry_post.h"
#include "tests/support/alarms.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/let_fail.h"
#include "tests/support/look.h"
#include "tests/support/peer.h"
#include "tests/support/shared_word.h"

namespace mp::internal {

struct LaneTestPeer {
  static RobustMutex& Growing(LaneTable& lanes) { return lanes.growing_; }
};

namespace {

using mp::testing::Alarms;
using mp::testing::Child;
using mp::testing::HasFutexWaitv;
using mp::testing::LetFail;
using mp::testing::PeerNames;
using mp::testing::Peers;
using mp::testing::SharedWord;
using Clock = std::chrono::steady_clock;  // as deadlines are

void WaitUntilChanged(const FutexWord& word, uint32_t value) {
  while (word.load() == value) Wait(word, value);
}

template <typename P>
class WaitPeerTest : public ::testing::Test {};
TYPED_TEST_SUITE(WaitPeerTest, Peers, PeerNames);

TYPED_TEST(WaitPeerTest, ASleeperIsWoken) {
  const SharedWord word(0);
  TypeParam peer([&](auto& step) {
    step("before");
    WaitUntilChanged(*word, 0);
  });
  ASSERT_TRUE(peer.RunTo("before"));
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  WakeAll(*word);
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(WaitPeerTest, AllSleepersAreWokenAndOneOfOne) {
  const SharedWord word(0);
  const SharedWord awake(0);
  auto sleep = [&](auto& step) {
    step("before");
    WaitUntilChanged(*word, 0);
    awake->fetch_add(1);
  };
  TypeParam first(sleep);
  TypeParam second(sleep);
  TypeParam third(sleep);
  for (TypeParam* peer : {&first, &second, &third}) {
    ASSERT_TRUE(peer->RunTo("before"));
    peer->Go();
    ASSERT_TRUE(peer->WaitUntilAsleep());
  }
  WakeAll(*word);
  for (TypeParam* peer : {&first, &second, &third}) EXPECT_EQ(peer->Finish(), 0);
  EXPECT_EQ(awake->load(), 3u);
}

TYPED_TEST(WaitPeerTest, ACancelledWaitReturns) {
  const SharedWord word(0);
  const SharedWord cancel(0);
  TypeParam peer([&](auto& step) {
    step("before");
    WaitResult result;
    do {
      result = Wait(*word, 0, {.cancel = cancel.get()});
    } while (result == WaitResult::kWoken);
    EXPECT_EQ(result, WaitResult::kCancelled);
  });
  ASSERT_TRUE(peer.RunTo("before"));
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  WakeAll(*cancel);
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(WaitPeerTest, OneWhoAskedIsToldOfADeath) {
  testing::Settle();  // of others
  const SharedWord word(0);
  Child mortal([&](auto& step) {
    LaneForNotes();
    step("claimed");
  });
  ASSERT_TRUE(mortal.RunTo("claimed"));
  TypeParam peer([&](auto& step) {
    const uint32_t deaths = Deaths();
    step("before");
    WaitResult result;
    do {
      result = Wait(*word, 0, {.deaths = &deaths});
    } while (result == WaitResult::kWoken);
    EXPECT_EQ(result, WaitResult::kDeath);
    EXPECT_NE(Deaths(), deaths);
  });
  ASSERT_TRUE(peer.RunTo("before"));
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  mortal.Kill();
  EXPECT_EQ(peer.Finish(), 0);
}

// The wake of one tells whether anybody slept on it. Naps and looks would hide it if a word
// were left out: the wait ended then, too, some time.
TYPED_TEST(WaitPeerTest, TheSentryAndWhoIsBesideItSleepOnAllThatEndsTheWait) {
  if (!HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
  Domain& domain = **Domain::Get();
  RobustMutex& duty = domain.sentry_post().duty;
  for (const bool beside : {true, false}) {
    testing::Settle();  // or it would learn of the death of another
    if (beside) {
      // So that this thread is the sentry, as the others see it.
      if (duty.TryLock() == RobustMutex::Result::kOwnerDied) duty.MarkConsistent();
      ASSERT_EQ(duty.HolderTid(), syscall(SYS_gettid));
    }
    const SharedWord word(0);
    const SharedWord cancel(0);
    TypeParam peer([&](auto& step) {
      const uint32_t deaths = Deaths();
      step("before");
      WaitResult result;
      do {
        result = Wait(*word, 0, {.cancel = cancel.get(), .deaths = &deaths});
      } while (result == WaitResult::kWoken);
      EXPECT_EQ(result, WaitResult::kCancelled);
    });
    ASSERT_TRUE(peer.RunTo("before"));
    peer.Go();
    LaneTable& lanes = domain.lanes();
    // The last one is what its first nap is on, too.
    for (FutexWord* each :
         {cancel.get(), &lanes.deaths(), beside ? &duty.word() : &lanes.arrivals(), word.get()}) {
      while (FutexWake(*each, 1) == 0) std::this_thread::yield();
    }
    WakeAll(*cancel);
    EXPECT_EQ(peer.Finish(), 0);
    if (beside) {
      EXPECT_TRUE(duty.Unlock());
    }
  }
}

TEST(WaitTest, ReturnsAtOnceWhereThereIsNothingToWaitFor) {
  const SharedWord word(1);
  const SharedWord cancel(1);
  EXPECT_EQ(Wait(*word, 0), WaitResult::kChanged);
  EXPECT_EQ(Wait(*word, 1, {.cancel = cancel.get()}), WaitResult::kCancelled);
  const uint32_t deaths = Deaths() - 1;
  EXPECT_EQ(Wait(*word, 1, {.deaths = &deaths}), WaitResult::kDeath);
  // The word first.
  EXPECT_EQ(Wait(*word, 0, {.cancel = cancel.get(), .deaths = &deaths}), WaitResult::kChanged);
}

TEST(WaitTest, ADeadlineIsKept) {
  const SharedWord word(0);
  for (const absl::Duration timeout :
       {-absl::Seconds(1), absl::ZeroDuration(), absl::Microseconds(10), absl::Milliseconds(20),
        absl::Milliseconds(200)}) {
    const auto before = Clock::now();
    const timespec deadline = MonotonicDeadline(timeout);
    while (Wait(*word, 0, {.deadline = &deadline}) != WaitResult::kTimedOut) {
    }
    EXPECT_GE(absl::FromChrono(Clock::now() - before), timeout);
  }
  EXPECT_EQ(LaneForNotes()->SleepsOn(), 0u);
}

TEST(WaitTest, ASignalDoesNotEndIt) {
  const SharedWord word(0);
  const Alarms alarms;
  const auto before = Clock::now();
  const timespec deadline = MonotonicDeadline(absl::Milliseconds(100));
  EXPECT_EQ(Wait(*word, 0, {.deadline = &deadline}), WaitResult::kTimedOut);
  EXPECT_GE(absl::FromChrono(Clock::now() - before), absl::Milliseconds(100));
}

TEST(WaitTest, WhereWaitvIsMissingItNaps) {
  for (const int error : {ENOSYS, EPERM}) {
    const SharedWord word(0);
    const SharedWord cancel(0);
    Child mortal([&](auto& step) {
      LaneForNotes();
      step("claimed");
    });
    ASSERT_TRUE(mortal.RunTo("claimed"));
    Child child([&](auto& step) {
      EXPECT_TRUE(LetFail(SYS_futex_waitv, error));
      step("ready");
      WaitUntilChanged(*word, 0);
      step("woken");
      uint32_t deaths = Deaths();
      while (Wait(*word, 1, {.deaths = &deaths}) != WaitResult::kDeath) {
      }
      step("told");
      while (Wait(*word, 1, {.cancel = cancel.get()}) != WaitResult::kCancelled) {
      }
      const timespec deadline = MonotonicDeadline(absl::Milliseconds(120));
      while (Wait(*word, 1, {.deadline = &deadline}) != WaitResult::kTimedOut) {
      }
    });
    ASSERT_TRUE(child.RunTo("ready"));
    child.Go();
    ASSERT_TRUE(child.WaitUntilAsleep());
    WakeAll(*word);
    ASSERT_TRUE(child.RunTo("woken"));
    child.Go();
    ASSERT_TRUE(child.WaitUntilAsleep());
    mortal.Kill();
    ASSERT_TRUE(child.RunTo("told"));
    child.Go();
    ASSERT_TRUE(child.WaitUntilAsleep());
    WakeAll(*cancel);
    EXPECT_EQ(child.Finish(), 0);
  }
}

// Within less than a nap: who naps never has the duty.
TEST(WaitTest, WhoDoesNotNapWatchesAtOnce) {
  const SharedWord word(0);
  const RobustMutex& duty = (**Domain::Get()).sentry_post().duty;
  std::promise<pid_t> tid;
  std::atomic<bool> done = false;
  std::thread waiter([&] {
    tid.set_value(gettid());
    while (!done) {
      const timespec deadline = MonotonicDeadline(absl::Milliseconds(5));
      Wait(*word, 0, {.deadline = &deadline, .spin = false, .nap = false});
    }
  });
  const pid_t watches = tid.get_future().get();
  while (duty.HolderTid() != watches) std::this_thread::yield();
  done = true;
  waiter.join();
}

TEST(WaitTest, AThreadWithoutALaneWaits) {
  const SharedWord word(0);
  const SharedWord cancel(0);
  // Of a process without a slot there are no lanes: here one that nobody has registered.
  Child child([&](auto& step) {
    const pid_t pid = static_cast<pid_t>(syscall(SYS_fork));
    if (pid == 0) {
      WaitUntilChanged(*word, 0);
      _exit(0);
    }
    step("forked");
    int status = -1;
    waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  });
  ASSERT_TRUE(child.RunTo("forked"));
  WakeAll(*word);
  EXPECT_EQ(child.Finish(), 0);
}

TEST(WaitTest, WhoFoundNoLaneHasOneLater) {
  // Or it napped as long as it sleeps, and were not told of deaths by the sentry.
  if (!HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
  LaneTable& lanes = (*Domain::Get())->lanes();
  RobustMutex& growing = LaneTestPeer::Growing(lanes);
  const SharedWord word(0);
  std::atomic<bool> end = false;
  std::vector<std::thread> threads;
  ASSERT_EQ(growing.TryLock(), RobustMutex::Result::kAcquired);
  for (bool had_one = true; had_one;) {
    std::promise<bool> has_one;
    threads.emplace_back([&] {
      has_one.set_value(LaneForNotes() != nullptr);
      end.wait(false);
    });
    had_one = has_one.get_future().get();
  }
  Child sleeper([&](auto& step) {
    step("before");
    WaitUntilChanged(*word, 0);
  });
  ASSERT_TRUE(sleeper.RunTo("before"));
  sleeper.Go();
  ASSERT_TRUE(mp::testing::WaitUntilAsleep(sleeper.pid(), {SYS_futex}));
  ASSERT_TRUE(growing.Unlock());
  EXPECT_TRUE(mp::testing::WaitUntilAsleep(sleeper.pid(), {SYS_futex_waitv}));
  WakeAll(*word);
  EXPECT_EQ(sleeper.Finish(), 0);
  end = true;
  end.notify_all();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace mp::internal
