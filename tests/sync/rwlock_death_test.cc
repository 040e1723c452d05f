// Misuse of an RWLock ends the process, with a line that says what and who; so do its limits.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
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

std::string Describe(pid_t pid) { return absl::StrCat("pid ", pid, " \\(thread ", pid, "\\)"); }

class RWLockDeathTest : public ::testing::Test {
 protected:
  const RWLock lock_{RWLockOptions{.name = "table"}};
};

TEST_F(RWLockDeathTest, EndsWithSigabrt) {
  EXPECT_EXIT(lock_.Release(), ::testing::KilledBySignal(SIGABRT), "");
}

TEST_F(RWLockDeathTest, ReleaseByWhoDoesNotWrite) {
  const std::string line = absl::StrCat("^mp: RWLock \"table\": released by ", kSelf,
                                        ", but nobody holds it; to end what it reads use "
                                        "ReleaseShared\\(\\)\n");
  EXPECT_DEATH(lock_.Release(), line);
  EXPECT_DEATH(lock_.unlock(), line);
  auto read_and_release = [&] {
    lock_.AcquireShared();
    lock_.Release();
  };
  EXPECT_DEATH(read_and_release(), line);
  lock_.Acquire();
  // The death test's process is a stranger: this one holds the lock.
  EXPECT_DEATH(lock_.Release(), absl::StrCat("^mp: RWLock \"table\": released by ", kSelf, ", but ",
                                             Describe(getpid()), " holds it; .*\n"));
  lock_.Release();
}

TEST_F(RWLockDeathTest, ReleaseSharedByWhoDoesNotRead) {
  const std::string line = absl::StrCat("^mp: RWLock \"table\": released by ", kSelf,
                                        ", which does not read it; .*Release\\(\\)\n");
  EXPECT_DEATH(lock_.ReleaseShared(), line);
  EXPECT_DEATH(lock_.unlock_shared(), line);
  auto write_and_release = [&] {
    lock_.Acquire();
    lock_.ReleaseShared();
  };
  EXPECT_DEATH(write_and_release(), line);
  auto once_too_often = [&] {
    for (int i = 0; i < 2; ++i) lock_.AcquireShared();
    for (int i = 0; i < 3; ++i) lock_.ReleaseShared();
  };
  EXPECT_DEATH(once_too_often(), line);
  // It is this process that reads, and this thread.
  lock_.AcquireShared();
  EXPECT_DEATH(lock_.ReleaseShared(), line);
  EXPECT_DEATH(std::thread([&] { lock_.ReleaseShared(); }).join(), line);
  lock_.ReleaseShared();
}

TEST_F(RWLockDeathTest, ToWriteTwice) {
  const std::string line =
      absl::StrCat("^mp: RWLock \"table\": acquired by ", kSelf, ", but it is the holder already;");
  auto twice = [&](auto acquire) {
    lock_.Acquire();
    acquire();
  };
  EXPECT_DEATH(twice([&] { lock_.Acquire(); }), line);
  EXPECT_DEATH(twice([&] { (void)lock_.Acquire(absl::Seconds(1)); }), line);
  EXPECT_DEATH(twice([&] { lock_.lock(); }), line);
  EXPECT_DEATH(twice([&] { const LockGuard guard(lock_); }), line);
}

TEST_F(RWLockDeathTest, ToWriteWhatItReads) {
  const std::string line = absl::StrCat("^mp: RWLock \"table\": acquired to write by ", kSelf,
                                        ", which reads it; give back what it reads first\n");
  auto upgrade = [&](auto acquire) {
    lock_.AcquireShared();
    acquire();
  };
  EXPECT_DEATH(upgrade([&] { lock_.Acquire(); }), line);
  EXPECT_DEATH(upgrade([&] { (void)lock_.Acquire(absl::Seconds(1)); }), line);
  EXPECT_DEATH(upgrade([&] { lock_.lock(); }), line);
}

TEST_F(RWLockDeathTest, ToReadWhatItWrites) {
  const std::string line = absl::StrCat("^mp: RWLock \"table\": acquired to read by ", kSelf,
                                        ", but it is the holder already; .*\n");
  auto both = [&](auto acquire) {
    lock_.Acquire();
    acquire();
  };
  EXPECT_DEATH(both([&] { lock_.AcquireShared(); }), line);
  EXPECT_DEATH(both([&] { (void)lock_.AcquireShared(absl::Seconds(1)); }), line);
  EXPECT_DEATH(both([&] { const std::shared_lock reader(lock_); }), line);
}

TEST_F(RWLockDeathTest, AssertedOfSomebodyElse) {
  const std::string written = absl::StrCat("^mp: RWLock \"table\": asserted to be held by ", kSelf,
                                           ", but nobody holds it; acquire it first\n");
  const std::string read = absl::StrCat("^mp: RWLock \"table\": asserted to be read by ", kSelf,
                                        ", which does not read it; acquire it first\n");
  EXPECT_DEATH(lock_.AssertHeld(), written);
  EXPECT_DEATH(lock_.AssertReaderHeld(), read);
  lock_.AcquireShared();
  EXPECT_DEATH(lock_.AssertReaderHeld(), read);
  EXPECT_DEATH(std::thread([&] { lock_.AssertReaderHeld(); }).join(), read);
  lock_.ReleaseShared();
  auto reads = [&] {
    lock_.AcquireShared();
    lock_.AssertHeld();
  };
  EXPECT_DEATH(reads(), written);
}

TEST_F(RWLockDeathTest, MarkConsistentByWhoDoesNotWrite) {
  const std::string line = absl::StrCat("^mp: RWLock \"table\": marked consistent by ", kSelf,
                                        ", but nobody holds it; acquire it first\n");
  EXPECT_DEATH(lock_.MarkConsistent(), line);
  auto reads = [&] {
    lock_.AcquireShared();
    lock_.MarkConsistent();
  };
  EXPECT_DEATH(reads(), line);
}

TEST_F(RWLockDeathTest, OneWithoutANameIsNamedByItsAddress) {
  const RWLock lock;
  EXPECT_DEATH(lock.Release(), "^mp: RWLock at 0x[0-9a-f]+: released by ");
}

TEST_F(RWLockDeathTest, OthersGoOn) {
  Child culprit([&] {
    lock_.AcquireShared();
    lock_.Acquire();
  });
  EXPECT_EQ(culprit.Finish(), -SIGABRT);
  lock_.Acquire();
  EXPECT_FALSE(lock_.owner_died());
  lock_.Release();
}

TEST_F(RWLockDeathTest, AThreadReadsOneThatOftenAndNoMore) {
  constexpr int kMost = 65'536;
  for (int i = 0; i < kMost; ++i) lock_.AcquireShared();
  EXPECT_FALSE(lock_.TryAcquire());
  for (int i = 0; i < kMost; ++i) lock_.ReleaseShared();
  EXPECT_TRUE(lock_.TryAcquire());
  lock_.Release();
  auto once_more = [&] {
    for (int i = 0; i < kMost + 1; ++i) lock_.AcquireShared();
  };
  EXPECT_DEATH(once_more(), "^mp: RWLock \"table\": read by one thread 65,536 times at once\n");
}

TEST_F(RWLockDeathTest, AThreadWritesAsManyAsItMayHoldLocks) {
  constexpr size_t kMost = 2000;
  auto one_more = [&] {
    const std::vector<RWLock> locks(kMost);
    for (const RWLock& lock : locks) lock.Acquire();
    lock_.Acquire();
  };
  EXPECT_DEATH(one_more(), "^mp: RWLock \"table\": acquired by .*, which holds 2000 locks");
}

// In a child, since the table does not shrink.
TEST_F(RWLockDeathTest, NoMoreReadAtOnceThanTheDomainHasRoomFor) {
  constexpr size_t kMost = 163'840;
  constexpr size_t kReaders = 200;
  auto one_more = [&] {
    const Semaphore permits(kMost);
    auto* held = new std::vector<Permit>;
    while (held->size() < kMost - kReaders) held->push_back(permits.AcquirePermit());
    while ((new RWLock)->TryAcquireShared()) {
    }
    const RWLock table({.name = "table"});
    // Who only tries has it not, and leaves nothing behind.
    if (table.TryAcquireShared() || table.AcquireShared(absl::ZeroDuration()) || table.Locked() ||
        permits.TryAcquirePermit().has_value() || permits.GetValue() != kReaders) {
      _exit(1);
    }
    table.AcquireShared();
  };
  EXPECT_DEATH(one_more(),
               "^mp: RWLock \"table\": there is no memory, or no room in the domain, for one more "
               "reader\n");
}

}  // namespace
}  // namespace mp
