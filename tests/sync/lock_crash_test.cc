// A process is killed at every instruction of what can be done with a lock.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/no_look_is_due.h"
#include "tests/support/spun_in_vain.h"
#include "tests/sync/lock_types.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::KillAndReap;
using testing::LockNames;
using testing::Locks;
using testing::RunCrashSweep;

// What the lock guards, and how far the victim came.
struct Data {
  volatile int64_t first = 0;  // equal to `second`, except within a Change()
  volatile int64_t second = 0;
  volatile bool held = false;  // between Acquire() and Release()

  bool Torn() const { return first != second; }
};

template <typename L>
class LockCrashTest : public ::testing::Test {
 protected:
  void SetUpPoint() {
    // Or the next victim, where it waits, buries the last one on the way.
    testing::Settle();
    // The first lane of the domain takes more than the next.
    internal::LaneForNotes();
    lock_.emplace();
    data_->first = 0;
    data_->second = 0;
    data_->held = false;
    gate_->Close();
  }
  void Change() {
    data_->held = true;
    data_->first = data_->first + 1;
    data_->second = data_->second + 1;
    data_->held = false;
  }
  // By whoever holds the lock.
  void Repair() {
    if (!lock_->owner_died()) return;
    data_->second = data_->first;
    data_->held = false;
    lock_->MarkConsistent();
  }
  std::string Check() {
    lock_->Acquire();
    const bool died = lock_->owner_died();
    if (!died && data_->Torn()) return "torn, and nobody was told";
    if (!died && data_->held) return "the holder's death was not told";
    Repair();
    if (lock_->owner_died()) return "still told after the repair";
    lock_->Release();
    if (lock_->Locked()) return "locked after the release";
    if (!lock_->Acquire(absl::Milliseconds(1))) return "not to be had in time";
    if (lock_->owner_died()) return "told again after the repair";
    lock_->Release();
    const absl::Status status = mp::Check();
    return std::string(status.message());
  }

  CrashCase Case(const std::string& name) {
    CrashCase crash;
    crash.name = std::string(LockNames::kName<L>) + ": " + name;
    crash.set_up = [this] { SetUpPoint(); };
    crash.prepare = [this] { TouchAll(); };
    crash.check = [this] { return Check(); };
    return crash;
  }
  // So that nothing in the operation happens for the first time.
  void TouchAll() {
    const L own;
    own.Acquire();
    (void)own.owner_died();
    own.MarkConsistent();
    own.Release();
    (void)own.Acquire(absl::Seconds(1));
    own.Release();
  }

  std::optional<L> lock_;
  Inherited<Data> data_;
  Inherited<Gate> gate_;
};

TYPED_TEST_SUITE(LockCrashTest, Locks, LockNames);

