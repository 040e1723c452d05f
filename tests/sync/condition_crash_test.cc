// A process is killed at every instruction of what can be done with a condition.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "sync/condition.h"
#include "sync/lock.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
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
using testing::Gate;
using testing::Inherited;
using testing::Listed;
using testing::RunCrashSweep;

// Of each but the first, where it is a sample; there are many sweeps.
constexpr size_t kSampleOfManners = 20;

// How it is made, told and waited for.
struct Manner {
  std::string name;
  int notifies = 1;          // so many at once
  int others = 0;            // so many more sleep
  bool over_a_lock = false;  // one handed in
  int levels = 1;            // of its RLock, in which one waits
  bool by_predicate = false;
};

class ConditionCrashTest : public ::testing::Test {
 protected:
  ~ConditionCrashTest() override { EndOthers(); }

  void SetUpPoint() {
    EndOthers();
    testing::Settle();
    internal::LaneForNotes();
    if (manner_.over_a_lock) {
      condition_.emplace(Lock());
    } else {
      condition_.emplace();
    }
    *told_ = 0;
    gone_->store(0);
    others_gone_->Close();
    for (int i = 0; i < manner_.others; ++i) {
      others_.push_back(testing::ForkMortal([this] {
        AwaitTold();
        if (gone_->fetch_add(1) + 1 == manner_.others) others_gone_->Open();
      }));
      ASSERT_TRUE(testing::WaitUntilAsleepInFutex(others_.back()));
    }
  }
  void EndOthers() {
    for (const pid_t pid : others_) testing::KillAndReap(pid);
    others_.clear();
  }
  void TouchAll() {
    const Condition own;
    const LockGuard guard(own);
    static_cast<void>(own.Wait(absl::Microseconds(1)));
    own.NotifyAll();
    const Condition named({.name = "touched"});
  }
  // What a user does who finds the lock's holder dead.
  void Repair() {
    if (!condition_->owner_died()) return;
    condition_->MarkConsistent();
    *told_ = 1;
    condition_->NotifyAll();
  }
  void Tell() {
    const LockGuard guard(*condition_);
    Repair();
    *told_ = 1;
    Notify();
  }
  void Notify() {
    if (manner_.notifies == kAll) {
      condition_->NotifyAll();
    } else {
      condition_->Notify(manner_.notifies);
    }
  }
  void AwaitTold() {
    for (int level = 0; level < manner_.levels; ++level) condition_->Acquire();
    Repair();
    if (manner_.by_predicate) {
      condition_->WaitFor([this] {
        Repair();
        return *told_ != 0;
      });
    } else {
      while (*told_ == 0) {
        condition_->Wait();
        Repair();
      }
    }
    for (int level = 0; level < manner_.levels; ++level) condition_->Release();
  }
  void AwaitOthers() {
    if (manner_.others > 0) others_gone_->Wait();
  }
  // Nobody who waits is woken by this, other than by the burial of the dead.
  std::string Settled() {
    testing::Settle();
    return std::string(Check().message());
  }
  CrashCase Case(const std::string& name) {
    CrashCase crash;
    crash.name = "condition: " + name + (manner_.name.empty() ? "" : ", " + manner_.name);
    crash.set_up = [this] { SetUpPoint(); };
    crash.prepare = [this] { TouchAll(); };
    return crash;
  }
  static void Sweep(const CrashCase& crash, size_t sample = 0) {
    CrashOptions options;
    if (sample != 0 && options.sample != 0) options.sample = std::min(options.sample, sample);
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  static constexpr int kAll = -1;
  static std::vector<Manner> Manners() {
    return {{},
            {.name = "2 at once", .notifies = 2, .others = 1},
            {.name = "all at once", .notifies = kAll, .others = 2},
            {.name = "over a Lock", .over_a_lock = true},
            {.name = "2 levels", .levels = 2},
            {.name = "by a predicate", .by_predicate = true}};
  }

  Manner manner_;
  std::optional<Condition> condition_;
  const Inherited<int> told_;
  std::vector<pid_t> others_;
  const Inherited<std::atomic<int>> gone_;
  const Inherited<Gate> others_gone_;
};

TEST_F(ConditionCrashTest, WhoIsNotifiedIsWoken) {
  for (const Manner& manner : Manners()) {
    manner_ = manner;
    CrashCase crash = Case("notify, with a sleeper");
    crash.operation = [this] { Tell(); };
    crash.sleeper = [this] { AwaitTold(); };
    crash.check = [this] {
      // Whoever died holding the lock has notified nobody, perhaps; who died after that, all whom
      // it had to.
      bool told = false;
      {
        const LockGuard guard(*condition_);
        Repair();
        told = *told_ != 0;
      }
      if (!told) Tell();
      std::string broken = Settled();
      AwaitOthers();
      return broken;
    };
    Sweep(crash, manner.name.empty() ? 0 : kSampleOfManners);
  }
}

TEST_F(ConditionCrashTest, AWaiterMayDie) {
  // Others are notified as if it had never been there.
  for (const Manner& manner : Manners()) {
    manner_ = manner;
    CrashCase crash = Case("wait, and another behind");
    // Or it would be the spin that is killed: it is most of the instructions.
    crash.prepare = [this] {
      TouchAll();
      testing::SpunInVain();
    };
    crash.operation = [this] { AwaitTold(); };
    crash.sleeper = [this] { AwaitTold(); };
    crash.sleeper_queues_behind = true;
    crash.unblock = [this] {
      const LockGuard guard(*condition_);
      Repair();
      *told_ = 1;
      condition_->Notify(2 + manner_.others);
    };
    crash.check = [this] {
      {
        const LockGuard guard(*condition_);
        Repair();
        if (condition_->Wait(absl::ZeroDuration())) return std::string("notified by nobody");
      }
      std::string broken = Settled();
      AwaitOthers();
      return broken;
    };
    Sweep(crash, manner.name.empty() ? 0 : kSampleOfManners);
  }
}

TEST_F(ConditionCrashTest, AWokenWaiterThatDiesPassesItOn) {
  // One is notified, and it is the victim: it notifies the next one, or its burial does.
  CrashCase crash = Case("notify of one of two");
  crash.operation = [this] {
    const LockGuard guard(*condition_);
    condition_->Wait();
    condition_->Notify();
  };
  crash.sleeper = [this] {
    const LockGuard guard(*condition_);
    condition_->Wait();
    if (condition_->owner_died()) condition_->MarkConsistent();
  };
  crash.sleeper_queues_behind = true;
  crash.unblock = [this] {
    const LockGuard guard(*condition_);
    if (condition_->owner_died()) condition_->MarkConsistent();
    condition_->Notify();
  };
  crash.check = [this] {
    {
      const LockGuard guard(*condition_);
      // A holder that died with the lock is told to the next one, who notifies the others.
      if (condition_->owner_died()) {
        condition_->MarkConsistent();
        condition_->NotifyAll();
      }
    }
    return Settled();
  };
  Sweep(crash, 100);
}

TEST_F(ConditionCrashTest, ATimedWaitMayDie) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = Case("wait that times out");
  crash.operation = [this] {
    const LockGuard guard(*condition_);
    static_cast<void>(condition_->Wait(absl::Milliseconds(1)));
  };
  crash.check = [this] {
    // The next one is told of a death, and nobody of a notify that never was.
    const LockGuard guard(*condition_);
    if (condition_->owner_died()) condition_->MarkConsistent();
    condition_->Notify();
    if (condition_->Wait(absl::ZeroDuration())) return std::string("notified by nobody");
    return Settled();
  };
  Sweep(crash);
}

TEST_F(ConditionCrashTest, WhatTheDeadWereCountedForIsNotGivenToLaterOnes) {
  // One dies waiting; a notify finds nobody; then of two who wait, a notify of one wakes one.
  CrashCase crash = Case("wait");
  crash.operation = [this] {
    const LockGuard guard(*condition_);
    condition_->Wait();
  };
  crash.check = [this] {
    testing::Settle();
    const LockGuard guard(*condition_);
    if (condition_->owner_died()) condition_->MarkConsistent();
    condition_->Notify();
    condition_->Notify();
    if (condition_->Wait(absl::ZeroDuration())) return std::string("notified before it waited");
    return Settled();
  };
  crash.unblock = [this] {
    const LockGuard guard(*condition_);
    if (condition_->owner_died()) condition_->MarkConsistent();
    condition_->Notify();
  };
  Sweep(crash, 60);
}

TEST_F(ConditionCrashTest, TheMakingAndTheEndOfOneLeaveNothing) {
  CrashCase crash = Case("make and drop");
  crash.operation = [] { const Condition own({.name = "own"}); };
  crash.check = [this] {
    std::string broken = Settled();
    if (!broken.empty()) return broken;
    if (Listed("own").has_value()) return std::string("it is there still");
    return broken;
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
