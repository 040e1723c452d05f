// What threads and processes see of an RWLock while nobody dies.

#include "sync/rwlock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/object_info.h"
#include "shared/shared.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/listed.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Alarms;
using testing::Child;
using testing::kSanitized;
using testing::Listed;
using testing::PeerNames;
using testing::Peers;
using testing::SleepsOnAfterAlarms;
using SteadyClock = std::chrono::steady_clock;

// Small, so that a test can use it up.
const absl::Status configured = ConfigureDomain({.commit_limit = size_t{48} << 20});

// What one thread alone sees.

TEST(RWLockTest, AWriterHasItAlone) {
  const RWLock lock;
  EXPECT_FALSE(lock.Locked());
  lock.Acquire();
  EXPECT_TRUE(lock.Locked());
  EXPECT_FALSE(lock.owner_died());
  lock.AssertHeld();
  for (const absl::Duration none :
       {absl::ZeroDuration(), absl::Seconds(-1), -absl::InfiniteDuration()}) {
    EXPECT_FALSE(lock.Acquire(none));
    EXPECT_FALSE(lock.AcquireShared(none));
  }
  EXPECT_FALSE(lock.TryAcquire());
  EXPECT_FALSE(lock.TryAcquireShared());
  lock.AssertHeld();
  lock.Release();
  EXPECT_FALSE(lock.Locked());
}

TEST(RWLockTest, WhoReadsMayReadAgainAndGivesBackAsOften) {
  const RWLock lock;
  lock.AcquireShared();
  EXPECT_TRUE(lock.TryAcquireShared());
  EXPECT_TRUE(lock.AcquireShared(absl::ZeroDuration()));
  EXPECT_TRUE(lock.AcquireShared(absl::InfiniteDuration()));
  for (int level = 4; level > 0; --level) {
    lock.AssertReaderHeld();
    EXPECT_FALSE(lock.Locked());
    EXPECT_FALSE(lock.TryAcquire());
    EXPECT_FALSE(lock.Acquire(absl::ZeroDuration()));
    lock.ReleaseShared();
  }
  EXPECT_TRUE(lock.TryAcquire());
  lock.Release();
}

TEST(RWLockTest, WhereNobodyHasItNoTimeoutMatters) {
  const RWLock lock;
  for (const absl::Duration timeout :
       {-absl::InfiniteDuration(), absl::Seconds(-1), absl::ZeroDuration(), absl::Nanoseconds(1),
        absl::Hours(1), absl::InfiniteDuration()}) {
    ASSERT_TRUE(lock.Acquire(timeout));
    lock.Release();
    ASSERT_TRUE(lock.AcquireShared(timeout));
    lock.ReleaseShared();
  }
}

// Of the records that a thread reads with, any may be the one that goes.
TEST(RWLockTest, SeveralAreReadAtOnceAndGivenBackInAnyOrder) {
  constexpr size_t kLocks = 4;
  std::array<size_t, kLocks> order = {0, 1, 2, 3};
  do {
    const std::array<RWLock, kLocks> locks;
    for (size_t i = 0; i < kLocks; ++i) {
      for (size_t level = 0; level <= i; ++level) locks[i].AcquireShared();
    }
    for (const size_t i : order) {
      for (size_t level = 0; level <= i; ++level) {
        locks[i].AssertReaderHeld();
        EXPECT_FALSE(locks[i].TryAcquire());
        locks[i].ReleaseShared();
      }
      EXPECT_TRUE(locks[i].TryAcquire());
    }
    for (const RWLock& lock : locks) lock.Release();
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(RWLockTest, OneMayBeWrittenWhileAnotherIsRead) {
  const RWLock read;
  const RWLock written;
  for (int i = 0; i < 2; ++i) {
    read.AcquireShared();
    written.Acquire();
    EXPECT_TRUE(read.TryAcquireShared());
    written.Release();
    read.ReleaseShared();
    read.ReleaseShared();
  }
  EXPECT_TRUE(read.TryAcquire());
  read.Release();
}

TEST(RWLockTest, IsALockableOfTheStandardLibrary) {
  const RWLock lock;
  RWLock mutex = lock;  // they take one that is not const
  RWLock other;
  constexpr auto kHour = std::chrono::hours(1);
  {
    const std::shared_lock first(mutex);
    const std::shared_lock second(mutex, kHour);
    const std::shared_lock third(mutex, SteadyClock::now() + kHour);
    const std::shared_lock fourth(mutex, std::try_to_lock);
    EXPECT_TRUE(second.owns_lock() && third.owns_lock() && fourth.owns_lock());
    EXPECT_FALSE(lock.TryAcquire());
  }
  {
    std::unique_lock writer(mutex, std::defer_lock);
    EXPECT_FALSE(lock.Locked());
    EXPECT_TRUE(writer.try_lock_for(kHour));
    lock.AssertHeld();
    EXPECT_FALSE(std::shared_lock(mutex, std::try_to_lock).owns_lock());
    writer.unlock();
    EXPECT_TRUE(writer.try_lock_until(std::chrono::system_clock::now() + kHour));
    writer.unlock();
    EXPECT_TRUE(writer.try_lock());
  }
  {
    const std::scoped_lock both(mutex, other);
    lock.AssertHeld();
    other.AssertHeld();
  }
  EXPECT_FALSE(lock.Locked() || other.Locked());
  EXPECT_TRUE(lock.TryAcquire());
  lock.Release();
}

TEST(RWLockTest, GuardsHoldItForAScope) {
  const RWLock lock;
  {
    const LockGuard writer(lock);
    EXPECT_FALSE(writer.owner_died());
    lock.AssertHeld();
  }
  EXPECT_FALSE(lock.Locked());
  {
    const SharedLockGuard reader(lock);
    const SharedLockGuard again(lock);
    EXPECT_FALSE(again.owner_died());
    EXPECT_FALSE(lock.TryAcquire());
  }
  EXPECT_TRUE(lock.TryAcquire());
  lock.Release();
}

TEST(RWLockTest, IsListedWithItsNameAndItsWriter) {
  const absl::StatusOr<RWLock> lock = RWLock::Create({.name = "table"});
  ASSERT_TRUE(lock.ok());
  ASSERT_NE(Listed("table"), std::nullopt);
  EXPECT_EQ(Listed("table")->type, "RWLock");
  EXPECT_EQ(Listed("table")->acquired_by, 0);
  {
    const LockGuard writer(*lock);
    EXPECT_EQ(Listed("table")->acquired_by, gettid());
  }
  const SharedLockGuard reader(*lock);
  EXPECT_EQ(Listed("table")->acquired_by, 0);
}

TEST(RWLockTest, TakesNoMoreThanItSays) {
  const RWLock first;
  const uint64_t before = Stats().in_use;
  const RWLock second;
  const SharedLockGuard reader(second);
  EXPECT_LE(Stats().in_use - before, 128u);
}

TEST(RWLockTest, WhatIsDroppedComesBack) {
  const uint64_t before = Stats().in_use;
  { const RWLock lock({.name = "dropped"}); }
  {
    // Not before it is given back.
    auto lock = std::make_unique<RWLock>(RWLockOptions{.name = "dropped"});
    const RWLock copy = *lock;
    copy.AcquireShared();
    lock.reset();
    copy.ReleaseShared();
  }
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Listed("dropped"), std::nullopt);
}

TEST(RWLockTest, CreateTellsThatThereIsNoMemory) {
  Child child([] {
    Domain& domain = **Domain::Get();
    for (const size_t size : {size_t{1} << 20, size_t{4096}}) {
      while (domain.Allocate(size).ok()) {
      }
    }
    std::vector<RWLock> locks;
    absl::StatusOr<RWLock> lock = RWLock::Create();
    for (; lock.ok(); lock = RWLock::Create()) locks.push_back(*lock);
    EXPECT_EQ(lock.status().code(), absl::StatusCode::kResourceExhausted) << lock.status();
    EXPECT_DEATH(RWLock({.name = "full"}),
                 "^mp: RWLock \"full\": cannot be made \\([0-9]+ bytes\\): ");
    for (const RWLock& each : locks) const SharedLockGuard reader(each);
  });
  EXPECT_EQ(child.Finish(), 0);
}

// Threads, or processes.
template <typename P>
class RWLockPeersTest : public ::testing::Test {
 protected:
  // Somebody who holds the lock until it is told; and who does not get it before that.
  static std::unique_ptr<P> Holder(const std::function<void()>& acquire,
                                   const std::function<void()>& release) {
    auto peer = std::make_unique<P>([acquire, release](auto& step) {
      acquire();
      step("has it");
      release();
    });
    EXPECT_TRUE(peer->RunTo("has it"));
    return peer;
  }
  std::unique_ptr<P> Writer() {
    return Holder([this] { lock_.Acquire(); }, [this] { lock_.Release(); });
  }
  std::unique_ptr<P> Reader() {
    return Holder([this] { lock_.AcquireShared(); }, [this] { lock_.ReleaseShared(); });
  }
  static std::unique_ptr<P> Sleeper(const std::function<void()>& wait) {
    auto peer = std::make_unique<P>([wait](auto& step) {
      step("before");
      wait();
    });
    EXPECT_TRUE(peer->RunTo("before"));
    peer->Go();
    EXPECT_TRUE(peer->WaitUntilAsleep());
    return peer;
  }

  // Each way to wait for it: `timed`, and by the standard library.
  static std::vector<std::function<bool(const RWLock&)>> WaysToWrite() {
    return {
        [](const RWLock& lock) {
          lock.Acquire();
          return true;
        },
        [](const RWLock& lock) { return lock.Acquire(absl::Hours(1)); },
        [](const RWLock& lock) { return lock.Acquire(absl::InfiniteDuration()); },
        [](const RWLock& lock) { return lock.try_lock_for(std::chrono::nanoseconds::max()); },
        [](const RWLock& lock) { return lock.try_lock_until(SteadyClock::time_point::max()); },
    };
  }
  static std::vector<std::function<bool(const RWLock&)>> WaysToRead() {
    return {
        [](const RWLock& lock) {
          lock.AcquireShared();
          return true;
        },
        [](const RWLock& lock) { return lock.AcquireShared(absl::Hours(1)); },
        [](const RWLock& lock) { return lock.AcquireShared(absl::InfiniteDuration()); },
        [](const RWLock& lock) { return lock.try_lock_shared_for(std::chrono::hours::max()); },
        [](const RWLock& lock) {
          return lock.try_lock_shared_until(std::chrono::system_clock::time_point::max());
        },
    };
  }
  void ExpectNotToBeWritten() {
    for (const absl::Duration none :
         {absl::ZeroDuration(), absl::Seconds(-1), -absl::InfiniteDuration()}) {
      EXPECT_FALSE(lock_.Acquire(none));
    }
    EXPECT_FALSE(lock_.TryAcquire());
    EXPECT_FALSE(lock_.try_lock());
    EXPECT_FALSE(lock_.try_lock_for(std::chrono::hours::min()));
    EXPECT_FALSE(lock_.try_lock_until(std::chrono::system_clock::now() - std::chrono::hours(1)));
  }
  void ExpectNotToBeRead() {
    for (const absl::Duration none :
         {absl::ZeroDuration(), absl::Seconds(-1), -absl::InfiniteDuration()}) {
      EXPECT_FALSE(lock_.AcquireShared(none));
    }
    EXPECT_FALSE(lock_.TryAcquireShared());
    EXPECT_FALSE(lock_.try_lock_shared());
    EXPECT_FALSE(lock_.try_lock_shared_for(std::chrono::hours::min()));
    EXPECT_FALSE(lock_.try_lock_shared_until(SteadyClock::time_point::min()));
  }

  const RWLock lock_;
};
TYPED_TEST_SUITE(RWLockPeersTest, Peers, PeerNames);

TYPED_TEST(RWLockPeersTest, AWriterKeepsAllOthersOut) {
  auto writer = this->Writer();
  EXPECT_TRUE(this->lock_.Locked());
  this->ExpectNotToBeWritten();
  this->ExpectNotToBeRead();
  EXPECT_EQ(writer->Finish(), 0);
  EXPECT_FALSE(this->lock_.Locked());
  EXPECT_TRUE(this->lock_.TryAcquireShared());
  this->lock_.ReleaseShared();
}

TYPED_TEST(RWLockPeersTest, ReadersReadAtOnceAndKeepWritersOut) {
  auto first = this->Reader();
  auto second = this->Reader();
  EXPECT_FALSE(this->lock_.Locked());
  this->ExpectNotToBeWritten();
  EXPECT_TRUE(this->lock_.TryAcquireShared());
  EXPECT_TRUE(this->lock_.AcquireShared(absl::ZeroDuration()));
  EXPECT_EQ(first->Finish(), 0);
  this->ExpectNotToBeWritten();
  this->lock_.ReleaseShared();
  this->lock_.ReleaseShared();
  this->ExpectNotToBeWritten();
  EXPECT_EQ(second->Finish(), 0);
  EXPECT_TRUE(this->lock_.TryAcquire());
  this->lock_.Release();
}

TYPED_TEST(RWLockPeersTest, AWriterWaitsForAWriter) {
  for (const auto& acquire : this->WaysToWrite()) {
    this->lock_.Acquire();
    auto sleeper = this->Sleeper([&] {
      EXPECT_TRUE(acquire(this->lock_));
      this->lock_.AssertHeld();
      this->lock_.Release();
    });
    this->lock_.Release();
    EXPECT_EQ(sleeper->Finish(), 0);
  }
}

TYPED_TEST(RWLockPeersTest, AWriterWaitsForTheLastReader) {
  for (const auto& acquire : this->WaysToWrite()) {
    const Shared<std::atomic<int>> readers(2);
    auto reader = this->Reader();
    this->lock_.AcquireShared();
    auto sleeper = this->Sleeper([&] {
      EXPECT_TRUE(acquire(this->lock_));
      EXPECT_EQ(readers->load(), 0);
      this->lock_.AssertHeld();
      this->lock_.Release();
    });
    readers->fetch_sub(1);
    EXPECT_EQ(reader->Finish(), 0);
    readers->fetch_sub(1);
    this->lock_.ReleaseShared();
    EXPECT_EQ(sleeper->Finish(), 0);
    EXPECT_FALSE(this->lock_.Locked());
  }
}

TYPED_TEST(RWLockPeersTest, AReaderWaitsForAWriter) {
  for (const auto& acquire : this->WaysToRead()) {
    this->lock_.Acquire();
    auto sleeper = this->Sleeper([&] {
      EXPECT_TRUE(acquire(this->lock_));
      this->lock_.AssertReaderHeld();
      EXPECT_FALSE(this->lock_.owner_died());
      this->lock_.ReleaseShared();
    });
    this->lock_.Release();
    EXPECT_EQ(sleeper->Finish(), 0);
    EXPECT_TRUE(this->lock_.TryAcquire());
    this->lock_.Release();
  }
}

TYPED_TEST(RWLockPeersTest, TimeoutsAreNotShorterThanAsked) {
  constexpr auto kTimeout = std::chrono::milliseconds(25);
  const RWLock& lock = this->lock_;
  auto times_out = [&](auto acquire) {
    const auto start = SteadyClock::now();
    EXPECT_FALSE(acquire());
    EXPECT_GE(SteadyClock::now() - start, kTimeout);
  };
  auto writers_time_out = [&] {
    times_out([&] { return lock.Acquire(absl::FromChrono(kTimeout)); });
    times_out([&] { return lock.try_lock_for(kTimeout); });
    times_out([&] { return lock.try_lock_until(SteadyClock::now() + kTimeout); });
  };
  {
    auto writer = this->Writer();
    writers_time_out();
    times_out([&] { return lock.AcquireShared(absl::FromChrono(kTimeout)); });
    times_out([&] { return lock.try_lock_shared_for(kTimeout); });
    times_out([&] { return lock.try_lock_shared_until(SteadyClock::now() + kTimeout); });
    EXPECT_EQ(writer->Finish(), 0);
  }
  {
    auto reader = this->Reader();
    writers_time_out();
    // Who did not get it keeps nobody away.
    EXPECT_FALSE(lock.Locked());
    EXPECT_TRUE(lock.TryAcquireShared());
    lock.ReleaseShared();
    EXPECT_EQ(reader->Finish(), 0);
  }
  EXPECT_TRUE(lock.Acquire(absl::FromChrono(kTimeout)));
  lock.Release();
}

TYPED_TEST(RWLockPeersTest, AWriterThatWaitsKeepsNewReadersAwayAndNotTheOld) {
  auto reader = std::make_unique<TypeParam>([this](auto& step) {
    this->lock_.AcquireShared();
    step("reads");
    // In each way: it does not wait for one who waits for it.
    this->lock_.AcquireShared();
    EXPECT_TRUE(this->lock_.TryAcquireShared());
    EXPECT_TRUE(this->lock_.AcquireShared(absl::Hours(1)));
    for (int level = 0; level < 3; ++level) this->lock_.ReleaseShared();
    step("reads still");
    this->lock_.ReleaseShared();
  });
  ASSERT_TRUE(reader->RunTo("reads"));
  const Shared<std::atomic<bool>> written;
  auto writer = this->Sleeper([&] {
    this->lock_.Acquire();
    written->store(true);
    this->lock_.Release();
  });
  EXPECT_TRUE(this->lock_.Locked());
  this->ExpectNotToBeRead();
  EXPECT_FALSE(this->lock_.AcquireShared(absl::Milliseconds(1)));
  auto late = this->Sleeper([&] {
    const SharedLockGuard guard(this->lock_);
    EXPECT_TRUE(written->load());
  });
  ASSERT_TRUE(reader->RunTo("reads still"));
  EXPECT_FALSE(written->load());
  EXPECT_EQ(reader->Finish(), 0);
  EXPECT_EQ(writer->Finish(), 0);
  EXPECT_EQ(late->Finish(), 0);
}

TYPED_TEST(RWLockPeersTest, WhomAWriterThatGaveUpHasKeptAwayGoesOn) {
  auto reader = this->Reader();
  auto writer =
      this->Sleeper([this] { EXPECT_FALSE(this->lock_.Acquire(absl::Milliseconds(300))); });
  TypeParam late([this] { const SharedLockGuard guard(this->lock_); });
  EXPECT_EQ(writer->Finish(), 0);
  EXPECT_EQ(late.Finish(), 0);
  EXPECT_EQ(reader->Finish(), 0);
}

// Each reads until all do: one that was left asleep would hold up the others.
TYPED_TEST(RWLockPeersTest, OneReleaseWakesAllReaders) {
  constexpr int kReaders = kSanitized ? 10 : 30;
  const Shared<std::atomic<int>> reading;
  this->lock_.Acquire();
  std::vector<std::unique_ptr<TypeParam>> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.push_back(this->Sleeper([&] {
      const SharedLockGuard guard(this->lock_);
      reading->fetch_add(1);
      while (reading->load() < kReaders) sched_yield();
    }));
  }
  EXPECT_EQ(reading->load(), 0);
  this->lock_.Release();
  for (auto& reader : readers) EXPECT_EQ(reader->Finish(), 0);
}

