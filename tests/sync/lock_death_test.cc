// Misuse of a Lock ends the process, with a line that says what and who.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sync/lock.h"
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

TEST(LockDeathTest, SecondAcquireByTheHolderEndsTheProcess) {
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

TEST(LockDeathTest, EndsWithSigabrt) {
  const Lock lock;
  EXPECT_EXIT(lock.Release(), ::testing::KilledBySignal(SIGABRT), "");
}

TEST(LockDeathTest, ReleaseOfAFreeLockEndsTheProcess) {
  const Lock lock({.name = "jobs"});
  const std::string line = absl::StrCat("^mp: Lock \"jobs\": released by ", kSelf,
                                        ", but nobody holds it; to release what another thread or "
                                        "process acquired use Semaphore\\(1\\)",
                                        kEnd);
  EXPECT_DEATH(lock.Release(), line);
  EXPECT_DEATH(lock.unlock(), line);
}

TEST(LockDeathTest, ReleaseByStrangerEndsTheProcess) {
  const Lock lock({.name = "jobs"});
  lock.Acquire();
  // The death test's process is a stranger: this one holds the lock.
  EXPECT_DEATH(lock.Release(),
               absl::StrCat("^mp: Lock \"jobs\": released by ", kSelf, ", but ", Describe(getpid()),
                            " holds it; to release", ".*", kEnd));
  lock.Release();
}

TEST(LockDeathTest, ReleaseByStrangerThreadNamesBoth) {
  const Lock lock;
  auto act = [&] {
    lock.Acquire();
    std::thread([&] { lock.Release(); }).join();
  };
  // By its address, since it has no name.
  EXPECT_DEATH(act(), absl::StrCat("^mp: Lock at 0x55[0-9a-f]+: released by ", kSelf, ", but ",
                                   kSelf, " holds it"));
}

TEST(LockDeathTest, AThreadIsNamedWithItsProcess) {
  const Lock lock;
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

TEST(LockDeathTest, ReleaseOfAnotherProcessesHoldEndsTheProcess) {
  const Lock lock({.name = "jobs"});
  Child child([&](auto& step) {
    lock.Acquire();
    step("acquired");
    lock.Release();
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  EXPECT_DEATH(lock.Release(), absl::StrCat("but ", Describe(child.pid()), " holds it"));
  EXPECT_EQ(child.Finish(), 0);  // unharmed
}

TEST(LockDeathTest, AssertHeldByAnybodyElseEndsTheProcess) {
  const Lock lock({.name = "jobs"});
  EXPECT_DEATH(lock.AssertHeld(), absl::StrCat("^mp: Lock \"jobs\": asserted to be held by ", kSelf,
                                               ", but nobody holds it; acquire it first", kEnd));
  lock.Acquire();
  EXPECT_DEATH(lock.AssertHeld(), absl::StrCat("but ", Describe(getpid()), " holds it"));
  lock.Release();
}

TEST(LockDeathTest, MarkConsistentByAnybodyElseEndsTheProcess) {
  const Lock lock({.name = "jobs"});
  EXPECT_DEATH(lock.MarkConsistent(),
               absl::StrCat("^mp: Lock \"jobs\": marked consistent by ", kSelf,
                            ", but nobody holds it; acquire it first", kEnd));
  lock.Acquire();
  EXPECT_DEATH(lock.MarkConsistent(), absl::StrCat("but ", Describe(getpid()), " holds it"));
  lock.Release();
}

TEST(LockDeathTest, OthersGoOnAfterAMisuse) {
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

}  // namespace
}  // namespace mp
