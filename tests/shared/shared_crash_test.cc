// A process is killed at every instruction while it changes or rebuilds a Shared.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Bury;
using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;
using testing::Stress;

using Numbers = std::vector<int64_t, Allocator<int64_t>>;

constexpr int64_t kNumber = 0x1234567890;

// A Shared<Numbers> and its lock; the numbers are all kNumber.
class SharedCrashTest : public ::testing::Test {
 protected:
  void SetUpPoint() {
    numbers_.emplace();
    lock_.emplace();
    *empty_ = Stats().in_use;
    for (int i = 0; i < 4; ++i) numbers_->get()->emplace_back(kNumber);
  }

  // By whoever gets the lock: the numbers are whole, or one is told and rebuilds them.
  std::string Check() {
    lock_->Acquire();
    if (lock_->owner_died()) {
      numbers_->Reset();
      lock_->MarkConsistent();
    }
    bool torn = false;
    for (const int64_t number : **numbers_) torn |= number != kNumber;
    numbers_->get()->emplace_back(kNumber);
    lock_->Release();
    if (torn) return "a torn number, and nobody was told";
    if (const absl::Status status = mp::Check(); !status.ok()) return status.ToString();
    numbers_->Reset();
    Bury(*victim_);
    if (const absl::Status status = mp::Check(); !status.ok()) return status.ToString();
    const DomainStats stats = Stats();
    if (stats.in_use == *empty_) return "";
    return absl::StrCat("not given back: ", stats.in_use - *empty_, " bytes; ", stats.ToString());
  }

  CrashCase Case(const std::string& name) {
    CrashCase crash;
    crash.name = name;
    crash.set_up = [this] { SetUpPoint(); };
    crash.prepare = [this] {
      *victim_ = Domain::Current()->ThisProcess().identity();
      Numbers own(4, kNumber);  // so that nothing happens for the first time
      own.emplace_back(kNumber);
      lock_->Acquire();
      lock_->Release();
    };
    crash.check = [this] { return Check(); };
    return crash;
  }

  std::optional<Shared<Numbers>> numbers_;
  std::optional<Lock> lock_;
  Inherited<uint64_t> victim_;
  Inherited<size_t> empty_;  // in use, with no numbers
};

// These are thousands of instructions, and searches that take other ways at each point.
CrashOptions Options(size_t most) {
  CrashOptions options;
  options.sample = Stress() ? 2000 : std::min(options.sample, most);
  return options;
}

TEST_F(SharedCrashTest, WhoeverComesAfterADeathWithinAChangeRebuilds) {
  CrashCase crash = Case("a Shared<vector> grows under its lock");
  crash.operation = [this] {
    lock_->Acquire();
    numbers_->get()->emplace_back(kNumber);  // a new buffer
    lock_->Release();
  };
  const CrashReport report = RunCrashSweep(crash, Options(200));
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST_F(SharedCrashTest, WhoeverComesAfterADeathWithinAResetResets) {
  CrashCase crash = Case("Reset under the lock");
  crash.operation = [this] {
    lock_->Acquire();
    numbers_->Reset(2, kNumber);
    lock_->Release();
  };
  const CrashReport report = RunCrashSweep(crash, Options(50));
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST_F(SharedCrashTest, AnObjectWhoseResetWasKilledCanBeDropped) {
  // The maker's last handle goes at the next point's set-up: that must do no harm.
  CrashCase crash = Case("Reset, and the maker drops the object");
  crash.operation = [this] { numbers_->Reset(2, kNumber); };
  crash.set_up = [this] {
    numbers_.reset();
    SetUpPoint();
  };
  crash.check = [] {
    const absl::Status status = mp::Check();
    return status.ok() ? "" : status.ToString();
  };
  const CrashReport report = RunCrashSweep(crash, Options(50));
  EXPECT_TRUE(report.Clean()) << report.Summary();
  const size_t in_use = Stats().in_use;
  numbers_.reset();
  lock_.reset();
  EXPECT_LT(Stats().in_use, in_use);
  EXPECT_EQ(mp::Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
