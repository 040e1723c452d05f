// Processes that are started and joined by the thousand, one after another: nothing grows.

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>

#include <optional>

#include "absl/status/status.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "mp/start_method.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/mp/footprint.h"
#include "tests/mp/start_methods.h"
#include "tests/support/settings.h"
#include "tests/support/watchdog.h"

namespace mp {
namespace {

using testing::Footprint;
using testing::kSanitized;
using testing::PetWatchdog;
using testing::Stress;

class StartCyclesTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  static int Cycles() {
    if (Stress()) return 10'000;
    if (kSanitized) return 24;
    return GetParam() == StartMethod::kSpawn ? 30 : 300;
  }
  // After so many everything is there that all the others use again.
  static int Warm() { return Cycles() / 3; }
};

INSTANTIATE_TEST_SUITE_P(All, StartCyclesTest, testing::AllStartMethods(),
                         testing::StartMethodName);

// Every third one dies with the lock.
constexpr bool Dies(int i) { return i % 3 == 0; }

int Take(const Lock& turn, const RawValue<int>& number) {
  const LockGuard guard(turn);
  const RawValue<int> mine(*number);
  if (Dies(*mine)) raise(SIGKILL);
  return *mine & 0x7f;
}

TEST_P(StartCyclesTest, ThoseThatAreJoinedLeaveNothing) {
  const Lock lock;
  std::optional<Footprint> before;
  for (int i = 0; i < Cycles(); ++i) {
    if (i == Warm()) before = Footprint::Measure();
    const RawValue<int> number(i);
    Process child({.start_method = GetParam()}, &Take, lock, number);
    const absl::Status started = child.Start();
    ASSERT_TRUE(started.ok()) << started;
    child.Join();
    ASSERT_EQ(child.exitcode(), Dies(i) ? -SIGKILL : i & 0x7f) << i;
    PetWatchdog();
  }
  // At once: who joined them has buried them.
  EXPECT_EQ(Footprint::Measure(), *before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_P(StartCyclesTest, ThoseThatNobodyJoinsLeaveNothing) {
  const int cycles = Stress() ? Cycles() / 10 : Cycles();
  const Lock lock;
  std::optional<Footprint> before;
  // All have ended, and whoever asks for the children reaps them.
  auto await_end = [] {
    while (!ActiveChildren().empty()) sched_yield();
  };
  for (int i = 0; i < cycles; ++i) {
    if (i == cycles / 3) {
      await_end();
      before = Footprint::Measure();
    }
    const RawValue<int> number(i);
    ASSERT_TRUE(Process({.start_method = GetParam()}, &Take, lock, number).Start().ok());
    // No more than these at once.
    if (i % 8 == 7) await_end();
    PetWatchdog();
  }
  await_end();
  EXPECT_EQ(Footprint::Await(*before), *before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
