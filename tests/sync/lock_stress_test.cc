// Workers lock, allocate and free, and are killed at random.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "tests/support/bury.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"
#include "tests/sync/lock_types.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::KillerOptions;
using testing::KillerReport;
using testing::kSanitized;
using testing::LockNames;
using testing::Locks;
using testing::RunKiller;
using testing::Settle;
using testing::Stress;
using testing::Worker;

KillerOptions Options() {
  KillerOptions options;
  options.workers = Stress() ? 8 : 4;
  options.kills = Stress() ? 10'000 : kSanitized ? 50 : 300;
  return options;
}

template <typename L>
class LockStressTest : public ::testing::Test {};
TYPED_TEST_SUITE(LockStressTest, Locks, LockNames);

TYPED_TEST(LockStressTest, CounterSurvivesRandomKills) {
  struct Counter {
    int64_t value = 0;
    int64_t mirror = 0;  // equal but within a change
    int64_t deaths = 0;
    int64_t untold = 0;  // times that they were not, and nobody had died
  };
  const TypeParam lock;
  const RawValue<Counter> counter;
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        for (int round = worker.index(); !worker.Stopping(); ++round) {
          if (round % 2 == 0) {
            lock.Acquire();
          } else if (!lock.Acquire(absl::Seconds(100))) {
            abort();
          }
          if (lock.owner_died()) {
            ++counter->deaths;
            counter->mirror = counter->value;
            lock.MarkConsistent();
          }
          if (counter->value != counter->mirror) ++counter->untold;
          ++counter->value;
          ++counter->mirror;
          lock.Release();
          worker.Progress();
        }
      },
      Options());
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_EQ(counter->untold, 0);
  EXPECT_LE(counter->deaths, report.kills);
  // Each round of a worker that told of it counted.
  EXPECT_GE(counter->value, static_cast<int64_t>(report.progress));
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(LockStressTest, SharedVectorIsRebuiltAndNothingIsLost) {
  using String = std::basic_string<char, std::char_traits<char>, Allocator<char>>;
  using Strings = std::vector<String, Allocator<String>>;
  Settle();
  const TypeParam lock;
  const Shared<Strings> strings;
  const size_t before = Stats().in_use;
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        Domain& domain = **Domain::Get();
        const std::string text(100, 'x');
        for (size_t round = 0; !worker.Stopping(); ++round) {
          // Of the worker's own.
          const TypeParam own({.name = "own"});
          const absl::StatusOr<void*> block = domain.Allocate(round % 20'000 + 1);
          {
            const LockGuard guard(lock);
            if (guard.owner_died()) {
              strings.Reset();
              lock.MarkConsistent();
            }
            if (strings->size() > 100) strings->clear();
            strings->emplace_back(text);
            if (strings->back() != std::string_view(text)) abort();
          }
          domain.Free(*block);
          worker.Progress();
        }
      },
      Options());
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_EQ(Check(), absl::OkStatus());
  strings.Reset();
  Settle();
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