TYPED_TEST(LockCrashTest, NextHolderLearnsThatOwnerDied) {
  CrashCase crash = this->Case("acquire, change, release");
  crash.operation = [this] {
    this->lock_->Acquire();
    this->Change();
    this->lock_->Release();
  };
  const CrashReport report = RunCrashSweep(crash);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TYPED_TEST(LockCrashTest, EachWayToAcquireIsSafe) {
  CrashCase crash = this->Case("try and timed acquire");
  crash.operation = [this] {
    (void)this->lock_->TryAcquire();
    this->Change();
    this->lock_->Release();
    (void)this->lock_->Acquire(absl::Seconds(1));
    this->Change();
    this->lock_->Release();
  };
  const CrashReport report = RunCrashSweep(crash);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TYPED_TEST(LockCrashTest, ASleeperIsWokenByTheReleaseOrByTheDeath) {
  CrashCase crash = this->Case("release with a sleeper");
  crash.prepare = [this] {
    this->TouchAll();
    this->lock_->Acquire();
  };
  crash.operation = [this] {
    this->Change();
    this->lock_->Release();
  };
  crash.sleeper = [this] {
    this->lock_->Acquire();
    this->Repair();
    this->lock_->Release();
  };
  const CrashReport report = RunCrashSweep(crash);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TYPED_TEST(LockCrashTest, AVictimThatHadToWaitIsSafe) {
  for (const bool timed : {false, true}) {
    CrashCase crash = this->Case(timed ? "contended timed acquire" : "contended acquire");
    crash.operation = [this, timed] {
      if (timed) {
        (void)this->lock_->Acquire(absl::Hours(1));
      } else {
        this->lock_->Acquire();
      }
      this->Change();
      this->lock_->Release();
    };
    // Holds the lock until the victim sleeps.
    crash.sleeper = [this] {
      this->lock_->Acquire();
      this->gate_->Wait();
      this->lock_->Release();
    };
    crash.unblock = [this] { this->gate_->Open(); };
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    EXPECT_GT(report.sleeps, 0u);
  }
}

TYPED_TEST(LockCrashTest, WhoQueuesBehindADeadWaiterIsWoken) {
  CrashCase crash = this->Case("contended acquire, a sleeper behind");
  // The sweep's own process holds it until the victim sleeps.
  bool held = false;
  crash.set_up = [&] {
    if (held) this->lock_->Release();
    this->SetUpPoint();
    this->lock_->Acquire();
    held = true;
  };
  crash.operation = [this] {
    this->lock_->Acquire();
    this->Change();
    this->lock_->Release();
  };
  crash.sleeper = [this] {
    this->lock_->Acquire();
    this->Repair();
    this->lock_->Release();
  };
  crash.sleeper_queues_behind = true;
  crash.unblock = [&] {
    if (held) this->lock_->Release();
    held = false;
  };
  const CrashReport report = RunCrashSweep(crash);
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_GT(report.sleeps, 0u);
}

TYPED_TEST(LockCrashTest, ATimeoutIsSafe) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = this->Case("acquire that times out");
  absl::Duration timeout = absl::Milliseconds(50);
  // Or it would be the spin that is killed: it is most of the instructions.
  crash.prepare = [this] {
    this->TouchAll();
    testing::SpunInVain();
  };
  crash.operation = [this, &timeout] { (void)this->lock_->Acquire(timeout); };
  crash.sleeper = [this] {
    this->lock_->Acquire();
    this->gate_->Wait();
    this->lock_->Release();
  };
  // The gate is opened when the sweep has judged the victim; until then it times out.
  crash.check = [this] {
    this->gate_->Open();
    return this->Check();
  };
  CrashOptions options;
  options.sample = std::min(options.sample, size_t{60});  // each takes its time
  CrashReport report = RunCrashSweep(crash, options);
  // On a busy machine the time is over before a victim that is stepped gets to its sleep.
  while (report.Clean() && report.sleeps == 0 && timeout < absl::Seconds(10)) {
    timeout *= 4;
    report = RunCrashSweep(crash, options);
  }
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_GT(report.sleeps, 0u);
}

TYPED_TEST(LockCrashTest, ARepairerThatDiesIsToldToo) {
  CrashCase crash = this->Case("repair");
  crash.set_up = [this] {
    this->SetUpPoint();
    Inherited<Gate> torn;
    const pid_t pid = ForkMortal([&] {
      this->lock_->Acquire();
      this->data_->held = true;
      this->data_->first = 1;
      torn->Open();
      Inherited<Gate>()->Wait();  // for the end
    });
    torn->Wait();
    KillAndReap(pid);
  };
  crash.operation = [this] {
    this->lock_->Acquire();
    this->Repair();
    this->lock_->Release();
  };
  const CrashReport report = RunCrashSweep(crash);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(RLockCrashTest, EachLevelIsSafe) {
  std::optional<RLock> lock;
  Inherited<Data> data;
  CrashCase crash;
  crash.name = "RLock: acquire twice, change, release twice";
  crash.set_up = [&] {
    lock.emplace();
    data->first = 0;
    data->second = 0;
  };
  crash.prepare = [&] {
    const RLock own;
    own.Acquire();
    own.Release();
  };
  crash.operation = [&] {
    lock->Acquire();
    data->first = data->first + 1;
    lock->Acquire();
    data->second = data->second + 1;
    lock->Release();
    data->first = data->first + 1;
    data->second = data->second + 1;
    lock->Release();
  };
  crash.check = [&]() -> std::string {
    lock->Acquire();
    if (!lock->owner_died() && data->Torn()) return "torn, and nobody was told";
    lock->MarkConsistent();
    lock->Release();
    return lock->Locked() ? "at more than one level after a death" : "";
  };
  const CrashReport report = RunCrashSweep(crash);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp
