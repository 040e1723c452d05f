// Processes join a latch, count it down, and are killed at random.

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "shared/inspect.h"
#include "sync/latch.h"
#include "tests/support/bury.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::KillerOptions;
using testing::KillerReport;
using testing::kSanitized;
using testing::RunKiller;
using testing::Settle;
using testing::Stress;
using testing::Worker;

TEST(LatchStressTest, WhoHasJoinedIsCountedDownOnce) {
  constexpr int kCount = std::numeric_limits<int>::max();
  constexpr int kInARound = 3;
  Settle();
  const Latch latch(kCount);
  KillerOptions options;
  options.workers = 6;
  options.kills = Stress() ? 10'000 : kSanitized ? 50 : 300;
  options.stops = 0.1;
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        while (!worker.Stopping()) {
          for (int i = 0; i < kInARound; ++i) latch.Join();
          latch.CountDown();
          latch.CountDown(kInARound - 1);
          worker.Progress();
        }
      },
      options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  Settle();
  // Of a round that a death ended there are those that were joined: none, or all.
  const auto counted = static_cast<uint64_t>(kCount - latch.GetCount());
  EXPECT_GE(counted, kInARound * report.progress);
  EXPECT_LE(counted, kInARound * (report.progress + static_cast<uint64_t>(report.kills)));
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
