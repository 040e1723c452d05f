// A process is killed at every instruction of calling who waits for a queue by descriptor, and of
// waiting so itself.

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/internal/queue_state.h"
#include "mp/queue.h"
#include "mp/wait.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashReport;
using testing::RunCrashSweep;
using testing::Settle;

class QueueWaitCrashTest : public ::testing::Test {
 protected:
  void Sweep(CrashCase crash) {
    crash.set_up = [this] {
      queue_.reset();
      Settle();
      internal::LaneForNotes();
      const size_t in_use = Stats().in_use;
      if (before_.has_value()) {
        EXPECT_EQ(in_use, *before_) << Stats().ToString();
      }
      before_ = in_use;
      queue_.emplace();
    };
    crash.prepare = [] {
      const Queue<int> own;
      (void)Wait({own}, absl::ZeroDuration());
      (void)own.Put(1);
      (void)Wait({own}, absl::ZeroDuration());
      (void)own.Get();
    };
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
  internal::QueueState& state() const { return *internal::HandleAccess::StateOf(*queue_); }
  // Until there is a value, and it is this one's.
  static void WaitAndGet(const Queue<int>& queue) {
    while (Wait({queue}).ok() && !queue.TryGet().ok()) {
    }
  }

  std::optional<Queue<int>> queue_;
  std::optional<size_t> before_;
};

// The sleeper has the victim's, where that has come so far; or this one.
TEST_F(QueueWaitCrashTest, WhoWaitsByDescriptorIsCalled) {
  CrashCase crash;
  crash.name = "put, and somebody waits by descriptor";
  crash.operation = [this] { (void)queue_->Put(1); };
  crash.sleeper = [this] { WaitAndGet(*queue_); };
  crash.check = [this]() -> std::string {
    Settle();
    if (state().puts().load(std::memory_order_acquire) != 0) return "";
    return queue_->Put(2).ok() ? "" : "nothing can be put any more";
  };
  Sweep(crash);
}

TEST_F(QueueWaitCrashTest, WhoIsToldOfTheEndIsCalled) {
  CrashCase crash;
  crash.name = "shut down, and somebody waits by descriptor";
  crash.operation = [this] { queue_->Shutdown(); };
  crash.sleeper = [this] { (void)Wait({*queue_}); };
  crash.check = [this]() -> std::string {
    Settle();
    if (state().shut.load(std::memory_order_acquire) == 0) queue_->Shutdown();
    return "";
  };
  Sweep(crash);
}

TEST_F(QueueWaitCrashTest, AWaiterMayDie) {
  CrashCase crash;
  crash.name = "wait by descriptor in vain";
  crash.operation = [this] { (void)Wait({*queue_}, absl::ZeroDuration()); };
  crash.check = [this]() -> std::string {
    if (!queue_->Put(1).ok()) return "nothing can be put any more";
    if (Wait({*queue_}, absl::ZeroDuration()).status().code() ==
        absl::StatusCode::kDeadlineExceeded)
      return "what is there is not seen";
    if (!queue_->TryGet().ok()) return "nothing can be got any more";
    return std::string(mp::Check().message());
  };
  Sweep(crash);
}

TEST_F(QueueWaitCrashTest, WhoWaitsBesideADeadOneIsCalled) {
  CrashCase crash;
  crash.name = "two wait by descriptor";
  crash.operation = [this] { WaitAndGet(*queue_); };
  crash.sleeper = [this] { WaitAndGet(*queue_); };
  crash.sleeper_queues_behind = true;
  crash.unblock = [this] { (void)queue_->Put(0); };
  crash.check = [this]() -> std::string {
    Settle();
    // Where nobody has it, it is the sleeper's.
    if (state().gets().load(std::memory_order_acquire) == 0) return "";
    return queue_->Put(1).ok() ? "" : "nothing can be put any more";
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
