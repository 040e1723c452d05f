// A process is killed at every instruction of what can be done with an event.

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/time/time.h"
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
using testing::CrashReport;
using testing::Listed;
using testing::RunCrashSweep;

class EventCrashTest : public ::testing::Test {
 protected:
  CrashCase Case(const std::string& name) {
    CrashCase crash;
    crash.name = name;
    crash.set_up = [this] {
      testing::Settle();
      internal::LaneForNotes();
      event_.emplace();
    };
    crash.prepare = [] {
      const Event own;
      static_cast<void>(own.Wait(absl::Microseconds(1)));
      own.Set();
      own.Clear();
      const Event named({.name = "touched"});
    };
    crash.check = [] { return Settled(); };
    return crash;
  }
  // Nobody who waits is woken by this, other than by the burial of the dead.
  static std::string Settled() {
    testing::Settle();
    return std::string(Check().message());
  }
  static void Sweep(const CrashCase& crash) {
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  std::optional<Event> event_;
};

TEST_F(EventCrashTest, WhoWaitsIsWokenWhoeverDies) {
  CrashCase crash = Case("set, with a sleeper");
  crash.operation = [this] { event_->Set(); };
  crash.sleeper = [this] { event_->Wait(); };
  crash.check = [this] {
    if (!event_->IsSet()) event_->Set();
    return Settled();
  };
  Sweep(crash);
}

TEST_F(EventCrashTest, NobodyMissesAPulse) {
  CrashCase crash = Case("set and clear, with a sleeper");
  crash.operation = [this] {
    event_->Set();
    event_->Clear();
  };
  crash.sleeper = [this] {
    event_->Wait();
    // Or the check did not know whether there was one.
    event_->Set();
  };
  crash.check = [this] {
    // Set, or cleared again; or it has never been.
    std::string broken = Settled();
    if (!event_->Wait(absl::Milliseconds(50))) event_->Set();
    return broken;
  };
  Sweep(crash);
}

TEST_F(EventCrashTest, AWaiterMayDie) {
  CrashCase crash = Case("wait, and another behind");
  crash.operation = [this] { event_->Wait(); };
  crash.sleeper = [this] { event_->Wait(); };
  crash.sleeper_queues_behind = true;
  crash.unblock = [this] { event_->Set(); };
  Sweep(crash);
}

TEST_F(EventCrashTest, ATimedWaitMayDie) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = Case("wait that times out");
  crash.operation = [this] { static_cast<void>(event_->Wait(absl::Milliseconds(1))); };
  Sweep(crash);
}

TEST_F(EventCrashTest, TheMakingAndTheEndOfOneLeaveNothing) {
  CrashCase crash = Case("make and drop");
  crash.operation = [] { const Event own({.name = "own"}); };
  crash.check = [] {
    std::string broken = Settled();
    if (!broken.empty()) return broken;
    if (Listed("own").has_value()) return std::string("it is there still");
    return broken;
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
