#include "tests/support/crash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <string>

#include "tests/support/gate.h"
#include "tests/support/guarded.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

using ::testing::HasSubstr;

// Nothing here wakes by itself, so a short quiet time is as good as a long one.
// A sample of the hanging operations will do: each hang costs the quiet time.
CrashOptions Quick(size_t sample = 0) {
  CrashOptions options;
  options.quiet = std::chrono::milliseconds(50);
  if (!Stress() && !kSanitized) options.sample = sample;
  return options;
}

void Spin(int rounds) {
  for (int i = 0; i < rounds; ++i) asm volatile("");
}

// What crash-safety has to mean is known for pthread mutexes, by measurement.
class CrashTest : public ::testing::Test {
 protected:
  CrashCase LockStoreUnlock(int robustness) {
    CrashCase c;
    c.name = "lock, two stores, unlock";
    c.set_up = [this, robustness] {
      guarded_->Init(robustness);
      gate_->Close();
    };
    c.operation = [this] {
      guarded_->Lock();
      guarded_->Store(1);
      guarded_->Unlock();
    };
    c.check = [this]() -> std::string {
      guarded_->Lock();
      const bool torn = guarded_->Torn();
      guarded_->Unlock();
      return torn ? "torn" : "";
    };
    return c;
  }

  CrashCase UnlockWithPeerAsleep(int robustness) {
    CrashCase c = LockStoreUnlock(robustness);
    c.name = "unlock with a peer asleep";
    c.prepare = [this] { guarded_->Lock(); };
    c.operation = [this] { guarded_->Unlock(); };
    c.sleeper = [this] {
      guarded_->Lock();
      guarded_->Unlock();
    };
    return c;
  }

  // The peer holds the lock until the victim sleeps.
  CrashCase ContendedLock(int robustness) {
    CrashCase c = LockStoreUnlock(robustness);
    c.name = "contended lock, two stores, unlock";
    c.sleeper = [this] {
      guarded_->Lock();
      gate_->Wait();
      guarded_->Unlock();
    };
    c.unblock = [this] { gate_->Open(); };
    return c;
  }

  Inherited<Guarded> guarded_;
  Inherited<Gate> gate_;
};

TEST_F(CrashTest, PlainMutexHangsAtDozensOfPoints) {
  const CrashReport report = RunCrashSweep(LockStoreUnlock(PTHREAD_MUTEX_STALLED), Quick(80));
  EXPECT_FALSE(report.Clean());
  if (kSanitized) return;
  EXPECT_GT(report.hangs, 20u) << report.Summary();
  EXPECT_LT(report.hangs, report.points);
  EXPECT_EQ(report.missed, 0u);
  EXPECT_THAT(report.Summary(), HasSubstr("pthread_mutex_lock"));
  EXPECT_THAT(report.Summary(), HasSubstr("futex"));
}

TEST_F(CrashTest, RobustMutexNeverHangsAndIsTornBetweenTheStoresOnly) {
  const CrashReport report = RunCrashSweep(LockStoreUnlock(PTHREAD_MUTEX_ROBUST), Quick());
  EXPECT_EQ(report.error, "");
  EXPECT_EQ(report.hangs, 0u) << report.Summary();
  EXPECT_EQ(report.lost_wakeups, 0u) << report.Summary();
  EXPECT_EQ(report.failures, report.bad.size());
  if (kSanitized) return;
  EXPECT_GE(report.failures, 1u);
  EXPECT_LT(report.failures, 20u) << report.Summary();
  EXPECT_THAT(report.bad.front().what, "torn");
}

TEST_F(CrashTest, PlainUnlockLosesWakeups) {
  const CrashReport report = RunCrashSweep(UnlockWithPeerAsleep(PTHREAD_MUTEX_STALLED), Quick(50));
  if (kSanitized) return;
  EXPECT_GT(report.lost_wakeups, 3u) << report.Summary();
  EXPECT_GT(report.hangs, 10u) << report.Summary();
}

