// Readers and writers are killed at random.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/shared.h"
#include "sync/rwlock.h"
#include "tests/support/bury.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"

// Each way to acquire has its own release.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::KillerOptions;
using testing::KillerReport;
using testing::kSanitized;
using testing::RunKiller;
using testing::Settle;
using testing::Stress;
using testing::Worker;

struct Table {
  static constexpr size_t kRows = 64;

  // All equal, except within a write.
  int64_t rows[kRows] = {};
  int64_t repairs = 0;

  bool Torn() const {
    for (const int64_t row : rows) {
      if (row != rows[0]) return true;
    }
    return false;
  }
  void Fill(int64_t value) {
    for (int64_t& row : rows) row = value;
  }
};

bool BeginToWrite(const RWLock& lock, uint64_t round) {
  switch (round % 3) {
    case 0:
      lock.Acquire();
      return true;
    case 1:
      return lock.Acquire(absl::Microseconds(round % 500));
    default:
      return lock.TryAcquire();
  }
}

bool BeginToRead(const RWLock& lock, uint64_t round) {
  switch (round % 3) {
    case 0:
      lock.AcquireShared();
      return true;
    case 1:
      return lock.AcquireShared(absl::Microseconds(round % 500));
    default:
      return lock.TryAcquireShared();
  }
}

void Write(const RWLock& lock, Table& table, uint64_t round) {
  if (!BeginToWrite(lock, round)) return;
  if (lock.owner_died()) {
    ++table.repairs;
    table.Fill(table.rows[0]);
    lock.MarkConsistent();
  }
  // Nobody has died, and nobody else writes.
  if (table.Torn()) abort();
  table.Fill(table.rows[0] + 1);
  lock.Release();
}

void Read(const RWLock& lock, const Table& table, uint64_t round) {
  if (!BeginToRead(lock, round)) return;
  lock.AcquireShared();
  const int64_t before = table.rows[0];
  if (table.Torn() && !lock.owner_died()) abort();
  lock.ReleaseShared();
  // Nobody writes while it reads.
  if (table.rows[Table::kRows - 1] != before && !lock.owner_died()) abort();
  lock.ReleaseShared();
}

TEST(RWLockStressTest, NobodyReadsWhatIsTorn) {
  Settle();
  const RWLock lock;
  const Shared<Table> table;
  KillerOptions options;
  options.workers = 6;
  options.kills = Stress() ? 10'000 : kSanitized ? 50 : 400;
  options.stops = 0.1;
  const KillerReport report = RunKiller(
      [&](Worker& worker) {
        // Mostly readers; and each writes now and then.
        const uint64_t each = worker.index() < 2 ? 2 : 16;
        for (uint64_t round = worker.generation(); !worker.Stopping(); ++round) {
          if (round % each == 0) {
            Write(lock, *table, round / each);
          } else {
            Read(lock, *table, round);
          }
          worker.Progress();
        }
      },
      options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_LE(table->repairs, report.kills);
  Settle();
  // Nobody has it any more.
  EXPECT_TRUE(lock.TryAcquire());
  lock.Release();
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
