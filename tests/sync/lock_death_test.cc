// Misuse of a Lock or an RLock ends the process, with a line that says what and who.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "tests/support/child.h"
#include "tests/support/copy.h"
#include "tests/sync/lock_types.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Child;
using testing::EndAsACopy;
using testing::LockNames;
using testing::Locks;

// A death test's child is a process of its own: what it says of itself is a pattern.
constexpr char kSelf[] = "pid [0-9]+ \\(thread [0-9]+\\)";
// Nothing follows the line.
constexpr char kEnd[] = "\n";

std::string Describe(pid_t pid) { return absl::StrCat("pid ", pid, " \\(thread ", pid, "\\)"); }

template <typename L>
class LockDeathTest : public ::testing::Test {
 protected:
  static constexpr const char* kKind = LockNames::kName<L>;
};
TYPED_TEST_SUITE(LockDeathTest, Locks, LockNames);

TYPED_TEST(LockDeathTest, EndsWithSigabrt) {
  const TypeParam lock;
  EXPECT_EXIT(lock.Release(), ::testing::KilledBySignal(SIGABRT), "");
}

// It would hold it in the name of the thread that it is a copy of.
TYPED_TEST(LockDeathTest, ACopyThatForkDidNotMakeEndsAtItsFirstUse) {
  const TypeParam lock;
  constexpr char kWords[] = "nobody knows of it: .*use fork";
  EXPECT_DEATH(EndAsACopy([&] { lock.Acquire(); }), kWords);
  EXPECT_DEATH(EndAsACopy([&] { (void)lock.TryAcquire(); }), kWords);
  EXPECT_DEATH(EndAsACopy([&] { (void)lock.Acquire(absl::Seconds(1)); }), kWords);
}

// The end of CPython's test_lock and of its test_rlock.
TYPED_TEST(LockDeathTest, ReleaseOfAFreeLockEndsTheProcess) {
  const TypeParam lock({.name = "jobs"});
  const std::string line = absl::StrCat("^mp: ", this->kKind, " \"jobs\": released by ", kSelf,
                                        ", but nobody holds it; to release what another thread or "
                                        "process acquired use Semaphore\\(1\\)",
                                        kEnd);
  EXPECT_DEATH(lock.Release(), line);
  EXPECT_DEATH(lock.unlock(), line);
}

TYPED_TEST(LockDeathTest, ReleaseByStrangerEndsTheProcess) {
  const TypeParam lock({.name = "jobs"});
  lock.Acquire();
  // The death test's process is a stranger: this one holds the lock.
  EXPECT_DEATH(lock.Release(),
               absl::StrCat("^mp: ", this->kKind, " \"jobs\": released by ", kSelf, ", but ",
                            Describe(getpid()), " holds it; to release", ".*", kEnd));
  lock.Release();
}

TYPED_TEST(LockDeathTest, ReleaseByStrangerThreadNamesBoth) {
  const TypeParam lock;
  auto act = [&] {
    lock.Acquire();
    std::thread([&] { lock.Release(); }).join();
  };
  // By its address, since it has no name.
  EXPECT_DEATH(act(), absl::StrCat("^mp: ", this->kKind, " at 0x55[0-9a-f]+: released by ", kSelf,
                                   ", but ", kSelf, " holds it"));
}

TYPED_TEST(LockDeathTest, AThreadHoldsItNotItsProcess) {
  const TypeParam lock;
  auto act = [&](auto misuse) {
    lock.Acquire();
    std::thread(misuse).join();
  };
  EXPECT_DEATH(act([&] { lock.AssertHeld(); }), absl::StrCat("asserted to be held by ", kSelf));
  EXPECT_DEATH(act([&] { lock.MarkConsistent(); }), absl::StrCat("marked consistent by ", kSelf));
  std::thread([&] {
    lock.Acquire();
    lock.AssertHeld();
    lock.Release();
  }).join();
}

TYPED_TEST(LockDeathTest, AThreadIsNamedWithItsProcess) {
  const TypeParam lock;
  pid_t tid = 0;
  std::thread thread([&] {
    tid = static_cast<pid_t>(syscall(SYS_gettid));
    lock.Acquire();
    EXPECT_DEATH(lock.Release(),
                 absl::StrCat("but pid ", getpid(), " \\(thread ", tid, "\\) holds it"));
    lock.Release();
  });
  thread.join();
  EXPECT_NE(tid, getpid());
}

TYPED_TEST(LockDeathTest, ReleaseOfAnotherProcessesHoldEndsTheProcess) {
  const TypeParam lock({.name = "jobs"});
  Child child([&](auto& step) {
    lock.Acquire();
    step("acquired");
    lock.Release();
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  EXPECT_DEATH(lock.Release(), absl::StrCat("but ", Describe(child.pid()), " holds it"));
  EXPECT_EQ(child.Finish(), 0);  // unharmed
}

TYPED_TEST(LockDeathTest, AssertHeldByAnybodyElseEndsTheProcess) {
  const TypeParam lock({.name = "jobs"});
  EXPECT_DEATH(lock.AssertHeld(),
               absl::StrCat("^mp: ", this->kKind, " \"jobs\": asserted to be held by ", kSelf,
                            ", but nobody holds it; acquire it first", kEnd));
  lock.Acquire();
  EXPECT_DEATH(lock.AssertHeld(), absl::StrCat("but ", Describe(getpid()), " holds it"));
  lock.Release();
}

TYPED_TEST(LockDeathTest, MarkConsistentByAnybodyElseEndsTheProcess) {
  const TypeParam lock({.name = "jobs"});
  EXPECT_DEATH(lock.MarkConsistent(),
               absl::StrCat("^mp: ", this->kKind, " \"jobs\": marked consistent by ", kSelf,
                            ", but nobody holds it; acquire it first", kEnd));
  lock.Acquire();
  EXPECT_DEATH(lock.MarkConsistent(), absl::StrCat("but ", Describe(getpid()), " holds it"));
  lock.Release();
}

TYPED_TEST(LockDeathTest, OthersGoOnAfterAMisuse) {
  const TypeParam lock;
  Child culprit([&] {
    lock.Acquire();
    lock.Release();
    lock.Release();
  });
  EXPECT_EQ(culprit.Finish(), -SIGABRT);
  lock.Acquire();
  EXPECT_FALSE(lock.owner_died());
  lock.Release();
}

// Lock only: recursion is a mistake.

TEST(PlainLockDeathTest, SecondAcquireByTheHolderEndsTheProcess) {
  const Lock lock({.name = "jobs"});
  const std::string line =
      absl::StrCat("^mp: Lock \"jobs\": acquired by ", kSelf,
                   ", but it is the holder already; to take a lock more than once use RLock", kEnd);
  auto twice = [&](auto acquire) {
    lock.Acquire();
    acquire();
  };
  EXPECT_DEATH(twice([&] { lock.Acquire(); }), line);
  EXPECT_DEATH(twice([&] { (void)lock.Acquire(absl::Seconds(1)); }), line);
  EXPECT_DEATH(twice([&] { (void)lock.Acquire(absl::InfiniteDuration()); }), line);
  EXPECT_DEATH(twice([&] { lock.lock(); }), line);
  EXPECT_DEATH(twice([&] { (void)lock.try_lock_for(std::chrono::seconds(1)); }), line);
  EXPECT_DEATH(twice([&] { const LockGuard guard(lock); }), line);
}

TEST(PlainLockDeathTest, AHolderThatEndsByItsMisuseIsDead) {
  const Lock lock;
  Child culprit([&] {
    lock.Acquire();
    lock.Acquire();
  });
  EXPECT_EQ(culprit.Finish(), -SIGABRT);
  lock.Acquire();
  EXPECT_TRUE(lock.owner_died());
  lock.MarkConsistent();
  lock.Release();
}

// RLock only: each level needs its release, by the holder.

TEST(RLockDeathTest, ReleaseBelowItsLevelEndsTheProcess) {
  const RLock lock({.name = "jobs"});
  auto act = [&] {
    lock.Acquire();
    lock.Acquire();
    for (int i = 0; i < 3; ++i) lock.Release();
  };
  EXPECT_DEATH(act(), "but nobody holds it");
}

TEST(RLockDeathTest, ReleaseInAForkedChildEndsTheChild) {
  const RLock lock;
  lock.Acquire();
  lock.Acquire();
  Child child([&] { lock.Release(); });
  EXPECT_EQ(child.Finish(), -SIGABRT);
  lock.AssertHeld();
  lock.Release();
  lock.Release();
  EXPECT_FALSE(lock.Locked());
}

}  // namespace
}  // namespace mp
