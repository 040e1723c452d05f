// Misuse of an RLock ends the process, with a line that says what and who.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "sync/rlock.h"
#include "tests/support/child.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Child;

// A death test's child is a process of its own: what it says of itself is a pattern.
constexpr char kSelf[] = "pid [0-9]+ \\(thread [0-9]+\\)";
// Nothing follows the line.
constexpr char kEnd[] = "\n";

std::string Describe(pid_t pid) { return absl::StrCat("pid ", pid, " \\(thread ", pid, "\\)"); }

TEST(RLockDeathTest, EndsWithSigabrt) {
  const RLock lock;
  EXPECT_EXIT(lock.Release(), ::testing::KilledBySignal(SIGABRT), "");
}

TEST(RLockDeathTest, ReleaseOfAFreeLockEndsTheProcess) {
  const RLock lock({.name = "jobs"});
  const std::string line = absl::StrCat("^mp: RLock \"jobs\": released by ", kSelf,
                                        ", but nobody holds it; to release what another thread or "
                                        "process acquired use Semaphore\\(1\\)",
                                        kEnd);
  EXPECT_DEATH(lock.Release(), line);
  EXPECT_DEATH(lock.unlock(), line);
}

TEST(RLockDeathTest, ReleaseByStrangerEndsTheProcess) {
  const RLock lock({.name = "jobs"});
  lock.Acquire();
  // The death test's process is a stranger: this one holds the lock.
  EXPECT_DEATH(lock.Release(),
               absl::StrCat("^mp: RLock \"jobs\": released by ", kSelf, ", but ",
                            Describe(getpid()), " holds it; to release", ".*", kEnd));
  lock.Release();
}

TEST(RLockDeathTest, ReleaseByStrangerThreadNamesBoth) {
  const RLock lock;
  auto act = [&] {
    lock.Acquire();
    std::thread([&] { lock.Release(); }).join();
  };
  // By its address, since it has no name.
  EXPECT_DEATH(act(), absl::StrCat("^mp: RLock at 0x55[0-9a-f]+: released by ", kSelf, ", but ",
                                   kSelf, " holds it"));
}

TEST(RLockDeathTest, AThreadIsNamedWithItsProcess) {
  const RLock lock;
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

TEST(RLockDeathTest, ReleaseOfAnotherProcessesHoldEndsTheProcess) {
  const RLock lock({.name = "jobs"});
  Child child([&](auto& step) {
    lock.Acquire();
    step("acquired");
    lock.Release();
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  EXPECT_DEATH(lock.Release(), absl::StrCat("but ", Describe(child.pid()), " holds it"));
  EXPECT_EQ(child.Finish(), 0);  // unharmed
}

TEST(RLockDeathTest, AssertHeldByAnybodyElseEndsTheProcess) {
  const RLock lock({.name = "jobs"});
  EXPECT_DEATH(lock.AssertHeld(),
               absl::StrCat("^mp: RLock \"jobs\": asserted to be held by ", kSelf,
                            ", but nobody holds it; acquire it first", kEnd));
  lock.Acquire();
  EXPECT_DEATH(lock.AssertHeld(), absl::StrCat("but ", Describe(getpid()), " holds it"));
  lock.Release();
}

TEST(RLockDeathTest, MarkConsistentByAnybodyElseEndsTheProcess) {
  const RLock lock({.name = "jobs"});
  EXPECT_DEATH(lock.MarkConsistent(),
               absl::StrCat("^mp: RLock \"jobs\": marked consistent by ", kSelf,
                            ", but nobody holds it; acquire it first", kEnd));
  lock.Acquire();
  EXPECT_DEATH(lock.MarkConsistent(), absl::StrCat("but ", Describe(getpid()), " holds it"));
  lock.Release();
}

TEST(RLockDeathTest, OthersGoOnAfterAMisuse) {
  const RLock lock;
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
