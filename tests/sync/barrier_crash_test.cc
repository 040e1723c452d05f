// A process is killed at every instruction of what can be done with a barrier.

#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "shared/shared.h"
#include "sync/barrier.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/listed.h"
#include "tests/support/look.h"
#include "tests/support/no_look_is_due.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::Gate;
using testing::Inherited;
using testing::Listed;
using testing::RunCrashSweep;
using testing::Settle;

// What the sleeper was told: 0 nothing yet, 1 its round is complete, 2 it is broken.
struct Told {
  std::atomic<int> sleeper{0};
  std::atomic<int> acted{0};
  std::atomic<int> gone{0};
};

class BarrierCrashTest : public ::testing::Test {
 protected:
  ~BarrierCrashTest() override { EndOthers(); }

  CrashCase Case(const std::string& name, int parties, bool has_action = false) {
    CrashCase crash;
    crash.name = "barrier: " + name;
    crash.set_up = [this, parties, has_action] {
      EndOthers();
      Settle();
      internal::LaneForNotes();
      told_->sleeper = 0;
      told_->acted = 0;
      BarrierOptions options;
      if (has_action) options.action = [this] { told_->acted.fetch_add(1); };
      barrier_.emplace(parties, options);
      // The first place of a process takes more than the next one.
      static_cast<void>(Barrier(1).Wait());
    };
    crash.prepare = [] {
      const Barrier own(1);
      static_cast<void>(own.Wait());
      const Barrier never(2);
      static_cast<void>(never.Wait(absl::Microseconds(1)));
      never.Reset();
      const Barrier named(1, {.action = [] {}, .name = "touched"});
    };
    crash.sleeper = [this] {
      const absl::StatusOr<int> index = barrier_->Wait();
      told_->sleeper = index.ok() ? 1 : absl::IsAborted(index.status()) ? 2 : 3;
    };
    crash.check = [this] { return UsableAgain(); };
    return crash;
  }
  // One more that waits; at most until the next point.
  void StartOther(const std::function<void()>& body) {
    others_.push_back(testing::ForkMortal(body));
    ASSERT_TRUE(testing::WaitUntilAsleepInFutex(others_.back()));
  }
  void EndOthers() {
    for (const pid_t pid : others_) testing::KillAndReap(pid);
    others_.clear();
    others_gone_->Close();
    told_->gone = 0;
  }
  // By each of `count` others.
  void WaitAndGo(const Barrier& barrier, int count) {
    static_cast<void>(barrier.Wait());
    if (told_->gone.fetch_add(1) + 1 == count) others_gone_->Open();
  }
  // When the dead are buried: whoever was left waiting is let go, and the next round is complete.
  std::string UsableAgain() {
    Settle();
    if (!barrier_->Broken()) {
      const int living = static_cast<int>(others_.size()) + 1;
      if (barrier_->NWaiting() > living) return "a dead one is waited for";
      barrier_->Abort();
    }
    barrier_->Reset();
    if (barrier_->Broken() || barrier_->NWaiting() != 0) return "a reset barrier is not as new";
    if (!others_.empty()) others_gone_->Wait();
    // Nobody else comes: this breaks it, and is the first.
    const absl::StatusOr<int> index = barrier_->Wait(absl::ZeroDuration());
    const bool alone =
        barrier_->parties() == 1 ? index.ok() : absl::IsDeadlineExceeded(index.status());
    if (!alone) return absl::StrCat("a new round: ", index.status().ToString());
    return std::string(Check().message());
  }
  static void Sweep(const CrashCase& crash, const CrashOptions& options = {}) {
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  std::optional<Barrier> barrier_;
  const Inherited<Told> told_;
  std::vector<pid_t> others_;
  const Inherited<Gate> others_gone_;
};

// The victim is the last one to come: who sleeps goes on, or is told when the dead one is buried,
// or the victim has not come.
TEST_F(BarrierCrashTest, WhoWaitsIsWokenWhoeverDies) {
  CrashCase crash = Case("the last one comes", 2);
  crash.operation = [this] { static_cast<void>(barrier_->Wait()); };
  Sweep(crash);
}

TEST_F(BarrierCrashTest, WhoRunsTheActionMayDie) {
  CrashCase crash = Case("the last one acts", 2, /*has_action=*/true);
  crash.operation = [this] { static_cast<void>(barrier_->Wait()); };
  crash.check = [this]() -> std::string {
    std::string broken = UsableAgain();
    if (told_->acted > 1) return "it has acted twice";
    return broken;
  };
  Sweep(crash);
}

// The victim comes last, and only one that was there before has the action, which runs it for all.
TEST_F(BarrierCrashTest, WhoHandsTheActionOnMayDie) {
  const Shared<std::vector<Barrier, Allocator<Barrier>>> board;
  CrashCase crash = Case("the last one hands the action on", 3);
  crash.set_up = [this, &board, set_up = crash.set_up] {
    set_up();
    board->clear();
    StartOther([this, &board] {
      const Barrier own(3, {.action = [this] { told_->acted.fetch_add(1); }});
      board->push_back(own);
      WaitAndGo(own, 1);
    });
    barrier_ = board->front();
  };
  crash.operation = [this] { static_cast<void>(barrier_->Wait()); };
  crash.check = [this]() -> std::string {
    std::string broken = UsableAgain();
    const int acted = told_->acted;
    if (acted > 1) return "it has acted twice";
    if (told_->sleeper == 1 && acted == 0) return "a round is complete, and nobody has acted";
    return broken;
  };
  Sweep(crash);
  EndOthers();
  board->clear();
}

// More than have seats, by which a dead one is told at once.
TEST_F(BarrierCrashTest, TheLastOfManyMayDie) {
  constexpr int kOthers = 16;
  CrashCase crash = Case("the last one of many comes", kOthers + 2);
  crash.set_up = [this, set_up = crash.set_up] {
    set_up();
    for (int i = 0; i < kOthers; ++i) StartOther([this] { WaitAndGo(*barrier_, kOthers); });
  };
  crash.operation = [this] { static_cast<void>(barrier_->Wait()); };
  CrashOptions options;
  options.sample = std::min(options.sample, size_t{6});  // each forks them all
  Sweep(crash, options);
}

// One of three that waits: who comes then is told that it is dead.
TEST_F(BarrierCrashTest, AWaiterMayDie) {
  CrashCase crash = Case("one waits, and another behind", 3);
  crash.operation = [this] { static_cast<void>(barrier_->Wait()); };
  crash.sleeper_queues_behind = true;
  crash.unblock = [this] { barrier_->Abort(); };
  Sweep(crash);
}

TEST_F(BarrierCrashTest, ADeadWaiterIsNamed) {
  const Inherited<std::atomic<int>> pid(0);
  CrashCase crash = Case("one waits", 3);
  crash.sleeper = nullptr;
  crash.operation = [this, &pid] {
    pid->store(getpid());
    static_cast<void>(barrier_->Wait());
  };
  crash.unblock = [this] { barrier_->Abort(); };
  crash.check = [&]() -> std::string {
    const bool waits = barrier_->NWaiting() != 0;
    Settle();
    if (waits) {
      const absl::Status status = barrier_->Wait().status();
      if (!absl::IsAborted(status)) return status.ToString();
      const std::string words = absl::StrCat("pid ", pid->load(), " died");
      if (status.message().find(words) == std::string::npos) return std::string(status.message());
    }
    return UsableAgain();
  };
  Sweep(crash);
}

TEST_F(BarrierCrashTest, ATimedWaitMayDie) {
  const testing::NoLookIsDue no_look;
  CrashCase crash = Case("one whose time is over, and a sleeper", 3);
  crash.operation = [this] { static_cast<void>(barrier_->Wait(absl::Milliseconds(1))); };
  Sweep(crash);
}

TEST_F(BarrierCrashTest, WhoWaitsIsToldOfAReset) {
  CrashCase crash = Case("reset, with a sleeper", 3);
  crash.operation = [this] { barrier_->Reset(); };
  crash.check = [this]() -> std::string {
    std::string broken = UsableAgain();
    if (told_->sleeper == 1) return "a round that was reset is complete";
    return broken;
  };
  Sweep(crash);
}

TEST_F(BarrierCrashTest, WhoWaitsIsToldOfAnAbort) {
  CrashCase crash = Case("abort, with a sleeper", 3);
  crash.operation = [this] { barrier_->Abort(); };
  Sweep(crash);
}

TEST_F(BarrierCrashTest, TheMakingAndTheEndOfOneLeaveNothing) {
  CrashCase crash = Case("make and drop", 2);
  crash.sleeper = nullptr;
  crash.operation = [] { const Barrier own(2, {.action = [] {}, .name = "own"}); };
  crash.check = [this]() -> std::string {
    std::string broken = UsableAgain();
    if (!broken.empty()) return broken;
    if (Listed("own").has_value()) return "it is there still";
    return "";
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
