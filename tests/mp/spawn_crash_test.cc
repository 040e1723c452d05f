// A process is killed at every instruction of a start that is no fork.

#include <gtest/gtest.h>
#include <sys/times.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "mp/process.h"
#include "mp/start_method.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/proof_of_death.h"
#include "shared/raw_value.h"
#include "tests/mp/start_methods.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::kSanitized;
using testing::RunCrashSweep;

class SpawnCrashTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  SpawnCrashTest() : domain_(**Domain::Get()) {
    // What watches this test has no slot: it has to have started before any that is claimed.
    for (const clock_t start = times(nullptr); times(nullptr) < start + 2;) {
    }
  }

  // Whoever is left finds all that is dead, the victim, and what it had started, which ends by
  // itself at some time.
  std::string CheckThatNobodyIsLeft() {
    while (testing::AllIds().size() > 2) {
      domain_.BuryTheDead(internal::Evidence::kThorough);
      std::this_thread::yield();
    }
    const absl::Status status = Check();
    return status.ok() ? "" : status.ToString();
  }

  // Not by who checks, which may itself have inherited what the victim had given others: by the
  // time it was born nobody can tell.
  void ExpectNothingIsLeft() {
    testing::SettleUntilAlone();
    const DomainStats stats = Stats();
    if (!before_.has_value()) before_ = stats.in_use;
    EXPECT_EQ(stats.in_use, *before_) << stats.ToString();
  }

  Domain& domain_;
  std::optional<size_t> before_;
};

INSTANTIATE_TEST_SUITE_P(All, SpawnCrashTest, testing::StartMethodsButFork(),
                         testing::StartMethodName);

TEST_P(SpawnCrashTest, AStartLeavesNothing) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer makes millions of instructions of it";
  Process child;
  auto make_one = [&] {
    child = Process(
        {.start_method = GetParam()}, [](const RawValue<int>& number) { return *number; },
        RawValue<int>(3));
  };
  CrashCase crash;
  crash.name = "start";
  crash.set_up = [this] { ExpectNothingIsLeft(); };
  crash.prepare = [&] {
    make_one();
    if (child.Start().ok()) child.Join();
    make_one();
  };
  crash.operation = [&] { static_cast<void>(child.Start()); };
  crash.check = [this] { return CheckThatNobodyIsLeft(); };
  CrashOptions options;
  options.sample = std::min(options.sample, size_t{60});  // each starts programs
  const CrashReport report = RunCrashSweep(crash, options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  ExpectNothingIsLeft();
}

}  // namespace
}  // namespace mp
