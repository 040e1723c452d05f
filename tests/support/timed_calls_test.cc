#include "tests/support/timed_calls.h"

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace mp::testing {
namespace {

// A point that each clock has passed long ago.
constexpr timespec kLongAgo = {1, 0};
constexpr timespec kAnInstant = {0, 1'000};

uint32_t word = 0;

void WaitOnWord(int operation, const timespec& timeout) {
  syscall(SYS_futex, &word, operation, 0, &timeout, nullptr, FUTEX_BITSET_MATCH_ANY);
}

TEST(TimedCallsTest, WaitsByTheWallClockAreSeen) {
  const TimedCalls calls = WatchTimedCalls([] {
    WaitOnWord(FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, kLongAgo);
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &kLongAgo, nullptr);
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec += 1;
    sem_timedwait(&semaphore, &soon);
  });
  EXPECT_EQ(calls.status, 0);
  EXPECT_EQ(calls.by_wall_clock, 3);
  EXPECT_EQ(calls.by_steady_clock, 0);
}

TEST(TimedCallsTest, WaitsByTheSteadyClockOrForSoLongAreSeen) {
  const TimedCalls calls = WatchTimedCalls([] {
    WaitOnWord(FUTEX_WAIT_BITSET, kLongAgo);
    WaitOnWord(FUTEX_WAIT, kAnInstant);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &kLongAgo, nullptr);
    nanosleep(&kAnInstant, nullptr);
    poll(nullptr, 0, 1);
    ppoll(nullptr, 0, &kAnInstant, nullptr);
  });
  EXPECT_EQ(calls.status, 0);
  EXPECT_EQ(calls.by_wall_clock, 0);
  EXPECT_EQ(calls.by_steady_clock, 6);
}

TEST(TimedCallsTest, WhatHasNoTimeoutIsNotCounted) {
  const TimedCalls calls = WatchTimedCalls([] {
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    syscall(SYS_futex, &word, FUTEX_WAIT, 1, nullptr, nullptr, 0);
    poll(nullptr, 0, 0);
  });
  EXPECT_EQ(calls.status, 0);
  EXPECT_EQ(calls.by_wall_clock + calls.by_steady_clock, 0);
}

TEST(TimedCallsTest, HowItEndedIsTold) {
  EXPECT_TRUE(WIFSIGNALED(WatchTimedCalls([] { raise(SIGTERM); }).status));
}

}  // namespace
}  // namespace mp::testing
