#include "tests/support/killer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "tests/support/gate.h"
#include "tests/support/guarded.h"
#include "tests/support/inherited.h"

namespace mp::testing {
namespace {

using ::testing::HasSubstr;

std::function<void(Worker&)> LockAndUnlock(Inherited<Guarded>& guarded) {
  return [&guarded](Worker& worker) {
    while (!worker.Stopping()) {
      guarded->Lock();
      guarded->Store(guarded->first + 1);
      guarded->Unlock();
      worker.Progress();
    }
  };
}

// Somebody holds the lock nearly all the time: every few kills hit him.
std::function<void(Worker&)> LockNapAndUnlock(Inherited<Guarded>& guarded) {
  return [&guarded](Worker& worker) {
    while (!worker.Stopping()) {
      guarded->Lock();
      usleep(200);
      guarded->Unlock();
      worker.Progress();
    }
  };
}

TEST(KillerTest, RobustMutexSurvives) {
  Inherited<Guarded> guarded;
  guarded->Init(PTHREAD_MUTEX_ROBUST);
  const KillerOptions options;
  const KillerReport report = RunKiller(LockAndUnlock(guarded), options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_EQ(report.kills, options.kills);
  EXPECT_EQ(report.replacements, options.kills);
  EXPECT_GE(report.progress, static_cast<uint64_t>(options.kills));
}

TEST(KillerTest, StoppedWorkersAreNoHang) {
  Inherited<Guarded> guarded;
  guarded->Init(PTHREAD_MUTEX_ROBUST);
  KillerOptions options;
  options.stops = 0.5;
  const KillerReport report = RunKiller(LockAndUnlock(guarded), options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_GT(report.stops, 0);
}

TEST(KillerTest, PlainMutexHangs) {
  Inherited<Guarded> guarded;
  guarded->Init(PTHREAD_MUTEX_STALLED);
  KillerOptions options;
  options.kills = 100'000;  // the first hang ends it long before
  options.quiet = std::chrono::milliseconds(300);
  const KillerReport report = RunKiller(LockNapAndUnlock(guarded), options);
  EXPECT_EQ(report.hangs, 1);
  EXPECT_THAT(report.Summary(), HasSubstr("in futex"));
}

TEST(KillerTest, GoesOnAfterAHangIfItCanRecover) {
  Inherited<Guarded> guarded;
  guarded->Init(PTHREAD_MUTEX_STALLED);
  KillerOptions options;
  options.kills = 100'000;
  options.quiet = std::chrono::milliseconds(300);
  int hangs = 0;
  options.recover = [&] {
    guarded->Init(PTHREAD_MUTEX_ROBUST);
    ++hangs;
    options.kills = 0;  // enough seen: the killer looks at it each time
  };
  const KillerReport report = RunKiller(LockNapAndUnlock(guarded), options);
  EXPECT_EQ(hangs, 1);
  EXPECT_EQ(report.hangs, 1);
  EXPECT_EQ(report.failures, 0) << report.Summary();
}

TEST(KillerTest, WorkersKnowTheirIndexAndGeneration) {
  Inherited<std::array<std::atomic<uint64_t>, 3>> generations;
  KillerOptions options;
  options.workers = 3;
  options.kills = 20;
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        (*generations)[static_cast<size_t>(worker.index())] = worker.generation();
        while (!worker.Stopping()) {
          worker.Progress();
          usleep(10);
        }
      },
      options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  uint64_t sum = 0;
  for (const auto& generation : *generations) sum += generation;
  EXPECT_EQ(sum, 20u);  // the last generations all came to their end
}

TEST(KillerTest, WorkerThatDiesByItselfIsAFailure) {
  KillerOptions options;
  options.workers = 2;
  options.kills = 100'000;  // the first failure ends it long before
  const KillerReport report = RunKiller(
      [](Worker& worker) {
        if (worker.index() == 1) _exit(7);
        while (!worker.Stopping()) worker.Progress();
      },
      options);
  EXPECT_GE(report.failures, 1);
  EXPECT_THAT(report.Summary(), HasSubstr("worker 1"));
  EXPECT_THAT(report.Summary(), HasSubstr("status 7"));
}

TEST(KillerTest, SleepersAreWokenToStop) {
  Inherited<Gate> gate;
  KillerOptions options;
  options.kills = 5;
  options.on_stop = [&] { gate->Open(); };
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        if (worker.index() != 0) gate->Wait();
        while (!worker.Stopping()) worker.Progress();
      },
      options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(KillerTest, WorkerThatDoesNotStopIsAHang) {
  Inherited<Gate> gate;
  KillerOptions options;
  options.kills = 5;
  options.quiet = std::chrono::milliseconds(300);
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        if (worker.index() != 0) gate->Wait();
        while (!worker.Stopping()) worker.Progress();
      },
      options);
  EXPECT_EQ(report.hangs, 1);
  EXPECT_THAT(report.Summary(), HasSubstr("do not come to their end"));
}

}  // namespace
}  // namespace mp::testing
