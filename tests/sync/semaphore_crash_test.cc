// A process is killed at every instruction of what can be done with a semaphore, and with the
// records of its permits.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/give_back.h"
#include "shared/internal/holds.h"
#include "shared/internal/wait.h"
#include "sync/semaphore.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/held_duty.h"
#include "tests/support/inherited.h"
#include "tests/support/no_look_is_due.h"
#include "tests/support/spun_in_vain.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::KillAndReap;
using testing::RunCrashSweep;
using testing::Settle;

// How far the victim came, in what gives nothing back when it dies.
enum Progress : int { kNothing, kAcquiring, kAcquired, kReleasing, kReleased };

struct Seen {
  volatile int progress = kNothing;
};

// Of a semaphore that nobody has permits of any more.
std::string HasExactly(const Semaphore& semaphore, int value) {
  if (semaphore.GetValue() != value) {
    return absl::StrCat(semaphore.GetValue(), " are left, not ", value);
  }
  std::vector<Permit> permits;
  for (int i = 0; i < value; ++i) {
    std::optional<Permit> permit = semaphore.TryAcquirePermit();
    if (!permit.has_value()) return absl::StrCat("only ", i, " can be had, of ", value);
    permits.push_back(*std::move(permit));
  }
  if (semaphore.TryAcquirePermit().has_value()) return "one more can be had than there are";
  permits.clear();
  if (semaphore.GetValue() != value) return "what was released did not come back";
  return std::string(Check().message());
}

class SemaphoreCrashTest : public ::testing::Test {
 protected:
  void SetUpPoint(int value) {
    held_.clear();
    // Or the next victim, where it waits, buries the last one on the way.
    Settle();
    // The first lane of the domain takes more than the next; so does the first record.
    internal::LaneForNotes();
    semaphore_.emplace(value);
    other_.emplace(1);
    progress_->progress = kNothing;
    gate_->Close();
    done_->Close();
    static_cast<void>(semaphore_->TryAcquirePermit());
  }
  CrashCase Case(const std::string& name, int value) {
    CrashCase crash;
    crash.name = "semaphore: " + name;
    crash.set_up = [this, value] { SetUpPoint(value); };
    crash.prepare = [] { TouchAll(); };
    crash.check = [this, value] { return AllIsBack(value); };
    return crash;
  }
  // So that nothing in the operation happens for the first time.
  static void TouchAll() {
    const Semaphore own(2);
    own.Acquire();
    static_cast<void>(own.TryAcquire());
    own.Release(5);
    static_cast<void>(own.Acquire(absl::Seconds(1)));
    const Permit permit = own.AcquirePermit();
    static_cast<void>(own.AcquirePermit(absl::Seconds(1)));
  }
  std::string AllIsBack(int value) const {
    Settle();
    std::string wrong = HasExactly(*other_, 1);
    return wrong.empty() ? HasExactly(*semaphore_, value) : wrong;
  }
  // By a sleeper: what it waits for, then it has been there.
  void AcquireAndTell() {
    { const Permit permit = semaphore_->AcquirePermit(); }
    done_->Open();
  }
  static void Sweep(const CrashCase& crash, bool sleeps = false, const CrashOptions& options = {}) {
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    if (sleeps) {
      EXPECT_GT(report.sleeps, 0u);
    }
  }

  std::optional<Semaphore> semaphore_;
  std::optional<Semaphore> other_;
  std::vector<Permit> held_;  // the victim's, or this process's
  Inherited<Gate> gate_;
  Inherited<Gate> done_;
  Inherited<Seen> progress_;
};

TEST_F(SemaphoreCrashTest, AcquireAndRelease) {
  for (const int way : {0, 1, 2}) {
    constexpr int kValue = 2;
    CrashCase crash = Case(absl::StrCat("acquire and release, way ", way), kValue);
    crash.operation = [this, way] {
      progress_->progress = kAcquiring;
      if (way == 0) {
        semaphore_->Acquire();
      } else if (way == 1) {
        static_cast<void>(semaphore_->TryAcquire());
      } else {
        static_cast<void>(semaphore_->Acquire(absl::Seconds(1)));
      }
      progress_->progress = kAcquired;
      progress_->progress = kReleasing;
      semaphore_->Release();
      progress_->progress = kReleased;
    };
    // Nobody's, so it does not come back.
    crash.check = [this]() -> std::string {
      Settle();
      const int value = semaphore_->GetValue();
      const int progress = progress_->progress;
      const bool may_be_out =
          progress == kAcquiring || progress == kAcquired || progress == kReleasing;
      const bool may_be_in = progress != kAcquired;
      if (value == kValue - 1 ? !may_be_out : value != kValue || !may_be_in) {
        return absl::StrCat(value, " are left at progress ", progress);
      }
      return HasExactly(*semaphore_, value);
    };
    Sweep(crash);
  }
}

