// A process is killed at every instruction of a fork, and of a burial.

#include <gtest/gtest.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/inherited.h"
#include "tests/support/patience.h"
#include "tests/support/tracer.h"

namespace mp {
namespace {

using internal::Evidence;
using internal::ProcessId;
using internal::ProcessTable;
using Kind = ProcessTable::Kind;
using testing::CrashCase;
using testing::CrashReport;
using testing::ForkMortal;
using testing::Inherited;
using testing::Patience;
using testing::RunCrashSweep;
using testing::Victim;

size_t Processes() { return testing::AllIds().size(); }

class ProcessTableCrashTest : public ::testing::Test {
 protected:
  ProcessTableCrashTest() : domain_(**Domain::Get()) {
    // What watches this test has no slot: it has to have started before any that is claimed.
    for (const clock_t start = times(nullptr); times(nullptr) < start + 2;) {
    }
  }

  // Whoever is left finds all that is dead, and nothing remains of it.
  std::string CheckThatNothingIsLeft() {
    if (const absl::Status status = Check(); !status.ok()) return status.ToString();
    // The test and this process. A child of the victim's ends by itself, at some time.
    while (Processes() > 2) {
      domain_.BuryTheDead(Evidence::kThorough);
      std::this_thread::yield();
    }
    if (const absl::Status status = Check(); !status.ok()) return status.ToString();
    const DomainStats stats = Stats();
    if (stats.in_use == *before_) return "";
    return absl::StrCat("not given back: ", stats.in_use - *before_, " bytes; ", stats.ToString());
  }

  void Sweep(CrashCase crash) {
    crash.set_up = [this] {
      domain_.BuryTheDead(Evidence::kThorough);
      *before_ = Stats().in_use;
    };
    if (!crash.check) crash.check = [this] { return CheckThatNothingIsLeft(); };
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  ProcessTable& table() { return domain_.processes(); }

  Domain& domain_;
  Inherited<size_t> before_;
  Inherited<ProcessId> self_;
  Inherited<ProcessId> dead_;
};

TEST_F(ProcessTableCrashTest, AForkLeavesNothing) {
  CrashCase crash;
  crash.name = "fork";
  auto fork_one = [] {
    if (fork() == 0) _exit(0);
  };
  crash.prepare = fork_one;
  crash.operation = fork_one;
  Sweep(crash);
}

TEST_F(ProcessTableCrashTest, TheFirstUseOfTheHeapLeavesNothing) {
  CrashCase crash;
  crash.name = "first use";
  crash.operation = [this] { (void)domain_.Allocate(8000); };
  Sweep(crash);
}

TEST_F(ProcessTableCrashTest, AnUndertakerMayDieToo) {
  CrashCase crash;
  crash.name = "burial";
  crash.prepare = [this] {
    const pid_t pid = fork();
    if (pid == 0) {
      for (const size_t size : {8000, 100'000}) (void)domain_.Allocate(size);
      _exit(0);
    }
    waitpid(pid, nullptr, 0);
  };
  crash.operation = [this] { domain_.BuryTheDead(Evidence::kQuick); };
  Sweep(crash);
}

// It was about to fork, and had begun to bury another.
TEST_F(ProcessTableCrashTest, WhatTheDeadHadBegunSurvivesTheUndertaker) {
  CrashCase crash;
  crash.name = "burial of one that had begun something";
  crash.prepare = [this] {
    const pid_t other = ForkMortal([] {});
    const ProcessId id = Domain::LastForked();
    waitpid(other, nullptr, 0);
    const pid_t pid = ForkMortal([&] {
      const ProcessId self = domain_.AsHolder().identity();
      table().SetFlag(self, ProcessTable::kActed);
      if (!table().ClaimForChild(self).ok()) _exit(1);
      table().DeclareDead(id, Kind::kLive);
      if (!table().BeginBurial(id, self)) _exit(1);
    });
    *dead_ = Domain::LastForked();
    waitpid(pid, nullptr, 0);
  };
  crash.operation = [this] { domain_.Bury(*dead_); };
  Sweep(crash);
}

TEST_F(ProcessTableCrashTest, ABurialThatIsPutOffIsLeftToOthers) {
  CrashCase crash;
  crash.name = "burial that is put off";
  crash.prepare = [this] {
    const pid_t pid = ForkMortal([this] { (void)domain_.Allocate(8000); });
    *dead_ = Domain::LastForked();
    waitpid(pid, nullptr, 0);
    const ProcessId self = domain_.ThisProcess().identity();
    table().SetFlag(self, ProcessTable::kActed);
    table().DeclareDead(*dead_, Kind::kLive);
    if (!table().BeginBurial(*dead_, self)) _exit(1);
  };
  crash.operation = [this] { table().PutOffBurial(*dead_); };
  Sweep(crash);
}

TEST_F(ProcessTableCrashTest, AForkThatFailsLeavesNothing) {
  CrashCase crash;
  crash.name = "fork that fails";
  crash.prepare = [this] {
    *self_ = domain_.ThisProcess().identity();
    table().SetFlag(*self_, ProcessTable::kActed);
  };
  // As the fork handlers do it, without the long look at all processes.
  crash.operation = [this] {
    const absl::StatusOr<ProcessId> id = table().ClaimForChild(*self_);
    if (id.ok()) table().ChildNotForked(*id);
  };
  Sweep(crash);
}

// Not killed, but overtaken, at each instruction: by one whose objects are the newer ones.
TEST_F(ProcessTableCrashTest, AForkWithoutASlotForgetsNoOther) {
  Patience patience;
  bool at_end = false;
  for (size_t steps = 0; !at_end; ++steps) {
    Victim victim(
        patience, [] {}, [this] { table().NoteForkWithoutSlot(); });
    ASSERT_TRUE(victim.alive());
    for (size_t i = 0; i < steps && !at_end; ++i) at_end = victim.Step() == Victim::Stop::kAtEnd;
    const uint64_t made = table().Clock();
    table().NoteForkWithoutSlot();
    if (!at_end) {
      ASSERT_EQ(victim.RunToEnd(), Victim::Stop::kAtEnd);
    }
    victim.Finish();
    ASSERT_TRUE(table().MayBeUnknown(made)) << "after " << steps << " instructions";
  }
}

TEST_F(ProcessTableCrashTest, ANameIsThereOrNot) {
  constexpr char kName[] = "a name that takes more than one of the words";
  CrashCase crash;
  crash.name = "name";
  crash.prepare = [this] { *self_ = domain_.ThisProcess().identity(); };
  crash.operation = [&] { table().SetName(*self_, kName); };
  crash.check = [&]() -> std::string {
    const std::string name = table().Find(*self_).name;
    if (!name.empty() && name != kName) return absl::StrCat("its name is \"", name, "\"");
    return CheckThatNothingIsLeft();
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
