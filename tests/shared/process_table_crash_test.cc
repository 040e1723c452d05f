// A process is killed at every instruction of a fork, and of a burial.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/proof_of_death.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using internal::Evidence;
using testing::CrashCase;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;

size_t Processes() { return testing::AllIds().size(); }

class ProcessTableCrashTest : public ::testing::Test {
 protected:
  ProcessTableCrashTest() : domain_(**Domain::Get()) {}

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
    crash.check = [this] { return CheckThatNothingIsLeft(); };
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  Domain& domain_;
  Inherited<size_t> before_;
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

}  // namespace
}  // namespace mp
