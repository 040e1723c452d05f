// Workers take permits of several semaphores, and are killed at random.

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "sync/semaphore.h"
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

TEST(SemaphoreStressTest, EveryPermitIsBackAfterRandomKills) {
  Settle();
  const std::vector<Semaphore> semaphores = {Semaphore(1), Semaphore(2), Semaphore(5)};
  KillerOptions options;
  options.workers = 8;
  options.kills = Stress() ? 10'000 : kSanitized ? 50 : 300;
  options.stops = 0.1;
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        for (uint64_t round = static_cast<uint64_t>(worker.index()); !worker.Stopping(); ++round) {
          // In one order, or they would wait for one another.
          std::optional<Permit> first;
          if (round % 3 != 0) first = semaphores[0].AcquirePermit(absl::Milliseconds(round % 7));
          const Permit second = semaphores[1].AcquirePermit();
          const std::optional<Permit> third = round % 2 == 0
                                                  ? semaphores[2].TryAcquirePermit()
                                                  : semaphores[2].AcquirePermit(absl::Seconds(100));
          first.reset();
          worker.Progress();
        }
      },
      options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  Settle();
  EXPECT_EQ(semaphores[0].GetValue(), 1);
  EXPECT_EQ(semaphores[1].GetValue(), 2);
  EXPECT_EQ(semaphores[2].GetValue(), 5);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
