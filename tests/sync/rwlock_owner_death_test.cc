// What the others see when one who reads or writes dies.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "sync/rwlock.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Child;
using testing::Settle;

class RWLockOwnerDeathTest : public ::testing::Test {
 protected:
  std::unique_ptr<Child> Start(const std::function<void()>& acquire) {
    auto child = std::make_unique<Child>([acquire](auto& step) {
      acquire();
      step("has it");
      execl("/bin/sleep", "sleep", "1000", nullptr);
    });
    EXPECT_TRUE(child->RunTo("has it"));
    return child;
  }
  std::unique_ptr<Child> StartWriter() {
    return Start([this] { lock_.Acquire(); });
  }
  std::unique_ptr<Child> StartReader() {
    return Start([this] { lock_.AcquireShared(); });
  }
  static std::unique_ptr<Child> StartSleeper(const std::function<void()>& wait) {
    auto child = std::make_unique<Child>([wait](auto& step) {
      step("before");
      wait();
    });
    EXPECT_TRUE(child->RunTo("before"));
    child->Go();
    EXPECT_TRUE(child->WaitUntilAsleep());
    return child;
  }
  void Repair() {
    const LockGuard guard(lock_);
    EXPECT_TRUE(guard.owner_died());
    lock_.MarkConsistent();
    EXPECT_FALSE(guard.owner_died());
  }

  const RWLock lock_;
};

TEST_F(RWLockOwnerDeathTest, EachWayToAcquireLearnsThatAWriterDied) {
  auto learns = [&](auto acquire, auto release) {
    StartWriter()->Kill();
    EXPECT_FALSE(lock_.Locked());
    EXPECT_TRUE(acquire());
    EXPECT_TRUE(lock_.owner_died());
    release();
    Repair();
  };
  const auto release = [&] { lock_.Release(); };
  learns([&] { return lock_.TryAcquire(); }, release);
  learns([&] { return lock_.Acquire(absl::ZeroDuration()); }, release);
  learns([&] { return lock_.Acquire(absl::Seconds(1)); }, release);
  learns([&] { return lock_.try_lock_for(std::chrono::seconds(1)); }, release);
  learns([&] { return lock_.Acquire(), true; }, release);
  const auto release_shared = [&] { lock_.ReleaseShared(); };
  learns([&] { return lock_.TryAcquireShared(); }, release_shared);
  learns([&] { return lock_.AcquireShared(absl::ZeroDuration()); }, release_shared);
  learns([&] { return lock_.AcquireShared(absl::Seconds(1)); }, release_shared);
  learns([&] { return lock_.try_lock_shared_for(std::chrono::seconds(1)); }, release_shared);
  learns([&] { return lock_.AcquireShared(), true; }, release_shared);
}

TEST_F(RWLockOwnerDeathTest, EveryLaterHolderIsToldUntilAWriterRepairs) {
  StartWriter()->Kill();
  for (int i = 0; i < 2; ++i) {
    const SharedLockGuard guard(lock_);
    EXPECT_TRUE(guard.owner_died());
    // Readers read at once, repaired or not.
    Child other([&] {
      const SharedLockGuard another(lock_);
      EXPECT_TRUE(another.owner_died());
    });
    EXPECT_EQ(other.Finish(), 0);
  }
  {
    const LockGuard guard(lock_);
    EXPECT_TRUE(guard.owner_died());
  }
  // One that dies before the repair, and one that dies after it.
  StartWriter()->Kill();
  Repair();
  Start([&] {
    lock_.Acquire();
    EXPECT_FALSE(lock_.owner_died());
    lock_.MarkConsistent();
  })->Kill();
  Repair();
  const SharedLockGuard guard(lock_);
  EXPECT_FALSE(guard.owner_died());
}

TEST_F(RWLockOwnerDeathTest, WhoSleepsForAWriterThatDiesIsWokenAndTold) {
  auto writer = StartWriter();
  auto write = [&] {
    const LockGuard guard(lock_);
    EXPECT_TRUE(guard.owner_died());
  };
  auto read = [&] {
    ASSERT_TRUE(lock_.AcquireShared(absl::Hours(1)));
    EXPECT_TRUE(lock_.owner_died());
    lock_.ReleaseShared();
  };
  std::vector<std::unique_ptr<Child>> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.push_back(StartSleeper(read));
    sleepers.push_back(StartSleeper(write));
  }
  writer->Kill();
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper->Finish(), 0);
  Repair();
}