TEST_F(SemaphoreCrashTest, APermitOfTheDeadComesBackOnce) {
  CrashCase crash = Case("a permit", 2);
  crash.operation = [this] { semaphore_->AcquirePermit().Release(); };
  Sweep(crash);

  const testing::NoLookIsDue no_look;
  crash = Case("permits that are tried for, one of them held to the end", 2);
  crash.operation = [this] {
    std::optional<Permit> first = semaphore_->TryAcquirePermit();
    std::optional<Permit> second = semaphore_->AcquirePermit(absl::Seconds(1));
    const std::optional<Permit> none = semaphore_->TryAcquirePermit();
    first.reset();
    const std::optional<Permit> other = other_->TryAcquirePermit();
    second = std::nullopt;
  };
  Sweep(crash);
}

// Others have changed the count, and it is they whose record it names.
TEST_F(SemaphoreCrashTest, WhatAnotherHasStaysItsOwn) {
  CrashCase crash = Case("a permit beside another's", 3);
  crash.operation = [this] { const Permit permit = semaphore_->AcquirePermit(); };
  crash.sleeper = [this] {
    const Permit permit = semaphore_->AcquirePermit();
    gate_->Wait();
  };
  crash.check = [this]() -> std::string {
    Settle();
    std::string wrong = HasExactly(*semaphore_, 2);
    gate_->Open();
    return wrong;
  };
  Sweep(crash);
}

TEST_F(SemaphoreCrashTest, WhoSleepsIsWokenWhoeverDies) {
  CrashCase crash = Case("the release of a permit with a sleeper", 1);
  crash.prepare = [this] {
    TouchAll();
    held_.push_back(semaphore_->AcquirePermit());
  };
  crash.operation = [this] { held_.back().Release(); };
  crash.sleeper = [this] { AcquireAndTell(); };
  crash.check = [this] {
    Settle();
    done_->Wait();
    return AllIsBack(1);
  };
  Sweep(crash);
}

TEST_F(SemaphoreCrashTest, WhoSleepsIsWokenByTheReleaseOfOneWhoDies) {
  CrashCase crash = Case("a release with a sleeper", 0);
  crash.operation = [this] {
    progress_->progress = kReleasing;
    semaphore_->Release();
    progress_->progress = kReleased;
  };
  crash.sleeper = [this] {
    semaphore_->Acquire();
    done_->Open();
  };
  crash.check = [this]() -> std::string {
    Settle();
    // What has been released wakes the sleeper without this.
    const int released = semaphore_->GetValue() == 0 && !done_->IsOpen() ? 1 : 0;
    if (released != 0) semaphore_->Release();
    done_->Wait();
    const int by_victim = semaphore_->GetValue() + 1 - released;
    if (by_victim < (progress_->progress == kReleased ? 1 : 0) ||
        by_victim > (progress_->progress == kNothing ? 0 : 1)) {
      return absl::StrCat("released ", by_victim, " times at progress ", progress_->progress);
    }
    return HasExactly(*semaphore_, semaphore_->GetValue());
  };
  // Whom a dead one did not come to wake may sleep on for a nap.
  CrashOptions options;
  options.quiet = std::chrono::seconds(2);
  Sweep(crash, /*sleeps=*/false, options);
}

TEST_F(SemaphoreCrashTest, AVictimThatHadToWaitIsSafe) {
  for (const bool timed : {false, true}) {
    CrashCase crash = Case(timed ? "a timed wait for a permit" : "a wait for a permit", 1);
    crash.operation = [this, timed] {
      const std::optional<Permit> permit =
          semaphore_->AcquirePermit(timed ? absl::Hours(1) : absl::InfiniteDuration());
    };
    // Has it until the victim sleeps.
    crash.sleeper = [this] {
      {
        const Permit permit = semaphore_->AcquirePermit();
        gate_->Wait();
      }
      done_->Open();
    };
    crash.unblock = [this] { gate_->Open(); };
    crash.check = [this] {
      done_->Wait();
      return AllIsBack(1);
    };
    Sweep(crash, /*sleeps=*/true);
  }
}

