// A process is killed at every instruction of what puts threads to sleep and wakes them.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/pause.h"
#include "tests/support/shared_word.h"

namespace mp::internal {

struct LaneTestPeer {
  static void EndThread() { LaneTable::EndThread(); }
};

namespace {

using mp::testing::CrashCase;
using mp::testing::CrashOptions;
using mp::testing::CrashReport;
using mp::testing::ForkMortal;
using mp::testing::Gate;
using mp::testing::Inherited;
using mp::testing::RunCrashSweep;
using mp::testing::SharedWord;

class LaneCrashTest : public ::testing::Test {
 protected:
  LaneCrashTest() : domain_(**Domain::Get()), lanes_(domain_.lanes()), word_(0) { LaneForNotes(); }

  int InUse() {
    int count = 0;
    for (uint32_t i = 0; i < lanes_.committed(); ++i) count += lanes_[i].process.load() != 0;
    return count;
  }
  void SetUpPoint() {
    mp::testing::Settle();
    word_->store(0);
    sleeps_ = 0;
  }
  // By a fresh process: of lanes there are this test's, and its own.
  std::string CheckLanes() {
    // Twice: whom the victim was burying may come before it.
    domain_.BuryTheDead(Evidence::kThorough);
    domain_.BuryTheDead(Evidence::kThorough);
    if (const absl::Status status = Check(); !status.ok()) return std::string(status.message());
    if (LaneForNotes() == nullptr) return "there is no lane";
    if (InUse() > 2 + sleepers_) return absl::StrCat(InUse(), " lanes are in use");
    // Only now, and where nobody has: a wake that is owed comes of itself.
    if (word_->load() == 0) WakeAll(*word_);
    return "";
  }
  void Sweep(CrashCase crash, size_t sample = 0, CrashOptions options = {}) {
    if (!crash.set_up) crash.set_up = [this] { SetUpPoint(); };
    if (!crash.check) crash.check = [this] { return CheckLanes(); };
    if (sample != 0 && options.sample != 0) options.sample = std::min(options.sample, sample);
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
  // Not in its first sleep, the nap, but in the next one, as the sentry or beside it.
  void WakeFromSecondSleep() {
    if (++sleeps_ >= 2) WakeAll(*word_);
  }
  // Not by Wait(): it would bury, too, and look by itself after a while.
  void SleepUntilWoken() {
    Lane* const lane = LaneForNotes();
    const SleepsOn note(lane, *word_);
    lane->expects.store(0);
    while (word_->load() == 0) FutexWait(*word_, 0, nullptr);
  }
  void SleepUntilChanged() {
    while (word_->load() == 0) Wait(*word_, 0);
  }

  Domain& domain_;
  LaneTable& lanes_;
  const SharedWord word_;
  int sleepers_ = 0;
  int sleeps_ = 0;  // of the victim, seen so far
};
using WaitCrashTest = LaneCrashTest;
using SentryCrashTest = LaneCrashTest;

TEST_F(LaneCrashTest, TheBirthOfALaneLeavesNothing) {
  CrashCase crash;
  crash.name = "birth of a lane";
  crash.operation = [] { LaneForNotes(); };
  Sweep(crash);
}

TEST_F(LaneCrashTest, TheEndOfAThreadLeavesNothing) {
  CrashCase crash;
  crash.name = "end of a thread";
  crash.prepare = [] { LaneForNotes(); };
  // By itself, since the sweep follows one thread.
  crash.operation = [] {
    LaneTestPeer::EndThread();
    LaneForNotes();
  };
  Sweep(crash);
}

TEST_F(LaneCrashTest, TheBurialOfALaneMayBeInterrupted) {
  CrashCase crash;
  crash.name = "burial of a lane";
  sleepers_ = 1;
  // Who is dead has taken a wake along, which is for the sleeper.
  crash.prepare = [this] {
    const pid_t pid = ForkMortal([this] {
      const SleepsOn note(LaneForNotes(), *word_);
      raise(SIGKILL);
    });
    // Not killed from here: it would be before it has begun.
    siginfo_t end;
    waitid(P_PID, static_cast<id_t>(pid), &end, WEXITED);
  };
  crash.operation = [this] {
    word_->store(1);
    domain_.BuryTheDead(Evidence::kQuick);
  };
  crash.sleeper = [this] { SleepUntilWoken(); };
  Sweep(crash);
}

TEST_F(WaitCrashTest, WhoIsOwedAWakeGetsIt) {
  CrashCase crash;
  crash.name = "wake all";
  sleepers_ = 1;
  crash.prepare = [] {
    LaneForNotes();
    WakeAll(*SharedWord(0));
  };
  crash.operation = [this] { WakeAll(*word_); };
  crash.sleeper = [this] { SleepUntilWoken(); };
  Sweep(crash);
}

TEST_F(WaitCrashTest, AWaitMayBeKilledAnywhere) {
  CrashCase crash;
  crash.name = "wait, each phase";
  sleepers_ = 1;
  crash.operation = [this] { SleepUntilChanged(); };
  crash.sleeper = [this] { SleepUntilChanged(); };
  crash.unblock = [this] { WakeFromSecondSleep(); };
  Sweep(crash, 100);
}

TEST_F(WaitCrashTest, AWokenSleeperThatDiesPassesItOn) {
  // Two sleep; one is woken, and is killed before it acts: the other is woken by its burial.
  CrashCase crash;
  crash.name = "wake of one of two";
  sleepers_ = 1;
  crash.operation = [this] {
    const SleepsOn note(LaneForNotes(), *word_);
    SleepUntilChanged();
    FutexWake(*word_, 1);  // what it has to do with the wake
  };
  crash.sleeper = [this] { SleepUntilWoken(); };
  crash.sleeper_queues_behind = true;
  crash.unblock = [this] {
    word_->store(1);
    FutexWake(*word_, 1);
  };
  Sweep(crash, 60);
}

TEST_F(SentryCrashTest, ADutyIsHandedOn) {
  // The victim is the sentry, or becomes it, and leaves or dies: the sleeper learns of that death
  // all the same. It is the only one that can tell: the check buries nobody before that.
  CrashCase crash;
  crash.name = "election, watch and hand-over";
  sleepers_ = 1;
  const Inherited<uint32_t> deaths;
  const Inherited<std::atomic<bool>> has_sleeper;
  const Inherited<Gate> told;
  crash.set_up = [&, this] {
    SetUpPoint();
    *deaths = Deaths();
    has_sleeper->store(false);
    told->Close();
  };
  crash.operation = [this] { SleepUntilChanged(); };
  crash.sleeper = [&] {
    has_sleeper->store(true);
    while (Wait(*SharedWord(0), 0, {.deaths = deaths.get()}) != WaitResult::kDeath) {
    }
    told->Open();
  };
  // So the victim is the first to have the duty.
  crash.sleeper_queues_behind = true;
  crash.unblock = [this] { WakeFromSecondSleep(); };
  crash.check = [&, this] {
    if (has_sleeper->load()) told->Wait();
    return CheckLanes();
  };
  // Longer than a look's second.
  CrashOptions options;
  options.quiet = std::chrono::seconds(3);
  Sweep(crash, 60, options);
}

}  // namespace
}  // namespace mp::internal