TEST_F(RWLockOwnerDeathTest, AReaderThatDiesReadsNoMoreAndLeavesNothingToRepair) {
  auto first = StartReader();
  auto second = StartReader();
  auto writer = StartSleeper([&] {
    const LockGuard guard(lock_);
    EXPECT_FALSE(guard.owner_died());
  });
  first->Kill();
  ASSERT_TRUE(writer->WaitUntilAsleep());
  EXPECT_FALSE(lock_.TryAcquireShared());
  second->Kill();
  EXPECT_EQ(writer->Finish(), 0);
  EXPECT_TRUE(lock_.TryAcquire());
  EXPECT_FALSE(lock_.owner_died());
  lock_.Release();
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_F(RWLockOwnerDeathTest, AReaderThatEndsReadsNoMore) {
  Child child([&] {
    for (int i = 0; i < 3; ++i) lock_.AcquireShared();
  });
  EXPECT_EQ(child.Finish(), 0);
  lock_.Acquire();
  EXPECT_FALSE(lock_.owner_died());
  lock_.Release();
}

TEST_F(RWLockOwnerDeathTest, WhoDiesWaitingHoldsUpNobody) {
  // It waits for the reader, and keeps others away.
  auto reader = StartReader();
  auto doomed = StartSleeper([&] { lock_.Acquire(); });
  auto late = StartSleeper([&] { lock_.AcquireShared(); });
  doomed->Kill();
  EXPECT_EQ(late->Finish(), 0);
  reader->Kill();
  Repair();

  // They wait for a writer.
  lock_.Acquire();
  auto other_writer = StartSleeper([&] { lock_.Acquire(); });
  auto other_reader = StartSleeper([&] { lock_.AcquireShared(); });
  auto next_writer = StartSleeper([&] {
    const LockGuard guard(lock_);
    EXPECT_FALSE(guard.owner_died());
  });
  auto next_reader = StartSleeper([&] { const SharedLockGuard guard(lock_); });
  other_writer->Kill();
  other_reader->Kill();
  lock_.Release();
  EXPECT_EQ(next_writer->Finish(), 0);
  EXPECT_EQ(next_reader->Finish(), 0);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_F(RWLockOwnerDeathTest, TheEndOfTheWritingThreadIsADeath) {
  std::thread([&] { lock_.Acquire(); }).join();
  EXPECT_TRUE(lock_.TryAcquireShared());
  EXPECT_TRUE(lock_.owner_died());
  lock_.ReleaseShared();
  Repair();
}

TEST_F(RWLockOwnerDeathTest, AThreadThatEndsKeepsWhatItReadsUntilItsProcessEnds) {
  Child child([&](auto& step) {
    std::thread([&] { lock_.AcquireShared(); }).join();
    step("the thread has ended");
  });
  ASSERT_TRUE(child.RunTo("the thread has ended"));
  Settle();
  EXPECT_FALSE(lock_.TryAcquire());
  EXPECT_TRUE(lock_.TryAcquireShared());
  lock_.ReleaseShared();
  EXPECT_EQ(child.Finish(), 0);
  const LockGuard guard(lock_);
  EXPECT_FALSE(guard.owner_died());
}

TEST_F(RWLockOwnerDeathTest, ExecveIsADeath) {
  auto writer = StartWriter();
  writer->Go();
  lock_.Acquire();
  EXPECT_TRUE(writer->Running());
  EXPECT_TRUE(lock_.owner_died());
  lock_.MarkConsistent();
  lock_.Release();

  auto reader = StartReader();
  reader->Go();
  lock_.Acquire();
  EXPECT_TRUE(reader->Running());
  EXPECT_FALSE(lock_.owner_died());
  lock_.Release();
}

TEST_F(RWLockOwnerDeathTest, WhoIsStoppedIsNotDead) {
  auto reader = StartReader();
  reader->Stop();
  Settle();
  EXPECT_FALSE(lock_.Acquire(absl::Milliseconds(1)));
  reader->Kill(SIGKILL);
  auto writer = StartWriter();
  writer->Stop();
  Settle();
  EXPECT_FALSE(lock_.AcquireShared(absl::Milliseconds(1)));
  EXPECT_FALSE(lock_.Acquire(absl::Milliseconds(1)));
}

}  // namespace
}  // namespace mp