// The victim is the one that a release wakes, and the sleeper the one behind it.
TEST_F(SemaphoreCrashTest, WhoQueuesBehindADeadWaiterIsWoken) {
  for (const int value : {1, 2}) {
    CrashCase crash = Case(absl::StrCat("a sleeper behind, permits: ", value), value);
    crash.set_up = [this, value] {
      SetUpPoint(value);
      for (int i = 0; i < value; ++i) held_.push_back(semaphore_->AcquirePermit());
    };
    crash.operation = [this] { const Permit permit = semaphore_->AcquirePermit(); };
    crash.sleeper = [this] { AcquireAndTell(); };
    crash.sleeper_queues_behind = true;
    // The first of two clears the mark, so only it wakes.
    crash.unblock = [this] { held_.clear(); };
    // The sleeper, if there is one, may have it yet.
    crash.check = [this, value]() -> std::string {
      Settle();
      std::vector<Permit> permits;
      for (int i = 0; i < value; ++i) permits.push_back(semaphore_->AcquirePermit());
      if (semaphore_->TryAcquirePermit().has_value()) return "one more than there are";
      return "";
    };
    Sweep(crash, /*sleeps=*/true);
  }
}

TEST_F(SemaphoreCrashTest, ATimeoutIsSafe) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = Case("a wait that times out", 0);
  absl::Duration timeout = absl::Milliseconds(50);
  // Or it would be the spin that is killed: it is most of the instructions.
  crash.prepare = [] {
    TouchAll();
    testing::SpunInVain();
  };
  crash.operation = [this, &timeout] { static_cast<void>(semaphore_->AcquirePermit(timeout)); };
  CrashOptions options;
  options.sample = std::min(options.sample, size_t{20});  // each takes its time
  CrashReport report = RunCrashSweep(crash, options);
  // On a busy machine the time is over before a victim that is stepped gets to its sleep.
  while (report.Clean() && report.sleeps == 0 && timeout < absl::Minutes(1)) {
    timeout *= 4;
    report = RunCrashSweep(crash, options);
  }
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_GT(report.sleeps, 0u);
}

class PermitsCrashTest : public SemaphoreCrashTest {};

TEST_F(PermitsCrashTest, TheBurialOfAPermitMayBeInterrupted) {
  // Or the sleeper, when its first nap is over, buries the dead before the victim does.
  const testing::HeldDuty duty;
  for (const bool whole : {false, true}) {
    const Inherited<uint64_t> dead;
    CrashCase crash = Case(whole ? "a burial" : "the burial of permits", 2);
    crash.set_up = [&] {
      SetUpPoint(2);
      const Inherited<Gate> has_them;
      const pid_t pid = ForkMortal([&] {
        *dead = Domain::Current()->ThisProcess().identity();
        const Permit first = semaphore_->AcquirePermit();
        const Permit second = semaphore_->AcquirePermit();
        const Permit other = other_->AcquirePermit();
        has_them->Open();
        Inherited<Gate>()->Wait();  // for the end
      });
      has_them->Wait();
      KillAndReap(pid);
    };
    crash.operation = [&] {
      Domain& domain = *Domain::Current();
      if (whole) {
        domain.Bury(*dead);
      } else {
        internal::GiveBackHoldsOf(*dead, /*pid=*/0, domain.holds());
      }
    };
    crash.sleeper = [this] { AcquireAndTell(); };
    crash.check = [this] {
      // First the undertaker, then whom it had begun to bury.
      Settle();
      Settle();
      done_->Wait();
      return AllIsBack(2);
    };
    CrashOptions options;
    // A whole one is long: every instruction of it would take hours.
    if (whole) options.sample = options.sample == 0 ? 1000 : options.sample / 2;
    Sweep(crash, /*sleeps=*/false, options);
  }
}

// The last one, since the burial of permits looks at all that have memory. All records that there
// are belong to this process: the victim's takes a page, and a chunk of it.
TEST_F(PermitsCrashTest, TheFirstRecordLeavesNothing) {
  constexpr int kValue = 1'000'000;
  constexpr int kRecordsInAPage = 160;
  const internal::HoldTable& table = (*Domain::Get())->holds();
  const Semaphore many(kValue);
  std::vector<Permit> all;
  CrashCase crash = Case("the first record of a process", 1);
  crash.set_up = [&] {
    SetUpPoint(1);
    const size_t before = table.CommittedBytes();
    while (table.CommittedBytes() == before) all.push_back(many.AcquirePermit());
    for (int i = 1; i < kRecordsInAPage; ++i) all.push_back(many.AcquirePermit());
    ASSERT_EQ(table.CommittedBytes(), before + 4096);
  };
  crash.prepare = [] {};
  crash.operation = [this] { const Permit permit = semaphore_->AcquirePermit(); };
  crash.check = [&]() -> std::string {
    const size_t before = table.CommittedBytes();
    std::string wrong = AllIsBack(1);
    if (!wrong.empty()) return wrong;
    if (many.GetValue() != kValue - static_cast<int>(all.size())) return "another's came back";
    return table.CommittedBytes() <= before + 4096 ? "" : "what is free is not found";
  };
  CrashOptions options;
  options.sample = options.sample == 0 ? 400 : options.sample;  // each takes a page for good
  const CrashReport report = RunCrashSweep(crash, options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp
