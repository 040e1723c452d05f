// A process is killed at every instruction of what can be done with a semaphore, and with the
// records of its permits.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
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
#include "tests/support/listed.h"
#include "tests/support/look.h"
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
template <typename S>
std::string HasExactly(const S& semaphore, int value) {
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

// Which succeeds.
template <typename S>
void Release(const S& semaphore, int count = 1) {
  if constexpr (std::same_as<S, BoundedSemaphore>) {
    const absl::Status status = semaphore.Release(count);
    if (!status.ok()) abort();
  } else {
    semaphore.Release(count);
  }
}

template <typename S>
class SemaphoreCrashTest : public ::testing::Test {
 protected:
  ~SemaphoreCrashTest() override { EndOthers(); }

  // With `value` permits, and as many more as are `acquired`.
  void SetUpPoint(int value, int acquired = 0) {
    held_.clear();
    EndOthers();
    // Or the next victim, where it waits, buries the last one on the way.
    Settle();
    // The first lane of the domain takes more than the next; so does the first record.
    internal::LaneForNotes();
    semaphore_.emplace(value + acquired);
    for (int i = 0; i < acquired; ++i) semaphore_->Acquire();
    other_.emplace(1);
    progress_->progress = kNothing;
    gate_->Close();
    done_->Close();
    static_cast<void>(semaphore_->TryAcquirePermit());
  }
  CrashCase Case(const std::string& name, int value, int acquired = 0) {
    CrashCase crash;
    crash.name = (std::same_as<S, Semaphore> ? "semaphore: " : "bounded semaphore: ") + name;
    crash.set_up = [this, value, acquired] { SetUpPoint(value, acquired); };
    crash.prepare = [] { TouchAll(); };
    crash.check = [this, value] { return AllIsBack(value); };
    return crash;
  }
  // So that nothing in the operation happens for the first time.
  static void TouchAll() {
    const S own(7);
    for (int i = 0; i < 6; ++i) own.Acquire();
    static_cast<void>(own.TryAcquire());
    Release(own, 5);
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
  void AnotherHasItUntilTheVictimSleeps(CrashCase& crash) {
    crash.sleeper = [this] {
      {
        const Permit permit = semaphore_->AcquirePermit();
        gate_->Wait();
      }
      done_->Open();
    };
    crash.unblock = [this] { gate_->Open(); };
  }
  // One more that sleeps; at most until the next point.
  void StartOther(const std::function<void()>& body) {
    others_.push_back(ForkMortal(body));
    ASSERT_TRUE(testing::WaitUntilAsleepInFutex(others_.back()));
  }
  void EndOthers() {
    for (const pid_t pid : others_) KillAndReap(pid);
    others_.clear();
  }
  // "" or what is wrong with how many are left, where the victim has acquired and released what
  // nobody gives back: of `value` that there are.
  std::string HasAsFarAsItCame(int value) const {
    const int left = semaphore_->GetValue();
    const int progress = progress_->progress;
    const bool may_be_out =
        progress == kAcquiring || progress == kAcquired || progress == kReleasing;
    const bool may_be_in = progress != kAcquired;
    if (left == value - 1 ? !may_be_out : left != value || !may_be_in) {
      return absl::StrCat(left, " are left at progress ", progress);
    }
    return HasExactly(*semaphore_, left);
  }
  // acquire(), and the release of that, with its progress.
  template <typename Acquire>
  void AcquireAndRelease(const Acquire& acquire) {
    progress_->progress = kAcquiring;
    acquire();
    progress_->progress = kAcquired;
    progress_->progress = kReleasing;
    Release(*semaphore_);
    progress_->progress = kReleased;
  }
  static void Sweep(const CrashCase& crash, bool sleeps = false, const CrashOptions& options = {}) {
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    if (sleeps) {
      EXPECT_GT(report.sleeps, 0u);
    }
  }

  std::optional<S> semaphore_;
  std::optional<S> other_;
  std::vector<Permit> held_;  // the victim's, or this process's
  Inherited<Gate> gate_;
  Inherited<Gate> done_;
  Inherited<Seen> progress_;
  std::vector<pid_t> others_;
};
class SemaphoreNames {
 public:
  template <typename S>
  static std::string GetName(int) {
    return std::same_as<S, Semaphore> ? "Semaphore" : "BoundedSemaphore";
  }
};
using Semaphores = ::testing::Types<Semaphore, BoundedSemaphore>;
TYPED_TEST_SUITE(SemaphoreCrashTest, Semaphores, SemaphoreNames);

TYPED_TEST(SemaphoreCrashTest, AcquireAndRelease) {
  for (const int way : {0, 1, 2}) {
    constexpr int kValue = 2;
    CrashCase crash = this->Case(absl::StrCat("acquire and release, way ", way), kValue);
    crash.operation = [this, way] {
      this->AcquireAndRelease([this, way] {
        if (way == 0) {
          this->semaphore_->Acquire();
        } else if (way == 1) {
          static_cast<void>(this->semaphore_->TryAcquire());
        } else {
          static_cast<void>(this->semaphore_->Acquire(absl::Seconds(1)));
        }
      });
    };
    // Nobody's, so it does not come back.
    crash.check = [this] {
      Settle();
      return this->HasAsFarAsItCame(kValue);
    };
    this->Sweep(crash);
  }
}

TYPED_TEST(SemaphoreCrashTest, APermitOfTheDeadComesBackOnce) {
  CrashCase crash = this->Case("a permit", 2);
  crash.operation = [this] { this->semaphore_->AcquirePermit().Release(); };
  this->Sweep(crash);

  const testing::NoLookIsDue no_look;
  crash = this->Case("permits that are tried for, one of them held to the end", 2);
  crash.operation = [this] {
    std::optional<Permit> first = this->semaphore_->TryAcquirePermit();
    std::optional<Permit> second = this->semaphore_->AcquirePermit(absl::Seconds(1));
    const std::optional<Permit> none = this->semaphore_->TryAcquirePermit();
    first.reset();
    const std::optional<Permit> other = this->other_->TryAcquirePermit();
    second = std::nullopt;
  };
  this->Sweep(crash);
}

// Others have changed the count, and it is they whose record it names.
TYPED_TEST(SemaphoreCrashTest, WhatAnotherHasStaysItsOwn) {
  CrashCase crash = this->Case("a permit beside another's", 3);
  crash.operation = [this] { const Permit permit = this->semaphore_->AcquirePermit(); };
  crash.sleeper = [this] {
    const Permit permit = this->semaphore_->AcquirePermit();
    this->gate_->Wait();
  };
  crash.check = [this]() -> std::string {
    Settle();
    std::string wrong = HasExactly(*this->semaphore_, 2);
    this->gate_->Open();
    return wrong;
  };
  this->Sweep(crash);
}

TYPED_TEST(SemaphoreCrashTest, WhoSleepsIsWokenWhoeverDies) {
  CrashCase crash = this->Case("the release of a permit with a sleeper", 1);
  crash.prepare = [this] {
    this->TouchAll();
    this->held_.push_back(this->semaphore_->AcquirePermit());
  };
  crash.operation = [this] { this->held_.back().Release(); };
  crash.sleeper = [this] { this->AcquireAndTell(); };
  crash.check = [this] {
    Settle();
    this->done_->Wait();
    return this->AllIsBack(1);
  };
  this->Sweep(crash);
}

// The victim releases one, or several that as many sleep for.
TYPED_TEST(SemaphoreCrashTest, WhoSleepsIsWokenByTheReleaseOfOneWhoDies) {
  for (const int count : {1, 3}) {
    const Inherited<std::atomic<int>> gone(0);
    CrashCase crash = this->Case(absl::StrCat("a release with sleepers: ", count), 0, count);
    const auto sleeper = [this, count, &gone] {
      this->semaphore_->Acquire();
      if (gone->fetch_add(1) + 1 == count) this->done_->Open();
    };
    crash.set_up = [this, count, &gone, sleeper] {
      this->SetUpPoint(0, count);
      gone->store(0);
      for (int i = 1; i < count; ++i) this->StartOther(sleeper);
    };
    crash.operation = [this, count] {
      this->progress_->progress = kReleasing;
      Release(*this->semaphore_, count);
      this->progress_->progress = kReleased;
    };
    crash.sleeper = sleeper;
    crash.check = [this, count, &gone]() -> std::string {
      Settle();
      // What has been released wakes the sleepers without this.
      const bool none = this->semaphore_->GetValue() == 0 && gone->load() == 0;
      const int released = none ? count : 0;
      if (none) Release(*this->semaphore_, count);
      this->done_->Wait();
      const int left = this->semaphore_->GetValue();
      const int by_victim = left + count - released;
      const int progress = this->progress_->progress;
      const bool may_be =
          by_victim == 0 ? progress != kReleased : by_victim == count && progress != kNothing;
      if (!may_be) {
        return absl::StrCat("released ", by_victim, " at progress ", progress);
      }
      return HasExactly(*this->semaphore_, left);
    };
    // Whom a dead one did not come to wake may sleep on for a nap.
    CrashOptions options;
    options.quiet = std::chrono::seconds(2);
    this->Sweep(crash, /*sleeps=*/false, options);
  }
}

TYPED_TEST(SemaphoreCrashTest, AVictimThatHadToWaitIsSafe) {
  for (const bool timed : {false, true}) {
    CrashCase crash = this->Case(timed ? "a timed wait for a permit" : "a wait for a permit", 1);
    crash.operation = [this, timed] {
      const std::optional<Permit> permit =
          this->semaphore_->AcquirePermit(timed ? absl::Hours(1) : absl::InfiniteDuration());
    };
    this->AnotherHasItUntilTheVictimSleeps(crash);
    crash.check = [this] {
      this->done_->Wait();
      return this->AllIsBack(1);
    };
    this->Sweep(crash, /*sleeps=*/true);
  }
}

TYPED_TEST(SemaphoreCrashTest, AVictimThatHadToWaitForWhatIsNobodysIsSafe) {
  for (const bool timed : {false, true}) {
    CrashCase crash = this->Case(timed ? "a timed wait for one" : "a wait for one", 1);
    // Or it would be the spin that is killed: it is most of the instructions.
    crash.prepare = [this] {
      this->TouchAll();
      testing::SpunInVain();
    };
    crash.operation = [this, timed] {
      this->AcquireAndRelease([this, timed] {
        if (timed) {
          static_cast<void>(this->semaphore_->Acquire(absl::Hours(1)));
        } else {
          this->semaphore_->Acquire();
        }
      });
    };
    this->AnotherHasItUntilTheVictimSleeps(crash);
    crash.check = [this] {
      this->done_->Wait();
      Settle();
      return this->HasAsFarAsItCame(1);
    };
    this->Sweep(crash, /*sleeps=*/true);
  }
}

// The victim is the one that a release wakes, and the sleeper the one behind it.
TYPED_TEST(SemaphoreCrashTest, WhoQueuesBehindADeadWaiterIsWoken) {
  for (const int value : {1, 2}) {
    CrashCase crash = this->Case(absl::StrCat("a sleeper behind, permits: ", value), value);
    crash.set_up = [this, value] {
      this->SetUpPoint(value);
      for (int i = 0; i < value; ++i) this->held_.push_back(this->semaphore_->AcquirePermit());
    };
    crash.operation = [this] { const Permit permit = this->semaphore_->AcquirePermit(); };
    crash.sleeper = [this] { this->AcquireAndTell(); };
    crash.sleeper_queues_behind = true;
    // The first of two clears the mark, so only it wakes.
    crash.unblock = [this] { this->held_.clear(); };
    // The sleeper, if there is one, may have it yet.
    crash.check = [this, value]() -> std::string {
      Settle();
      std::vector<Permit> permits;
      for (int i = 0; i < value; ++i) permits.push_back(this->semaphore_->AcquirePermit());
      if (this->semaphore_->TryAcquirePermit().has_value()) return "one more than there are";
      return "";
    };
    this->Sweep(crash, /*sleeps=*/true);
  }
}

TYPED_TEST(SemaphoreCrashTest, ATimeoutIsSafe) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = this->Case("a wait that times out", 0, 1);
  absl::Duration timeout = absl::Milliseconds(50);
  // Or it would be the spin that is killed: it is most of the instructions.
  crash.prepare = [this] {
    this->TouchAll();
    testing::SpunInVain();
  };
  crash.operation = [this, &timeout] {
    static_cast<void>(this->semaphore_->AcquirePermit(timeout));
  };
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

TYPED_TEST(SemaphoreCrashTest, TheMakingAndTheEndOfOneLeaveNothing) {
  CrashCase crash = this->Case("make and drop", 1);
  crash.prepare = [] { const TypeParam own(1, {.name = "touched"}); };
  crash.operation = [] { const TypeParam own(1, {.name = "own"}); };
  crash.check = [this]() -> std::string {
    std::string wrong = this->AllIsBack(1);
    if (!wrong.empty()) return wrong;
    return testing::Listed("own").has_value() ? "it is there still" : "";
  };
  this->Sweep(crash);
}

class PermitsCrashTest : public SemaphoreCrashTest<Semaphore> {};

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
