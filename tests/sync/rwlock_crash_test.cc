// A process is killed at every instruction of what can be done with an RWLock.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "shared/shared.h"
#include "sync/rwlock.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/listed.h"
#include "tests/support/no_look_is_due.h"
#include "tests/support/settings.h"
#include "tests/support/spun_in_vain.h"

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
using testing::RunCrashSweep;
using testing::SpunInVain;
using testing::Stress;

// What the lock guards, how far a writer came, and what a peer saw.
struct Data {
  volatile int64_t first = 0;  // equal to `second`, except within a Change()
  volatile int64_t second = 0;
  volatile bool writes = false;  // within one
  volatile bool wrong = false;   // a peer saw what it must not
};

class RWLockCrashTest : public ::testing::Test {
 protected:
  // What else there is at a point: who holds it until the gate opens, who sleeps for it.
  enum Peer { kNobody, kReader, kWriter };
  static constexpr Peer kPeers[] = {kReader, kWriter};
  static constexpr const char* kNames[] = {"nobody", "a reader", "a writer"};
  // Ways to acquire.
  enum Way { kUntimed, kTimed, kTry };

  void SetUpPoint() {
    LetGo();
    // Or the next victim, where it waits, buries the last one on the way.
    testing::Settle();
    // The first lane of the domain takes more than the next.
    internal::LaneForNotes();
    lock_.emplace();
    *data_ = Data();
    gate_->Close();
    done_->Close();
  }
  CrashCase Case(const std::string& name) {
    CrashCase crash;
    crash.name = "RWLock: " + name;
    crash.set_up = [this] { SetUpPoint(); };
    crash.prepare = [] { TouchAll(); };
    crash.check = [this] { return Check(); };
    return crash;
  }
  static void Sweep(const CrashCase& crash, bool sleeps = false) {
    CrashOptions options;
    options.sample = std::min(options.sample, size_t{50});  // there are many sweeps
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    if (sleeps) {
      EXPECT_GT(report.sleeps, 0u);
    }
  }
  // A writer that spins looks for readers in each round, at all holds that there are: that takes
  // ten times as long as all the rest.
  static void SleepsAtOnce(CrashCase& crash) {
    if (Stress()) return;
    crash.prepare = [] {
      TouchAll();
      SpunInVain();
    };
  }
  // So that nothing in the operation happens for the first time.
  static void TouchAll() {
    const RWLock own;
    own.Acquire();
    own.MarkConsistent();
    own.Release();
    (void)own.Acquire(absl::Seconds(1));
    own.Release();
    own.AcquireShared();
    (void)own.AcquireShared(absl::Seconds(1));
    own.ReleaseShared();
    own.ReleaseShared();
  }

  bool Write(Way way) {
    if (way == kTry) return lock_->TryAcquire();
    if (way == kTimed) return lock_->Acquire(absl::Hours(1));
    lock_->Acquire();
    return true;
  }
  bool Read(Way way) {
    if (way == kTry) return lock_->TryAcquireShared();
    if (way == kTimed) return lock_->AcquireShared(absl::Hours(1));
    lock_->AcquireShared();
    return true;
  }
  void Change() {
    data_->writes = true;
    data_->first = data_->first + 1;
    data_->second = data_->second + 1;
    data_->writes = false;
  }
  // By who holds it.
  void Look() {
    if (!lock_->owner_died() && (data_->first != data_->second || data_->writes)) {
      data_->wrong = true;
    }
  }
  // By a writer.
  void Repair() {
    Look();
    if (!lock_->owner_died()) return;
    data_->second = data_->first;
    data_->writes = false;
    lock_->MarkConsistent();
  }
  void WriteOnce(Way way = kUntimed) {
    if (!Write(way)) return;
    Repair();
    Change();
    lock_->Release();
  }
  void ReadOnce(Way way = kUntimed) {
    if (!Read(way)) return;
    Look();
    lock_->AcquireShared();
    lock_->ReleaseShared();
    lock_->ReleaseShared();
  }

  // A peer that holds it until the gate opens; and one that sleeps for it.
  std::function<void()> Holder(Peer peer) {
    return [this, peer] {
      peer == kWriter ? lock_->Acquire() : lock_->AcquireShared();
      gate_->Wait();
      peer == kWriter ? lock_->Release() : lock_->ReleaseShared();
    };
  }
  std::function<void()> Sleeper(Peer peer) {
    return [this, peer] {
      peer == kWriter ? WriteOnce() : ReadOnce();
      done_->Open();
    };
  }
  // This process has it until LetGo().
  void Hold(Peer peer) {
    held_ = peer;
    peer == kWriter ? lock_->Acquire() : lock_->AcquireShared();
  }
  void LetGo() {
    if (held_ == kWriter) lock_->Release();
    if (held_ == kReader) lock_->ReleaseShared();
    held_ = kNobody;
  }

  // Beside a sleeper that may have it meanwhile.
  std::string Check() {
    testing::Settle();
    lock_->Acquire();
    Repair();
    if (data_->wrong) return "torn, and who saw it was not told that a writer had died";
    if (lock_->owner_died()) return "still told after the repair";
    lock_->Release();
    lock_->AcquireShared();
    if (lock_->owner_died()) return "told again after the repair";
    lock_->ReleaseShared();
    // Who is dead and has it still is waited for for ever.
    lock_->Acquire();
    lock_->Release();
    return std::string(mp::Check().message());
  }
  // When nobody else has it.
  std::string CheckAlone() {
    std::string wrong = Check();
    if (!wrong.empty()) return wrong;
    if (lock_->Locked()) return "somebody writes still";
    if (!lock_->TryAcquire()) return "somebody has it still";
    lock_->Release();
    return "";
  }
  std::string CheckWhenDone() {
    testing::Settle();
    done_->Wait();
    return CheckAlone();
  }

  std::optional<RWLock> lock_;
  Peer held_ = kNobody;  // by this process
  Inherited<Data> data_;
  Inherited<Gate> gate_;
  Inherited<Gate> done_;
};

std::string Described(const char* what, int way) {
  const char* const ways[] = {"", "timed: ", "tried for: "};
  return std::string(ways[way]) + what;
}

TEST_F(RWLockCrashTest, AWriterMayDie) {
  for (const Way way : {kUntimed, kTimed, kTry}) {
    CrashCase crash = Case(Described("a write", way));
    crash.operation = [this, way] { WriteOnce(way); };
    crash.check = [this] { return CheckAlone(); };
    Sweep(crash);
  }
}

TEST_F(RWLockCrashTest, AReaderMayDie) {
  for (const Way way : {kUntimed, kTimed, kTry}) {
    CrashCase crash = Case(Described("a read", way));
    // Of those that wrote, or gave up, nothing is left that would make it wait in turn with
    // writers: as one of these it would tell of its death.
    crash.set_up = [this] {
      SetUpPoint();
      lock_->Acquire();
      lock_->Release();
      lock_->AcquireShared();
      std::thread([this] {
        EXPECT_FALSE(lock_->TryAcquire());
        EXPECT_FALSE(lock_->Acquire(absl::Microseconds(1)));
      }).join();
      lock_->ReleaseShared();
    };
    crash.operation = [this, way] { ReadOnce(way); };
    crash.check = [this]() -> std::string {
      testing::Settle();
      if (!lock_->TryAcquire()) return "who is dead reads still";
      const bool told = lock_->owner_died();
      lock_->Release();
      return told ? "told of a writer's death, and there was no writer" : CheckAlone();
    };
    Sweep(crash);
  }
}

// By the release of the victim, or by its death.
TEST_F(RWLockCrashTest, WhoSleepsIsWokenWhoeverDies) {
  for (const Peer peer : kPeers) {
    CrashCase crash = Case(std::string("the end of a write, and asleep is ") + kNames[peer]);
    crash.prepare = [this] {
      TouchAll();
      lock_->Acquire();
    };
    crash.operation = [this] {
      Change();
      lock_->Release();
    };
    crash.sleeper = Sleeper(peer);
    crash.check = [this] { return CheckWhenDone(); };
    Sweep(crash);
  }
  CrashCase crash = Case("the end of a read, and asleep is a writer");
  crash.prepare = [this] {
    TouchAll();
    lock_->AcquireShared();
    lock_->AcquireShared();
  };
  crash.operation = [this] {
    lock_->ReleaseShared();
    lock_->ReleaseShared();
  };
  crash.sleeper = Sleeper(kWriter);
  crash.check = [this] { return CheckWhenDone(); };
  Sweep(crash);
}

TEST_F(RWLockCrashTest, AWriterThatHadToWaitMayDie) {
  for (const Peer holder : kPeers) {
    for (const Way way : {kUntimed, kTimed}) {
      CrashCase crash = Case(Described("a write after ", way) + kNames[holder]);
      crash.operation = [this, way] { WriteOnce(way); };
      crash.sleeper = Holder(holder);
      crash.unblock = [this] { gate_->Open(); };
      if (holder == kReader) SleepsAtOnce(crash);
      Sweep(crash, /*sleeps=*/true);
    }
  }
}

TEST_F(RWLockCrashTest, AReaderThatHadToWaitMayDie) {
  for (const Way way : {kUntimed, kTimed}) {
    CrashCase crash = Case(Described("a read after a writer", way));
    crash.operation = [this, way] { ReadOnce(way); };
    crash.sleeper = Holder(kWriter);
    crash.unblock = [this] { gate_->Open(); };
    Sweep(crash, /*sleeps=*/true);
  }
}

// Who dies is the first of two that sleep: for a writer, or for a reader and so as the writer whom
// the other one waits for.
TEST_F(RWLockCrashTest, WhoQueuesBehindADeadWaiterIsWoken) {
  struct Queue {
    Peer holder;
    Peer victim;
    Peer behind;
  };
  for (const Queue& queue : {Queue{kReader, kWriter, kReader}, Queue{kReader, kWriter, kWriter},
                             Queue{kWriter, kWriter, kReader}, Queue{kWriter, kWriter, kWriter},
                             Queue{kWriter, kReader, kReader}, Queue{kWriter, kReader, kWriter}}) {
    CrashCase crash = Case(std::string("of ") + kNames[queue.holder] + ", " + kNames[queue.victim] +
                           " and " + kNames[queue.behind] + " the second");
    crash.set_up = [this, queue] {
      SetUpPoint();
      Hold(queue.holder);
    };
    crash.operation = [this, queue] { queue.victim == kWriter ? WriteOnce() : ReadOnce(); };
    crash.sleeper = Sleeper(queue.behind);
    crash.sleeper_queues_behind = true;
    crash.unblock = [this] { LetGo(); };
    if (queue.holder == kReader) SleepsAtOnce(crash);
    Sweep(crash, /*sleeps=*/true);
  }
}

TEST_F(RWLockCrashTest, WhoDoesNotGetItMayDie) {
  const testing::NoLookIsDue no_look;
  for (const Peer victim : kPeers) {
    for (const Peer holder : kPeers) {
      if (victim == kReader && holder == kReader) continue;
      CrashCase crash =
          Case(std::string(kNames[victim]) + " tries, and " + kNames[holder] + " has it");
      crash.operation = [this, victim] { victim == kWriter ? WriteOnce(kTry) : ReadOnce(kTry); };
      crash.sleeper = Holder(holder);
      crash.check = [this] {
        gate_->Open();
        return Check();
      };
      Sweep(crash);
    }
  }
}

// Its time is over before a victim that is stepped sleeps; those above die asleep.
TEST_F(RWLockCrashTest, ATimeoutIsSafe) {
  const testing::NoLookIsDue no_look;
  for (const Peer victim : kPeers) {
    const Peer holder = victim == kReader ? kWriter : kReader;
    CrashCase crash =
        Case(std::string(kNames[victim]) + " times out, and " + kNames[holder] + " has it");
    crash.operation = [this, victim] {
      constexpr absl::Duration kTimeout = absl::Milliseconds(1);
      (void)(victim == kWriter ? lock_->Acquire(kTimeout) : lock_->AcquireShared(kTimeout));
    };
    crash.sleeper = Holder(holder);
    crash.check = [this] {
      gate_->Open();
      return Check();
    };
    if (holder == kReader) SleepsAtOnce(crash);
    Sweep(crash);
  }
}

// The victim comes after a writer that died in the middle.
TEST_F(RWLockCrashTest, WhoComesAfterADeadWriterMayDieToo) {
  for (const Peer victim : kPeers) {
    CrashCase crash = Case(std::string(kNames[victim]) + " after a dead writer");
    crash.set_up = [this] {
      SetUpPoint();
      const Inherited<Gate> torn;
      const pid_t pid = ForkMortal([&] {
        lock_->Acquire();
        data_->first = 1;
        torn->Open();
        Inherited<Gate>()->Wait();  // for the end
      });
      torn->Wait();
      KillAndReap(pid);
    };
    crash.operation = [this, victim] { victim == kWriter ? WriteOnce() : ReadOnce(); };
    crash.check = [this] { return CheckAlone(); };
    Sweep(crash);
  }
}

TEST_F(RWLockCrashTest, TheMakingAndTheEndOfOneLeaveNothing) {
  CrashCase crash = Case("make and drop");
  crash.prepare = [] { const RWLock own({.name = "touched"}); };
  crash.operation = [] { const RWLock own({.name = "own"}); };
  crash.check = [this] {
    std::string wrong = Check();
    return wrong.empty() && testing::Listed("own").has_value() ? "it is there still" : wrong;
  };
  Sweep(crash);
}

// What is assigned is the one or the other, with all that it has.
TEST_F(RWLockCrashTest, AHandleInTheDomainIsTheOneOrTheOther) {
  const Shared<std::optional<RWLock>> placed;
  const RWLock other;
  CrashCase crash = Case("assign");
  crash.set_up = [&] {
    SetUpPoint();
    *placed = *lock_;
  };
  crash.prepare = [&] {
    Shared<std::optional<RWLock>> own;
    *own = other;
    *own = *lock_;
  };
  crash.operation = [&] { *placed = other; };
  crash.check = [&]() -> std::string {
    testing::Settle();
    // A writer by what was assigned keeps readers and writers away from one of the two.
    const RWLock now = **placed;
    now.Acquire();
    const RWLock& written = other.Locked() ? other : *lock_;
    bool reads = false;
    std::thread([&] {
      reads = written.TryAcquireShared();
      if (reads) written.ReleaseShared();
    }).join();
    if (!written.Locked() || reads) return "who writes it has the lock of another";
    now.Release();
    return Check();
  };
  Sweep(crash);
  placed->reset();
}

}  // namespace
}  // namespace mp
