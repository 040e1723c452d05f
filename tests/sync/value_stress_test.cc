// Workers change values and arrays, and are killed at random.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>

#include "shared/raw_value.h"
#include "sync/array.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "sync/value.h"
#include "tests/support/inherited.h"
#include "tests/support/killer.h"
#include "tests/sync/random_kills.h"

namespace mp {
namespace {

using testing::Inherited;
using testing::KillerReport;
using testing::RandomKillsTest;
using testing::Worker;

class ValueStressTest : public RandomKillsTest {
 protected:
  // By worker.
  using Counts = std::array<std::atomic<uint64_t>, kWorkers>;
  static uint64_t Sum(const Counts& counts) {
    return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  }
};
INSTANTIATE_TEST_SUITE_P(Watched, ValueStressTest, testing::AllWatches(), testing::WatchName);

TEST_P(ValueStressTest, EachUpdateThatReturnedIsCounted) {
  const Value<uint64_t> value;
  const Inherited<Counts> returned;
  const KillerReport report = Run([&](Worker& worker) {
    while (!worker.Stopping()) {
      const uint64_t sum = value.Update([](uint64_t& n) { return ++n; });
      ++(*returned)[static_cast<size_t>(worker.index())];
      if (value.Get() < sum) abort();
      if (sum % (1000 * NapEach()) == 0) {
        const LockGuard guard(value);
        Nap();
      }
      worker.Progress();
    }
  });
  EXPECT_GE(value.Get(), Sum(*returned));
  // Who is killed may have stored, and not returned.
  EXPECT_LE(value.Get(), Sum(*returned) + static_cast<uint64_t>(report.kills));
}

// What is not written at once is as the last change left it, or a death is told.
TEST_P(ValueStressTest, OfWhatIsHalfWrittenADeathIsTold) {
  using Words = std::array<uint64_t, 16>;
  struct Told {
    uint64_t deaths = 0;
    uint64_t untold = 0;
  };
  const RLock lock;
  const Value<Words> value(Words{}, lock);
  const Array<uint64_t> array(16, lock);
  const RawValue<Told> told;
  const Inherited<Counts> done;
  // By the holder.
  auto is_whole = [&] {
    return std::ranges::count(*value.Raw(), array[0]) == 16 &&
           std::ranges::count(array, array[0]) == 16;
  };
  auto set_all = [&](uint64_t number) {
    value.Update([number](Words& words) { words.fill(number); });
    std::ranges::fill(array, number);
  };
  const KillerReport report = Run([&](Worker& worker) {
    while (!worker.Stopping()) {
      {
        const LockGuard guard(lock);
        const uint64_t newest = std::max(std::ranges::max(*value.Raw()), std::ranges::max(array));
        if (guard.owner_died()) {
          ++told->deaths;
          set_all(newest);
          lock.MarkConsistent();
        }
        if (!is_whole()) ++told->untold;
        set_all(newest + 1);
        if (newest % (100 * NapEach()) == 0) Nap();
      }
      ++(*done)[static_cast<size_t>(worker.index())];
      worker.Progress();
    }
  });
  EXPECT_EQ(told->untold, 0u);
  EXPECT_LE(told->deaths, static_cast<uint64_t>(report.kills));
  EXPECT_GE(array[0], Sum(*done));
  EXPECT_LE(array[0], Sum(*done) + static_cast<uint64_t>(report.kills));
}

}  // namespace
}  // namespace mp
