// A process is killed at every instruction of what can be done with a latch.

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "sync/latch.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/listed.h"
#include "tests/support/no_look_is_due.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashReport;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::KillAndReap;
using testing::Listed;
using testing::RunCrashSweep;
using testing::Settle;

// How far the victim came.
struct Seen {
  volatile int begun = 0;  // as many of its steps
  volatile int done = 0;
};

class LatchCrashTest : public ::testing::Test {
 protected:
  void SetUpPoint(int count) {
    // Or the next victim, where it waits, buries the last one on the way.
    Settle();
    internal::LaneForNotes();
    latch_.emplace(count);
    *seen_ = Seen();
    gate_->Close();
    done_->Close();
  }
  CrashCase Case(const std::string& name, int count) {
    CrashCase crash;
    crash.name = "latch: " + name;
    crash.set_up = [this, count] { SetUpPoint(count); };
    crash.prepare = [] { TouchAll(); };
    return crash;
  }
  // So that nothing in the operation happens for the first time.
  static void TouchAll() {
    const Latch own(3, {.name = "touched"});
    own.Join();
    own.CountDown();
    own.CountDown();
    static_cast<void>(own.Wait(absl::Microseconds(1)));
  }
  static void Sweep(const CrashCase& crash, bool sleeps = false) {
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    if (sleeps) {
      EXPECT_GT(report.sleeps, 0u);
    }
  }
  void Step(void (*act)(const Latch&)) {
    seen_->begun = seen_->begun + 1;
    act(*latch_);
    seen_->done = seen_->done + 1;
  }
  // After all deaths.
  std::string HasExactly(int count) const {
    Settle();
    if (latch_->GetCount() != count) {
      return absl::StrCat(latch_->GetCount(), " are to come, not ", count);
    }
    // It works still, and nobody is counted down twice.
    const Latch& latch = *latch_;
    latch.CountDown(count);
    if (!latch.TryWait()) return "they do not come";
    return std::string(Check().message());
  }
  // Somebody who waits, and tells.
  void WaitAndTell() {
    latch_->Wait();
    done_->Open();
  }

  std::optional<Latch> latch_;
  Inherited<Seen> seen_;
  Inherited<Gate> gate_;
  Inherited<Gate> done_;
};

TEST_F(LatchCrashTest, WhoWaitsIsWokenWhoeverDies) {
  // The last of those that nobody has joined: by its counting down, or by the check.
  CrashCase crash = Case("count down, with a sleeper", 2);
  crash.operation = [this] {
    Step([](const Latch& latch) { latch.CountDown(); });
    Step([](const Latch& latch) { latch.CountDown(); });
  };
  crash.sleeper = [this] { WaitAndTell(); };
  crash.check = [this]() -> std::string {
    Settle();
    const int counted = 2 - latch_->GetCount();
    if (counted < seen_->done || counted > seen_->begun) {
      return absl::StrCat(counted, " have come, of ", seen_->done, " or ", seen_->begun);
    }
    // Nobody else wakes it, where it was the last.
    if (counted < 2) latch_->CountDown(2 - counted);
    done_->Wait();
    return HasExactly(0);
  };
  Sweep(crash);

  // The last one is the victim's, and comes whenever it dies.
  for (const int more : {0, 1}) {
    crash = Case(absl::StrCat("count down what is joined, and ", more, " more, with a sleeper"),
                 2 + more);
    crash.prepare = [this] {
      TouchAll();
      latch_->Join();
      latch_->Join();
    };
    crash.operation = [this, more] { latch_->CountDown(2 + more); };
    crash.check = [this, more]() -> std::string {
      Settle();
      const int left = latch_->GetCount();
      if (left > more) return absl::StrCat(left, " are to come, of ", more, " that nobody joined");
      if (left > 0) latch_->CountDown(left);
      done_->Wait();
      return HasExactly(0);
    };
    crash.sleeper = [this] { WaitAndTell(); };
    Sweep(crash);
  }
}

