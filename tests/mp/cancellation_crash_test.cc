// A process is killed at every instruction of what can be done with a cancellation.

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mp/cancellation.h"
#include "mp/timer.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "sync/event.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/listed.h"
#include "tests/support/no_look_is_due.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::Listed;
using testing::RunCrashSweep;

class CancellationCrashTest : public ::testing::Test {
 protected:
  CrashCase Case(const std::string& name) {
    CrashCase crash;
    crash.name = name;
    crash.set_up = [this] {
      testing::Settle();
      internal::LaneForNotes();
      stop_.emplace();
    };
    crash.prepare = [] {
      const Cancellation own({.name = "touched"});
      {
        const CancellationScope scope(own);
        static_cast<void>(Event().Wait(absl::Microseconds(1)));
        const Timer timer;
        static_cast<void>(timer.Start(absl::Milliseconds(1)));
        static_cast<void>(timer.Wait());
      }
      own.Cancel();
    };
    crash.check = [] { return Settled(); };
    return crash;
  }
  // Nobody who waits is woken by this, other than by the burial of the dead.
  static std::string Settled() {
    testing::Settle();
    return std::string(Check().message());
  }
  std::string CancelledOrNot() const {
    if (!stop_->cancelled()) stop_->Cancel();
    return Settled();
  }
  static void Sweep(const CrashCase& crash, const CrashOptions& options = {}) {
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  std::optional<Cancellation> stop_;
  const Event event_;
};

TEST_F(CancellationCrashTest, WhoWaitsIsToldWhoeverDies) {
  CrashCase crash = Case("cancel, with a sleeper");
  crash.operation = [this] { stop_->Cancel(); };
  crash.sleeper = [this] {
    const CancellationScope scope(*stop_);
    static_cast<void>(Event().Wait(absl::InfiniteDuration()));
  };
  crash.check = [this] { return CancelledOrNot(); };
  Sweep(crash);
}

TEST_F(CancellationCrashTest, WhoPollsIsToldWhoeverDies) {
  CrashCase crash = Case("cancel, with one who polls");
  crash.operation = [this] { stop_->Cancel(); };
  crash.sleeper = [this] {
    const CancellationScope scope(*stop_);
    static_cast<void>(Timer().Wait());
  };
  crash.check = [this] { return CancelledOrNot(); };
  CrashOptions options;
  // It looks once a second.
  options.quiet = std::chrono::milliseconds(2000);
  options.sample = 1;
  Sweep(crash, options);
}

// By a timeout: when a nap ends depends on the clock, and so would the way that a victim takes.
TEST_F(CancellationCrashTest, WhoWaitsMayDie) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = Case("wait in a scope, beside a sleeper");
  crash.operation = [this] {
    const CancellationScope scope(*stop_);
    static_cast<void>(event_.Wait(absl::Microseconds(1)));
  };
  crash.sleeper = [this] {
    const CancellationScope scope(*stop_);
    static_cast<void>(event_.Wait(absl::InfiniteDuration()));
  };
  crash.check = [this] { return CancelledOrNot(); };
  Sweep(crash);
}

TEST_F(CancellationCrashTest, WhoWaitsByDescriptorMayDie) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = Case("wait by descriptor until it is cancelled");
  crash.operation = [this] {
    const CancellationScope scope(*stop_);
    static_cast<void>(Timer().Wait());
  };
  crash.unblock = [this] { stop_->Cancel(); };
  crash.check = [this] {
    const CancellationScope scope(*stop_);
    static_cast<void>(Timer().Wait(absl::Milliseconds(5)));  // has a bell, too
    stop_->Cancel();
    if (!absl::IsCancelled(Timer().Wait().status())) return std::string("it is not cancelled");
    return Settled();
  };
  Sweep(crash);
}

TEST_F(CancellationCrashTest, TheMakingAndTheEndOfOneLeaveNothing) {
  CrashCase crash = Case("make and drop");
  crash.operation = [] { const Cancellation own({.name = "own"}); };
  crash.check = [] {
    std::string broken = Settled();
    if (broken.empty() && Listed("own").has_value()) broken = "it is there still";
    return broken;
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