TYPED_TEST(RWLockPeersTest, WhatAWriterDidIsSeenByTheNextHolders) {
  struct Pair {
    // Plain memory: the thread sanitizer would tell.
    int64_t up = 0;
    int64_t down = 0;
  };
  constexpr int kRounds = kSanitized ? 240 : 3000;
  static_assert(kRounds % 6 == 0, "as often to write as to read");
  constexpr int kPeers = 3;
  const RWLock& lock = this->lock_;
  const Shared<Pair> pair;
  auto work = [&lock, &pair] {
    for (int i = 0; i < kRounds; ++i) {
      switch (i % 6) {
        case 0:
          lock.Acquire();
          break;
        case 1:
          while (!lock.Acquire(absl::Milliseconds(1))) {
          }
          break;
        case 2:
          while (!lock.TryAcquire()) sched_yield();
          break;
        case 3:
          lock.AcquireShared();
          break;
        case 4:
          while (!lock.AcquireShared(absl::Milliseconds(1))) {
          }
          break;
        case 5:
          while (!lock.TryAcquireShared()) sched_yield();
          break;
      }
      EXPECT_EQ(pair->up, -pair->down);
      if (i % 6 < 3) {
        pair->up += 1;
        pair->down -= 1;
        lock.Release();
      } else {
        lock.ReleaseShared();
      }
    }
  };
  std::vector<std::unique_ptr<TypeParam>> peers;
  for (int i = 0; i < kPeers; ++i) peers.push_back(std::make_unique<TypeParam>(work));
  work();
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
  EXPECT_EQ(pair->up, (kPeers + 1) * kRounds / 2);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(RWLockPeersTest, WritersGetInWhileReadersNeverPause) {
  constexpr int kWrites = kSanitized ? 20 : 200;
  const Shared<std::atomic<bool>> stop;
  std::vector<std::unique_ptr<TypeParam>> readers;
  for (int i = 0; i < 3; ++i) {
    readers.push_back(std::make_unique<TypeParam>([&](auto& step) {
      this->lock_.AcquireShared();
      step("reads");
      while (!stop->load()) {
        this->lock_.ReleaseShared();
        this->lock_.AcquireShared();
      }
      this->lock_.ReleaseShared();
    }));
    ASSERT_TRUE(readers.back()->RunTo("reads"));
  }
  for (auto& reader : readers) reader->Go();
  for (int i = 0; i < kWrites; ++i) {
    const LockGuard guard(this->lock_);
  }
  stop->store(true);
  for (auto& reader : readers) EXPECT_EQ(reader->Finish(), 0);
}

TYPED_TEST(RWLockPeersTest, ReadersGetInWhileWritersNeverPause) {
  constexpr int kReads = kSanitized ? 20 : 100;
  const Shared<std::atomic<bool>> stop;
  std::vector<std::unique_ptr<TypeParam>> writers;
  for (int i = 0; i < 2; ++i) {
    writers.push_back(std::make_unique<TypeParam>([&](auto& step) {
      step("before");
      while (!stop->load()) const LockGuard guard(this->lock_);
    }));
    ASSERT_TRUE(writers.back()->RunTo("before"));
  }
  for (auto& writer : writers) writer->Go();
  for (int i = 0; i < kReads; ++i) {
    const SharedLockGuard guard(this->lock_);
  }
  stop->store(true);
  for (auto& writer : writers) EXPECT_EQ(writer->Finish(), 0);
}

TYPED_TEST(RWLockPeersTest, HandlesInTheDomainAreTheSameLock) {
  struct Account {
    RWLock lock;
    int64_t balance = 0;
  };
  const uint64_t before = Stats().in_use;
  {
    const Shared<Account> account;
    TypeParam peer([&](auto& step) {
      account->lock.Acquire();
      account->balance = 7;
      step("writes");
      account->lock.Release();
      account->lock.AcquireShared();
      step("reads");
      account->lock.ReleaseShared();
    });
    ASSERT_TRUE(peer.RunTo("writes"));
    const RWLock copy = account->lock;
    EXPECT_FALSE(copy.TryAcquireShared());
    ASSERT_TRUE(peer.RunTo("reads"));
    EXPECT_FALSE(copy.TryAcquire());
    {
      const SharedLockGuard guard(copy);
      EXPECT_EQ(account->balance, 7);
    }
    EXPECT_EQ(peer.Finish(), 0);
  }
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Fork.

TEST(RWLockForkTest, AChildHasTheHandleNeverWhatItsParentReads) {
  const RWLock lock;
  lock.AcquireShared();
  lock.AcquireShared();
  Child child([&] {
    // Its parent reads, it does not: so it may wait to write.
    EXPECT_FALSE(lock.TryAcquire());
    EXPECT_FALSE(lock.Acquire(absl::Milliseconds(1)));
    lock.AcquireShared();
    lock.AssertReaderHeld();
    lock.ReleaseShared();
    EXPECT_DEATH(lock.ReleaseShared(), "released");
    // It ends while it reads.
    lock.AcquireShared();
  });
  EXPECT_EQ(child.Finish(), 0);
  lock.AssertReaderHeld();
  lock.ReleaseShared();
  lock.ReleaseShared();
  lock.Acquire();
  EXPECT_FALSE(lock.owner_died());
  lock.Release();
}

TEST(RWLockForkTest, AChildHasTheHandleNeverWhatItsParentWrites) {
  const RWLock lock;
  lock.Acquire();
  Child child([&](auto& step) {
    EXPECT_TRUE(lock.Locked());
    EXPECT_FALSE(lock.TryAcquire());
    EXPECT_FALSE(lock.TryAcquireShared());
    EXPECT_FALSE(lock.Acquire(absl::Milliseconds(1)));
    EXPECT_FALSE(lock.AcquireShared(absl::Milliseconds(1)));
    step("tried");
    const SharedLockGuard guard(lock);
  });
  ASSERT_TRUE(child.RunTo("tried"));
  child.Go();
  ASSERT_TRUE(child.WaitUntilAsleep());
  lock.AssertHeld();
  lock.Release();
  EXPECT_EQ(child.Finish(), 0);
}

TEST(RWLockForkTest, CopiesOfGuardsInAChildDoNothing) {
  const RWLock lock;
  const RWLock other;
  auto writer = std::make_unique<LockGuard<RWLock>>(lock);
  auto reader = std::make_unique<SharedLockGuard<RWLock>>(other);
  Child child([&] {
    writer.reset();
    reader.reset();
    EXPECT_TRUE(lock.Locked());
    EXPECT_FALSE(other.TryAcquire());
    const SharedLockGuard own(other);
  });
  EXPECT_EQ(child.Finish(), 0);
  lock.AssertHeld();
  other.AssertReaderHeld();
  writer.reset();
  reader.reset();
  EXPECT_TRUE(lock.TryAcquire() && other.TryAcquire());
  lock.Release();
  other.Release();
}

// What that one has taken of the table, and of the lock, is the parent's.
TEST(RWLockForkTest, AForkMayComeWhileAnotherThreadReadsOrWrites) {
  constexpr int kForks = kSanitized ? 10 : 40;
  const RWLock lock;
  const Shared<int64_t> count(0);
  std::atomic<bool> stop = false;
  int64_t written = 0;
  auto add = [&] {
    const LockGuard guard(lock);
    ++*count;
  };
  auto look = [&] {
    const SharedLockGuard guard(lock);
    EXPECT_GE(*count, 0);
  };
  std::thread writer([&] {
    for (; !stop.load(); ++written) add();
  });
  std::thread reader([&] {
    while (!stop.load()) look();
  });
  constexpr int kRounds = 20;
  for (int i = 0; i < kForks; ++i) {
    Child child([&] {
      for (int round = 0; round < kRounds; ++round) {
        add();
        look();
      }
    });
    EXPECT_EQ(child.Finish(), 0);
  }
  stop.store(true);
  writer.join();
  reader.join();
  EXPECT_EQ(*count, written + kForks * kRounds);
  EXPECT_FALSE(lock.owner_died());
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(RWLockForkTest, OneThatIsHeldOutlivesItsLastHandle) {
  for (const bool writes : {false, true}) {
    auto lock = std::make_unique<RWLock>();
    Child child([&](auto& step) {
      writes ? lock->Acquire() : lock->AcquireShared();
      step("has it");
      writes ? lock->AssertHeld() : lock->AssertReaderHeld();
      writes ? lock->Release() : lock->ReleaseShared();
    });
    ASSERT_TRUE(child.RunTo("has it"));
    lock.reset();
    // None of these is in its place.
    const std::array<RWLock, 10> locks;
    for (const RWLock& each : locks) EXPECT_TRUE(each.TryAcquire());
    EXPECT_EQ(child.Finish(), 0);
    for (const RWLock& each : locks) each.Release();
    EXPECT_EQ(Check(), absl::OkStatus());
  }
}

TEST(RWLockForkTest, AHandleMayBeDroppedWhileOthersWait) {
  auto lock = std::make_unique<RWLock>();
  const RWLock copy = *lock;
  copy.Acquire();
  Child reader([&] { const SharedLockGuard guard(*lock); });
  Child writer([&] { const LockGuard guard(*lock); });
  for (Child* child : {&reader, &writer}) ASSERT_TRUE(child->WaitUntilAsleep());
  lock.reset();
  copy.Release();
  EXPECT_EQ(reader.Finish(), 0);
  EXPECT_EQ(writer.Finish(), 0);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Signals.

TEST(RWLockSignalTest, AWaitGoesOnAfterAHandler) {
  // Whether it writes, and whom it waits for.
  for (const bool writes : {false, true}) {
    for (const bool for_reader : {false, true}) {
      if (!writes && for_reader) continue;
      for (const int flags : {0, SA_RESTART}) {
        const RWLock lock;
        for_reader ? lock.AcquireShared() : lock.Acquire();
        Child waiter([&](auto& step) {
          const Alarms alarms(
              Alarms::kNever, [](int) {}, flags);
          step("before");
          writes ? lock.Acquire() : lock.AcquireShared();
          step("has it");
          writes ? lock.Release() : lock.ReleaseShared();
        });
        ASSERT_TRUE(waiter.RunTo("before"));
        waiter.Go();
        ASSERT_TRUE(SleepsOnAfterAlarms(waiter));
        for_reader ? lock.ReleaseShared() : lock.Release();
        ASSERT_TRUE(waiter.RunTo("has it"));
        EXPECT_FALSE(lock.TryAcquire());
        EXPECT_EQ(waiter.Finish(), 0);
      }
    }
  }
}

TEST(RWLockSignalTest, HandlersDoNotShortenATimeout) {
  const RWLock read;
  const RWLock written;
  read.AcquireShared();
  written.Acquire();
  for (const int flags : {0, SA_RESTART}) {
    Child waiter([&] {
      const Alarms alarms(
          Alarms::kEachMillisecond, [](int) {}, flags);
      const auto start = SteadyClock::now();
      EXPECT_FALSE(read.Acquire(absl::Milliseconds(60)));
      EXPECT_FALSE(written.Acquire(absl::Milliseconds(60)));
      EXPECT_FALSE(written.AcquireShared(absl::Milliseconds(60)));
      EXPECT_GE(SteadyClock::now() - start, std::chrono::milliseconds(180));
    });
    EXPECT_EQ(waiter.Finish(), 0);
  }
  read.ReleaseShared();
  written.Release();
}

}  // namespace
}  // namespace mp