TEST_F(LatchCrashTest, WhoHasJoinedIsCountedDownOnce) {
  CrashCase crash = Case("join and count down", 4);
  crash.operation = [this] {
    Step([](const Latch& latch) { latch.Join(); });
    Step([](const Latch& latch) { latch.Join(); });
    latch_->CountDown();
    latch_->CountDown();
  };
  crash.check = [this]() -> std::string {
    Settle();
    const int counted = 4 - latch_->GetCount();
    if (counted < seen_->done || counted > seen_->begun) {
      return absl::StrCat(counted, " have come; joined were ", seen_->done, " or ", seen_->begun);
    }
    return HasExactly(4 - counted);
  };
  Sweep(crash);
}

TEST_F(LatchCrashTest, WhatAnotherHasJoinedStaysToCome) {
  CrashCase crash = Case("join and count down beside another", 3);
  crash.prepare = [this] {
    TouchAll();
    latch_->Join();
  };
  crash.operation = [this] { latch_->CountDown(); };
  crash.sleeper = [this] {
    latch_->Join();
    gate_->Wait();
    latch_->CountDown();
    done_->Open();
  };
  crash.check = [this]() -> std::string {
    Settle();
    if (latch_->GetCount() != 2) return absl::StrCat(latch_->GetCount(), " are to come, not 2");
    gate_->Open();
    done_->Wait();
    return HasExactly(1);
  };
  Sweep(crash);
}

TEST_F(LatchCrashTest, AWaiterMayDie) {
  for (const bool timed : {false, true}) {
    CrashCase crash =
        Case(timed ? "a timed wait, and another behind" : "a wait, another behind", 1);
    crash.operation = [this, timed] {
      if (timed) {
        static_cast<void>(latch_->Wait(absl::Hours(1)));
      } else {
        latch_->Wait();
      }
    };
    crash.sleeper = [this] { latch_->Wait(); };
    crash.sleeper_queues_behind = true;
    crash.unblock = [this] { latch_->CountDown(); };
    crash.check = [this] {
      latch_->CountDown();
      return HasExactly(0);
    };
    Sweep(crash, /*sleeps=*/true);
  }
}

// It is counted down by its death; so it may be the one that it waits for.
TEST_F(LatchCrashTest, AWaiterThatHasJoinedMayDie) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = Case("a wait that times out, joined, with a sleeper", 1);
  crash.prepare = [this] {
    TouchAll();
    latch_->Join();
  };
  crash.operation = [this] { static_cast<void>(latch_->Wait(absl::Milliseconds(1))); };
  crash.sleeper = [this] { WaitAndTell(); };
  crash.check = [this] {
    Settle();
    done_->Wait();
    return HasExactly(0);
  };
  Sweep(crash);
}

TEST_F(LatchCrashTest, TheBurialOfOneThatHasJoinedMayBeInterrupted) {
  const Inherited<uint64_t> dead;
  CrashCase crash = Case("a burial", 3);
  crash.set_up = [&] {
    SetUpPoint(3);
    const Inherited<Gate> joined;
    const pid_t pid = ForkMortal([&] {
      *dead = Domain::Current()->ThisProcess().identity();
      latch_->Join();
      latch_->Join();
      joined->Open();
      Inherited<Gate>()->Wait();  // for the end
    });
    joined->Wait();
    KillAndReap(pid);
  };
  crash.operation = [&] { Domain::Current()->Bury(*dead); };
  crash.check = [this] {
    // First the undertaker, then whom it had begun to bury.
    Settle();
    return HasExactly(1);
  };
  Sweep(crash);
}

TEST_F(LatchCrashTest, TheMakingAndTheEndOfOneLeaveNothing) {
  CrashCase crash = Case("make and drop", 1);
  crash.operation = [] { const Latch own(2, {.name = "own"}); };
  crash.check = [this]() -> std::string {
    Settle();
    if (Listed("own").has_value()) return "it is there still";
    return HasExactly(1);
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
