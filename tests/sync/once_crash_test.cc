// A process is killed at every instruction of what can be done with a Once.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "sync/once.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/listed.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::Gate;
using testing::Inherited;
using testing::RunCrashSweep;
using testing::Settle;

// What is filled once, and how far it came.
struct Table {
  volatile int first = 0;  // 1 when it is filled, and so is `second`
  volatile int second = 0;
  volatile int filled = 0;        // as often as a run came to its end
  volatile bool wrong = false;    // a run was not told of what it found, or came after the last one
  volatile bool through = false;  // the victim's call has returned
};

class OnceCrashTest : public ::testing::Test {
 protected:
  void SetUpPoint() {
    // Or the next victim, where it waits, buries the last one on the way.
    Settle();
    internal::LaneForNotes();
    once_.emplace();
    *table_ = Table();
    gate_->Close();
    done_->Close();
  }
  CrashCase Case(const std::string& name) {
    CrashCase crash;
    crash.name = "once: " + name;
    crash.set_up = [this] { SetUpPoint(); };
    crash.prepare = [] {
      const Once own;
      try {
        own.Call([] { throw std::runtime_error("touched"); });
      } catch (const std::runtime_error&) {
      }
      own.Call([] {});
    };
    crash.check = [this] { return Check(); };
    return crash;
  }
  static void Sweep(const CrashCase& crash, bool sleeps = false, const CrashOptions& options = {}) {
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    if (sleeps) {
      EXPECT_GT(report.sleeps, 0u);
    }
  }
  // What is run, by whoever does.
  void Fill() {
    if (!once_->owner_died() && (table_->first != 0 || table_->second != 0)) table_->wrong = true;
    if (once_->Done()) table_->wrong = true;
    table_->first = 1;
    table_->second = 1;
    table_->filled = table_->filled + 1;
  }
  // By whoever comes.
  void CallAndLook() {
    once_->Call([this] { Fill(); });
    if (!once_->Done() || table_->first != 1 || table_->second != 1) table_->wrong = true;
  }
  std::string Check() {
    Settle();
    if (table_->through && !once_->Done()) return "it has been run, and is not done";
    const int filled = table_->filled;
    const bool done = once_->Done();
    CallAndLook();
    if (table_->wrong) return "what was run found what it must not";
    if (table_->filled != filled + (done ? 0 : 1)) {
      return absl::StrCat("it was ", done ? "" : "not ", "done, and run ", table_->filled - filled,
                          " times more");
    }
    if (once_->Call([] {})) return "it is run again";
    return std::string(mp::Check().message());
  }

  std::optional<Once> once_;
  Inherited<Table> table_;
  Inherited<Gate> gate_;
  Inherited<Gate> done_;
};

TEST_F(OnceCrashTest, ItIsRunOnceOrAgain) {
  CrashCase crash = Case("a call");
  crash.operation = [this] {
    once_->Call([this] { Fill(); });
    table_->through = true;
    once_->Call([this] { Fill(); });
  };
  Sweep(crash);
}

TEST_F(OnceCrashTest, WhatThrowsIsRunAgain) {
  CrashCase crash = Case("a call that throws, and one that does not");
  crash.operation = [this] {
    try {
      once_->Call([] { throw std::runtime_error("not now"); });
    } catch (const std::runtime_error&) {
    }
    once_->Call([this] { Fill(); });
    table_->through = true;
  };
  CrashOptions options;
  options.sample = std::min(options.sample, size_t{80});  // to throw takes long
  Sweep(crash, /*sleeps=*/false, options);
}

// The victim runs it, and the sleeper waits for that.
TEST_F(OnceCrashTest, WhoSleepsRunsItWhereTheRunnerDies) {
  for (const bool throws : {false, true}) {
    CrashCase crash =
        Case(throws ? "a call that throws, with a sleeper" : "a call, with a sleeper");
    crash.operation = [this, throws] {
      try {
        once_->Call([&] {
          gate_->Wait();
          if (throws) throw std::runtime_error("not now");
          Fill();
        });
      } catch (const std::runtime_error&) {
        return;
      }
      table_->through = true;
    };
    crash.sleeper = [this] { CallAndLook(); };
    crash.sleeper_queues_behind = true;
    crash.unblock = [this] { gate_->Open(); };
    CrashOptions options;
    if (throws) options.sample = std::min(options.sample, size_t{80});
    // The sleeper, if there is one, may run it meanwhile.
    crash.check = [this]() -> std::string {
      Settle();
      CallAndLook();
      if (table_->wrong) return "what was run found what it must not";
      return std::string(mp::Check().message());
    };
    Sweep(crash, /*sleeps=*/true, options);
  }
}

TEST_F(OnceCrashTest, AWaiterMayDie) {
  for (const bool throws : {false, true}) {
    CrashCase crash = Case(throws ? "a wait for one that throws" : "a wait");
    crash.operation = [this] {
      once_->Call([this] { Fill(); });
      table_->through = true;
    };
    // Runs it until the victim sleeps.
    crash.sleeper = [this, throws] {
      try {
        once_->Call([&] {
          gate_->Wait();
          if (throws) throw std::runtime_error("not now");
          Fill();
        });
      } catch (const std::runtime_error&) {
      }
      done_->Open();
    };
    crash.unblock = [this] { gate_->Open(); };
    crash.check = [this] {
      done_->Wait();
      return Check();
    };
    Sweep(crash, /*sleeps=*/true);
  }
}

TEST_F(OnceCrashTest, TheMakingAndTheEndOfOneLeaveNothing) {
  CrashCase crash = Case("make and drop");
  crash.prepare = [] { const Once own({.name = "touched"}); };
  crash.operation = [] { const Once own({.name = "own"}); };
  crash.check = [this] {
    std::string wrong = Check();
    return wrong.empty() && testing::Listed("own").has_value() ? "it is there still" : wrong;
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
