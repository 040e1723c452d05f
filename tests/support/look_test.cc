#include "tests/support/look.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"

namespace mp::testing {
namespace {

using ::testing::HasSubstr;

// Looks until the clock says so or the processes are clearly not quiet.
std::chrono::nanoseconds QuietTimeAfter(QuietClock& clock, int samples) {
  std::chrono::nanoseconds quiet(0);
  for (int i = 0; i < samples; ++i) {
    usleep(10'000);
    quiet = clock.Sample();
  }
  return quiet;
}

TEST(LookTest, SleeperIsSeenAsleepWhereItSleeps) {
  Inherited<Gate> gate;
  const pid_t pid = ForkMortal([&] { gate->Wait(); });
  ASSERT_TRUE(WaitUntilAsleepInFutex(pid));
  const Look look = LookAt(pid);
  EXPECT_TRUE(look.asleep());
  EXPECT_EQ(look.syscall, SYS_futex);
  EXPECT_GE(look.switches, 1);
  EXPECT_THAT(DescribeProcess(pid), HasSubstr("S in futex"));
  KillAndReap(pid);
}

TEST(LookTest, OnlyTheAskedSystemCallsCount) {
  const pid_t pid = ForkMortal([] { pause(); });
  EXPECT_TRUE(WaitUntilAsleep(pid, {SYS_pause, SYS_ppoll}));
  KillAndReap(pid);
}

TEST(LookTest, DeadProcessIsNotAsleep) {
  const pid_t pid = ForkMortal([] {});
  EXPECT_FALSE(WaitUntilAsleep(pid));  // dead, whether reaped or not
  KillAndReap(pid);
  EXPECT_FALSE(WaitUntilAsleep(pid));
  EXPECT_THAT(DescribeProcess(pid), HasSubstr("gone"));
}

TEST(LookTest, DescriptionFitsTheBuffer) {
  char text[8];
  EXPECT_EQ(DescribeProcess(getpid(), text, sizeof(text)), 7u);
  EXPECT_EQ(text[7], '\0');
}

TEST(LookTest, DescendantsAreFoundThroughGenerations) {
  Inherited<std::atomic<pid_t>> grandchild;
  const pid_t child = ForkMortal([&] {
    *grandchild = ForkMortal([] { pause(); });
    pause();
  });
  ASSERT_TRUE(WaitUntilAsleep(child, {SYS_pause}));
  pid_t found[16];
  const size_t count = Descendants(getpid(), found, 16);
  EXPECT_EQ(std::count(found, found + count, child), 1);
  EXPECT_EQ(std::count(found, found + count, grandchild->load()), 1);
  KillAndReap(child);
}

TEST(LookTest, QuietClockRunsWhileAllSleep) {
  const pid_t pid = ForkMortal([] { pause(); });
  ASSERT_TRUE(WaitUntilAsleep(pid));
  QuietClock clock({pid});
  EXPECT_GT(QuietTimeAfter(clock, 5), std::chrono::milliseconds(0));
  KillAndReap(pid);
}

TEST(LookTest, QuietClockStandsWhileADescendantIsBusy) {
  const pid_t pid = ForkMortal([] {
    const pid_t busy = ForkMortal([] {
      for (;;) asm volatile("");
    });
    waitpid(busy, nullptr, 0);
  });
  ASSERT_TRUE(WaitUntilAsleep(pid, {SYS_wait4}));
  QuietClock clock({pid});
  EXPECT_EQ(QuietTimeAfter(clock, 5).count(), 0);
  KillAndReap(pid);
}

TEST(LookTest, QuietClockNoticesShortWakings) {
  const pid_t pid = ForkMortal([] {
    for (;;) usleep(1'000);
  });
  ASSERT_TRUE(WaitUntilAsleep(pid));
  QuietClock clock({pid});
  EXPECT_EQ(QuietTimeAfter(clock, 5).count(), 0);
  KillAndReap(pid);
}

}  // namespace
}  // namespace mp::testing
