// A worker is killed at every instruction of taking a task, and of handing in what came of it.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/codec.h"
#include "mp/encoder.h"
#include "mp/internal/pool_maker.h"
#include "mp/internal/pool_state.h"
#include "mp/internal/pool_value.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/deadline.h"
#include "shared/internal/handle.h"
#include "shared/internal/object.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using internal::Handle;
using internal::PoolMaker;
using internal::PoolState;
using internal::PoolTask;
using internal::TaskWord;
using testing::CrashCase;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;
using testing::Settle;
using Phase = TaskWord::Phase;

constexpr uint32_t kVictim = 1;
constexpr uint32_t kOther = 2;
constexpr size_t kShort = 8;
constexpr size_t kLong = 1000;  // in a block

Handle<PoolState> MakePool() {
  return Handle<PoolState>(*internal::MakeObject<PoolState>(
      internal::ObjectType::kPool, "", [](PoolState& state) { ASSERT_TRUE(state.Init(3)); }));
}

// How far the victim came.
struct Seen {
  volatile int taken = 0;
  volatile int finished = 0;
};

class PoolCrashTest : public ::testing::Test {
 protected:
  // `tasks` are there, with arguments of `size` bytes.
  void SetUpPoint(int tasks, size_t size) {
    maker_.reset();
    pool_.reset();
    Settle();
    internal::LaneForNotes();
    const size_t in_use = Stats().in_use;
    if (before_.has_value()) {
      EXPECT_EQ(in_use, *before_);
    }
    before_ = in_use;
    pool_.emplace(MakePool());
    maker_.emplace(**pool_);
    for (int i = 0; i < tasks; ++i) Put(i, size);
    *seen_ = Seen();
  }
  PoolState& pool() const { return **pool_; }

  void Put(int number, size_t size) {
    const absl::StatusOr<uint32_t> task = maker_->Allocate();
    ASSERT_TRUE(task.ok());
    ASSERT_TRUE(Store(number, size, pool()[*task].argument));
    pool()[*task].result.Clear();
    maker_->Put(*task);
    pool().WakeWorkers(1);
  }
  template <size_t kInline>
  bool Store(int number, size_t size, internal::TaskValue<kInline>& value) const {
    Encoder encoder;
    encoder.Put(number);
    const std::string more(size - sizeof(number), 'x');
    encoder.PutBytes(more.data(), more.size());
    return internal::StoreValue(encoder, pool(), value).ok();
  }
  template <size_t kInline>
  static int NumberIn(const internal::TaskValue<kInline>& value) {
    int number;
    std::memcpy(&number, value.View().data(), sizeof(number));
    return number;
  }

  // As a worker: its result is the argument plus 100.
  void DoOne(uint32_t worker, size_t size) {
    const uint32_t task = pool().AwaitTask(worker);
    if (worker == kVictim) seen_->taken = 1;
    PoolTask& it = pool()[task];
    if (!Store(NumberIn(it.argument) + 100, size, it.result)) return;
    static_cast<void>(pool().Finish(task, worker, /*failed=*/false));
    if (worker == kVictim) seen_->finished = 1;
  }

  CrashCase Case(const std::string& name, int tasks, size_t size) {
    CrashCase crash;
    crash.name = absl::StrCat("pool: ", name, ", ", size, " bytes");
    crash.set_up = [this, tasks, size] { SetUpPoint(tasks, size); };
    return crash;
  }
  static void Sweep(const CrashCase& crash) {
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  std::optional<Handle<PoolState>> pool_;
  std::optional<PoolMaker> maker_;
  std::optional<size_t> before_;
  Inherited<Seen> seen_;
};

// The check is in a child of the maker's, which has its maker as it was before.
TEST_F(PoolCrashTest, AResultIsThereOrItsTaskIsLost) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a task", 3, size);
    crash.operation = [this, size] { DoOne(kVictim, size); };
    crash.check = [this, size]() -> std::string {
      // The others are there for another worker, and no more.
      int left = 0;
      while (pool().Take(kOther) != PoolState::kNone) ++left;
      std::vector<uint32_t> finished;
      maker_->TakeFinished([&](uint32_t task) { finished.push_back(task); });
      int victims = 0;
      for (uint32_t task = 0; task < maker_->bound(); ++task) {
        const TaskWord as = maker_->Look(task);
        if (as.worker != kVictim) continue;
        ++victims;
        PoolTask& it = pool()[task];
        if (as.phase == Phase::kDone) {
          if (NumberIn(it.result) != NumberIn(it.argument) + 100) return "another result";
        } else if (as.phase != Phase::kTaken) {
          return "a phase that no worker leaves";
        } else if (seen_->finished != 0) {
          return "it was finished";
        }
        if (it.result.View().size() > size) return "a result that is torn";
      }
      if (left + victims != 3) return absl::StrCat(left, " and ", victims, " tasks, of 3");
      if (victims < seen_->taken) return "a task was taken, and is not found";
      if (finished.size() > static_cast<size_t>(victims)) return "more was finished than taken";
      return std::string(mp::Check().message());
    };
    Sweep(crash);
  }
}

TEST_F(PoolCrashTest, ATakenTaskIsFound) {
  CrashCase crash = Case("a worker that waits", 0, kShort);
  crash.operation = [this] { DoOne(kVictim, kShort); };
  crash.sleeper = [this] { DoOne(kOther, kShort); };
  crash.sleeper_queues_behind = true;
  // One for each; who dies with its wake passes it on.
  crash.unblock = [this] {
    Put(0, kShort);
    Put(1, kShort);
  };
  crash.check = [this]() -> std::string {
    int taken = 0;
    for (uint32_t task = 0; task < maker_->bound(); ++task) {
      const TaskWord as = maker_->Look(task);
      taken += as.phase != Phase::kNone && as.phase != Phase::kReady && as.worker == kVictim;
    }
    if (taken < seen_->taken) return "a task was taken, and is not found";
    return std::string(mp::Check().message());
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
