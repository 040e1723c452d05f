// Parties come to a barrier round by round, and are killed at random.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "sync/barrier.h"
#include "tests/support/bury.h"
#include "tests/support/inherited.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Inherited;
using testing::KillerOptions;
using testing::KillerReport;
using testing::kSanitized;
using testing::RunKiller;
using testing::Settle;
using testing::Stress;
using testing::Worker;

// A round that is complete has been so for each of its parties: what they wrote before it is there.
// What was broken the first one to learn of it makes anew, as the workers of a program would.
TEST(BarrierStressTest, RoundsGoOnWhileAnyoneDies) {
  constexpr int kParties = 3;
  Settle();
  const Inherited<std::atomic<uint64_t>> acted(0);
  const Barrier barrier(kParties, {.action = [&acted] { acted->fetch_add(1); }});
  const Inherited<std::atomic<uint64_t>> complete(0);
  KillerOptions options;
  options.workers = kParties;
  options.kills = Stress() ? 10'000 : kSanitized ? 50 : 300;
  options.stops = 0.1;
  options.on_stop = [&] { barrier.Abort(); };
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        while (!worker.Stopping()) {
          // A dead one that was about to come is not missed: its successor comes.
          const uint64_t before = acted->load();
          const absl::StatusOr<int> index = barrier.Wait(absl::Seconds(100));
          if (index.ok()) {
            if (acted->load() == before) abort();  // complete without its action
            complete->fetch_add(1);
          } else if (!worker.Stopping()) {
            barrier.Reset();
          }
          worker.Progress();
        }
      },
      options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_GT(complete->load(), 0u);
  EXPECT_LE(complete->load(), acted->load() * kParties);
  Settle();
  barrier.Reset();
  EXPECT_EQ(barrier.NWaiting(), 0);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
