// Who runs it, and who waits for that, is killed at random.

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "absl/status/status.h"
#include "shared/inspect.h"
#include "shared/shared.h"
#include "sync/once.h"
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

// All call the same one, until it is done, and then the next.
TEST(OnceStressTest, EachIsRunToItsEndOnce) {
  struct Table {
    std::array<int64_t, 64> rows = {};
    std::atomic<uint64_t> round = 0;
    int64_t ends = 0;  // of runs that came to theirs
  };
  const size_t rounds = Stress() ? 1'000'000 : 60'000;
  Settle();
  const std::vector<Once> all = [&] {
    std::vector<Once> made;
    while (made.size() < rounds) made.emplace_back();
    return made;
  }();
  const Shared<Table> table;
  KillerOptions options;
  options.workers = 5;
  options.kills = Stress() ? 5'000 : kSanitized ? 50 : 300;
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        for (uint64_t calls = worker.generation(); !worker.Stopping(); ++calls) {
          uint64_t round = table->round.load();
          const auto value = static_cast<int64_t>(round);
          const Once& once = all[round % rounds];
          try {
            once.Call([&] {
              // Nobody else runs it: what is torn is the dead's.
              for (int64_t& row : table->rows) {
                if (row != value && row != value + 1) abort();
                if (row == value + 1 && !once.owner_died()) abort();
              }
              if (calls % 5 == 0) throw std::runtime_error("not now");
              for (int64_t& row : table->rows) row = value + 1;
              usleep(20);  // so that the others come to sleep
              ++table->ends;
            });
          } catch (const std::runtime_error&) {
            continue;
          }
          if (!once.Done()) abort();
          // The last one is called for ever.
          if (round + 1 < rounds) table->round.compare_exchange_strong(round, round + 1);
          worker.Progress();
        }
      },
      options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  Settle();
  const uint64_t round = table->round.load();
  EXPECT_GT(round, 0u);
  for (uint64_t i = 0; i < round; ++i) ASSERT_TRUE(all[i].Done()) << i;
  // Between its end and that it is done it may have been killed.
  EXPECT_GE(table->ends, static_cast<int64_t>(round));
  EXPECT_LE(table->ends, static_cast<int64_t>(round) + 1 + report.kills);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