TEST_F(CrashTest, RobustUnlockLosesNoWakeup) {
  const CrashReport report = RunCrashSweep(UnlockWithPeerAsleep(PTHREAD_MUTEX_ROBUST), Quick());
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST_F(CrashTest, PlainMutexHangsWhenContended) {
  const CrashReport report = RunCrashSweep(ContendedLock(PTHREAD_MUTEX_STALLED), Quick(40));
  if (kSanitized) return;
  EXPECT_GT(report.hangs, 10u) << report.Summary();
}

TEST_F(CrashTest, KillsAsleepAndBehindTheSleep) {
  CrashCase c = ContendedLock(PTHREAD_MUTEX_ROBUST);
  c.check = [this]() -> std::string {
    guarded_->Lock();
    guarded_->Unlock();
    return "";
  };
  const CrashReport report = RunCrashSweep(c, Quick());
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_GE(report.sleeps, 1u);
  // Each instruction, and the sleeps.
  if (kSanitized) return;
  EXPECT_GT(report.points + report.missed, report.instructions + 1);
}

TEST_F(CrashTest, OperationThatSleepsForEverIsKilledUpToItsSleep) {
  CrashCase c;
  c.name = "pause";
  c.operation = [] { pause(); };
  const CrashReport report = RunCrashSweep(c, Quick());
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_EQ(report.sleeps, 1u);
  if (kSanitized) return;
  EXPECT_EQ(report.points, report.instructions + 2);
}

TEST_F(CrashTest, TimedSleepIsPassed) {
  Inherited<int> done;
  CrashCase c;
  c.name = "nap";
  c.operation = [&] {
    const timespec nap = {0, 10'000'000};
    nanosleep(&nap, nullptr);
    *done = 1;
  };
  const CrashReport report = RunCrashSweep(c, Quick());
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_EQ(*done, 1);
}

TEST_F(CrashTest, SleeperCanQueueUpBehindTheVictim) {
  if (kSanitized) GTEST_SKIP() << "a lock held across a fork confuses it";
  // The one that is woken first is killed; the mutex must find the next.
  CrashCase c = LockStoreUnlock(PTHREAD_MUTEX_ROBUST);
  c.name = "the woken one dies";
  c.set_up = [this] {
    guarded_->Init(PTHREAD_MUTEX_ROBUST);
    guarded_->Lock();  // by the driver
  };
  c.operation = [this] {
    guarded_->Lock();
    guarded_->Unlock();
  };
  c.sleeper = [this] {
    guarded_->Lock();
    guarded_->Unlock();
  };
  c.sleeper_queues_behind = true;
  c.unblock = [this] { guarded_->Unlock(); };
  const CrashReport report = RunCrashSweep(c, Quick());
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_GE(report.sleeps, 1u);
}

// A leak: what is taken first and noted second.
struct Purse {
  std::atomic<int> left{10};
  std::atomic<int> noted{0};
};

__attribute__((noinline)) void TakeThenNote(Purse& purse) {
  purse.left.fetch_sub(1);
  purse.noted.fetch_add(1);
}

TEST_F(CrashTest, LeakIsReportedWithTheNameOfAStaticFunction) {
  Inherited<Purse> purse;
  CrashCase c;
  c.name = "leak";
  c.set_up = [&] {
    purse->left = 10;
    purse->noted = 0;
  };
  c.operation = [&] { TakeThenNote(*purse); };
  c.check = [&] { return purse->left + purse->noted == 10 ? "" : std::string("one is lost"); };
  const CrashReport report = RunCrashSweep(c, Quick());
  if (kSanitized) return;
  ASSERT_GE(report.failures, 1u);
  EXPECT_EQ(report.hangs, 0u);
  EXPECT_EQ(report.bad[0].what, "one is lost");
  EXPECT_THAT(report.bad[0].where, HasSubstr("TakeThenNote"));
  EXPECT_THAT(report.bad[0].where, HasSubstr("+0x"));
  EXPECT_THAT(report.Summary(), HasSubstr("one is lost"));
}

TEST_F(CrashTest, StepsAndBreakpointsAgree) {
  if (kSanitized) GTEST_SKIP() << "its own code takes other ways in steps";
  Inherited<std::atomic<int>> count;
  CrashCase c;
  c.name = "loop by steps";
  c.set_up = [&] { *count = 0; };
  c.operation = [&] {
    for (int i = 0; i < 10; ++i) ++*count;
  };
  // Says how far it came; so two sweeps can be compared point for point.
  c.check = [&] { return *count == 10 ? "" : std::to_string(*count); };
  CrashOptions options = Quick();
  const CrashReport by_breakpoints = RunCrashSweep(c, options);
  options.single_steps = true;
  const CrashReport by_steps = RunCrashSweep(c, options);
  EXPECT_EQ(by_steps.stepped, by_steps.points);
  ASSERT_EQ(by_steps.bad.size(), by_breakpoints.bad.size());
  for (size_t i = 0; i < by_steps.bad.size(); ++i) {
    EXPECT_EQ(by_steps.bad[i].instruction, by_breakpoints.bad[i].instruction);
    EXPECT_EQ(by_steps.bad[i].where, by_breakpoints.bad[i].where);
    EXPECT_EQ(by_steps.bad[i].what, by_breakpoints.bad[i].what);
  }
}

TEST_F(CrashTest, StringInstructionIsTornOnceNotAThousandTimes) {
  struct Page {
    char bytes[4096];
  };
  Inherited<Page> page;
  CrashCase c;
  c.name = "rep stos";
  c.set_up = [&] { std::fill(std::begin(page->bytes), std::end(page->bytes), 'a'); };
  c.operation = [&] {
    void* to = page->bytes;
    size_t count = sizeof(page->bytes);
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"('b') : "memory");
  };
  c.check = [&]() -> std::string { return page->bytes[0] == page->bytes[4095] ? "" : "torn"; };
  const CrashReport report = RunCrashSweep(c, Quick());
  if (kSanitized) return;
  EXPECT_EQ(report.failures, 1u) << report.Summary();
  EXPECT_EQ(report.missed, 0u);
  EXPECT_LT(report.instructions, 100u);
}

TEST_F(CrashTest, OperationThatTakesAnotherWayIsMissedNotAFault) {
  Inherited<std::atomic<int>> runs;
  CrashCase c;
  c.name = "varying";
  c.prepare = [&] { ++*runs; };
  c.operation = [&] {
    // Long in the first two runs, of which nobody is killed; then short.
    const int rounds = *runs <= 2 ? 50 : 1;
    Spin(rounds);
  };
  const CrashReport report = RunCrashSweep(c, Quick());
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_GT(report.missed, 0u);
}

TEST_F(CrashTest, CheckThatDiesIsAFailure) {
  CrashCase c;
  c.name = "dying check";
  Inherited<std::atomic<int>> killed;
  c.set_up = [&] { *killed = 1; };
  c.operation = [&] { *killed = 0; };
  c.check = [&]() -> std::string {
    if (*killed == 1) raise(SIGTERM);
    return "";
  };
  const CrashReport report = RunCrashSweep(c, Quick(10));
  EXPECT_GE(report.failures, 1u);
  EXPECT_THAT(report.Summary(), HasSubstr(strsignal(SIGTERM)));
}

TEST_F(CrashTest, CheckThatOnlyWaitsForItsBusyChildDoesNotHang) {
  CrashCase c;
  c.name = "busy child";
  c.operation = [] {};
  c.check = []() -> std::string {
    if (fork() == 0) {
      Spin(100'000'000);
      _exit(0);
    }
    wait(nullptr);
    return "";
  };
  CrashOptions options = Quick(1);
  options.quiet = std::chrono::milliseconds(20);
  const CrashReport report = RunCrashSweep(c, options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST_F(CrashTest, WrongCasesAreGivenUpWithWords) {
  CrashCase c;
  c.operation = [] { raise(SIGTERM); };
  EXPECT_THAT(RunCrashSweep(c, Quick()).error, HasSubstr("the operation itself died"));

  c.operation = [] {};
  c.prepare = [] { _exit(3); };
  EXPECT_THAT(RunCrashSweep(c, Quick()).error, HasSubstr("did not get to its operation"));

  c.prepare = nullptr;
  c.check = []() -> std::string { return "always wrong"; };
  const CrashReport report = RunCrashSweep(c, Quick());
  EXPECT_THAT(report.error, HasSubstr("without any kill: always wrong"));
  EXPECT_FALSE(report.Clean());

  c.check = nullptr;
  c.sleeper = [] {};
  EXPECT_THAT(RunCrashSweep(c, Quick()).error, HasSubstr("does not fall asleep"));
}

TEST_F(CrashTest, SweepWithoutAKillIsNotClean) { EXPECT_FALSE(CrashReport().Clean()); }

}  // namespace
}  // namespace mp::testing
