// What two threads, or two processes, see of Lock and RLock.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "tests/support/child.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"
#include "tests/sync/lock_types.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::Child;
using testing::kSanitized;
using testing::LockNames;
using testing::Locks;
using testing::PeerNames;
using testing::Peers;
using testing::ProcessPeer;
using testing::ThreadPeer;

using SteadyClock = std::chrono::steady_clock;

template <typename L, typename P>
struct With {
  using Lock = L;
  using Peer = P;
};

template <typename T>
class LockProcessTest : public ::testing::Test {};

class Names {
 public:
  template <typename T>
  static std::string GetName(int) {
    return LockNames::GetName<typename T::Lock>(0) + PeerNames::GetName<typename T::Peer>(0);
  }
};
using Pairs = ::testing::Types<With<Lock, ThreadPeer>, With<Lock, ProcessPeer>,
                               With<RLock, ThreadPeer>, With<RLock, ProcessPeer>>;
TYPED_TEST_SUITE(LockProcessTest, Pairs, Names);

TYPED_TEST(LockProcessTest, OnlyOneHoldsIt) {
  const typename TypeParam::Lock lock;
  typename TypeParam::Peer peer([&](auto& step) {
    lock.Acquire();
    step("acquired");
    lock.Release();
    step("released");
  });
  ASSERT_TRUE(peer.RunTo("acquired"));
  EXPECT_TRUE(lock.Locked());
  EXPECT_FALSE(lock.TryAcquire());
  EXPECT_FALSE(lock.Acquire(absl::ZeroDuration()));
  EXPECT_FALSE(lock.Acquire(absl::Seconds(-1)));
  EXPECT_FALSE(lock.Acquire(-absl::InfiniteDuration()));
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_until(std::chrono::system_clock::now() - std::chrono::seconds(1)));
  EXPECT_FALSE(lock.try_lock_until(SteadyClock::time_point::min()));
  EXPECT_FALSE(lock.try_lock_until(std::chrono::system_clock::time_point::min()));
  EXPECT_FALSE(lock.try_lock_until(std::chrono::sys_days::min()));
  EXPECT_FALSE(lock.try_lock_for(std::chrono::hours::min()));
  EXPECT_FALSE(lock.try_lock_for(std::chrono::nanoseconds::min()));
  EXPECT_FALSE(lock.try_lock_for(std::chrono::duration<double>(-1e300)));
  ASSERT_TRUE(peer.RunTo("released"));
  EXPECT_FALSE(lock.Locked());
  EXPECT_TRUE(lock.TryAcquire());
  lock.Release();
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(LockProcessTest, SecondOneSleepsUntilRelease) {
  const typename TypeParam::Lock lock;
  lock.Acquire();
  typename TypeParam::Peer peer([&](auto& step) {
    step("before");
    lock.Acquire();
    EXPECT_FALSE(lock.owner_died());
    step("acquired");
    lock.Release();
  });
  ASSERT_TRUE(peer.RunTo("before"));
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  lock.Release();
  ASSERT_TRUE(peer.RunTo("acquired"));
  EXPECT_FALSE(lock.TryAcquire());
  EXPECT_EQ(peer.Finish(), 0);
  EXPECT_TRUE(lock.TryAcquire());
  lock.Release();
}

TYPED_TEST(LockProcessTest, TimedWaitIsWokenByRelease) {
  const typename TypeParam::Lock lock;
  auto is_woken = [&](auto acquire) {
    lock.Acquire();
    typename TypeParam::Peer peer([&](auto& step) {
      step("before");
      EXPECT_TRUE(acquire());
      lock.Release();
    });
    EXPECT_TRUE(peer.RunTo("before"));
    peer.Go();
    EXPECT_TRUE(peer.WaitUntilAsleep());
    lock.Release();
    EXPECT_EQ(peer.Finish(), 0);
  };
  is_woken([&] { return lock.Acquire(absl::Hours(1)); });
  is_woken([&] { return lock.Acquire(absl::Hours(1'000'000'000)); });
  is_woken([&] { return lock.Acquire(absl::InfiniteDuration()); });
  is_woken([&] { return lock.try_lock_for(std::chrono::hours(1)); });
  is_woken([&] { return lock.try_lock_until(SteadyClock::now() + std::chrono::hours(1)); });
  // As far away as can be written down.
  is_woken([&] { return lock.try_lock_for(std::chrono::nanoseconds::max()); });
  is_woken([&] { return lock.try_lock_for(std::chrono::hours::max()); });
  is_woken([&] { return lock.try_lock_for(std::chrono::duration<double>(1e300)); });
  is_woken([&] { return lock.try_lock_until(SteadyClock::time_point::max()); });
  is_woken([&] { return lock.try_lock_until(std::chrono::system_clock::time_point::max()); });
  is_woken([&] { return lock.try_lock_until(std::chrono::sys_days::max()); });
}

TYPED_TEST(LockProcessTest, TimeoutsAreNotShorterThanAsked) {
  const typename TypeParam::Lock lock;
  typename TypeParam::Peer peer([&](auto& step) {
    lock.Acquire();
    step("acquired");
    lock.Release();
  });
  ASSERT_TRUE(peer.RunTo("acquired"));
  constexpr auto kTimeout = std::chrono::milliseconds(25);
  auto times_out = [&](auto acquire) {
    const auto start = SteadyClock::now();
    EXPECT_FALSE(acquire());
    EXPECT_GE(SteadyClock::now() - start, kTimeout);
  };
  times_out([&] { return lock.Acquire(absl::FromChrono(kTimeout)); });
  times_out([&] { return lock.try_lock_for(kTimeout); });
  times_out([&] { return lock.try_lock_for(std::chrono::duration<double>(kTimeout)); });
  times_out([&] { return lock.try_lock_until(SteadyClock::now() + kTimeout); });
  const auto wall_end = std::chrono::system_clock::now() + kTimeout;
  EXPECT_FALSE(lock.try_lock_until(wall_end));
  // Less than it was to wait only if somebody sets the clock.
  EXPECT_GE(std::chrono::system_clock::now(), wall_end);
  EXPECT_EQ(peer.Finish(), 0);
  EXPECT_TRUE(lock.Acquire(absl::FromChrono(kTimeout)));
  lock.Release();
}

// A waiter looks after its lock now and then; that it looked is no reason to come back.
TYPED_TEST(LockProcessTest, AWaitLastsAsLongAsTheHold) {
  const typename TypeParam::Lock lock;
  const RawValue<int> acquired(0);
  lock.Acquire();
  auto wait = [&](absl::Duration timeout) {
    return [&, timeout](auto& step) {
      step("before");
      EXPECT_TRUE(lock.Acquire(timeout));
      ++*acquired;
      lock.Release();
    };
  };
  typename TypeParam::Peer untimed(wait(absl::InfiniteDuration()));
  typename TypeParam::Peer timed(wait(absl::Hours(1)));
  for (typename TypeParam::Peer* peer : {&untimed, &timed}) {
    ASSERT_TRUE(peer->RunTo("before"));
    peer->Go();
    ASSERT_TRUE(peer->WaitUntilAsleep());
  }
  // For several looks; this one ends by itself.
  typename TypeParam::Peer impatient([&] {
    constexpr auto kTimeout = std::chrono::milliseconds(200);
    const auto start = SteadyClock::now();
    EXPECT_FALSE(lock.Acquire(absl::FromChrono(kTimeout)));
    EXPECT_GE(SteadyClock::now() - start, kTimeout);
  });
  EXPECT_EQ(impatient.Finish(), 0);
  EXPECT_EQ(*acquired, 0);
  lock.Release();
  EXPECT_EQ(untimed.Finish(), 0);
  EXPECT_EQ(timed.Finish(), 0);
  EXPECT_EQ(*acquired, 2);
}

TYPED_TEST(LockProcessTest, AfterATimeoutTheLockIsAsBefore) {
  const typename TypeParam::Lock lock;
  typename TypeParam::Peer peer([&](auto& step) {
    lock.Acquire();
    step("acquired");
    lock.Release();
    step("released");
    lock.Acquire();
    lock.Release();
  });
  ASSERT_TRUE(peer.RunTo("acquired"));
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(lock.Acquire(absl::Microseconds(10)));
  ASSERT_TRUE(peer.RunTo("released"));
  EXPECT_EQ(peer.Finish(), 0);
  EXPECT_FALSE(lock.Locked());
}

TYPED_TEST(LockProcessTest, WhatAHolderDidIsSeenByTheNext) {
  const typename TypeParam::Lock lock;
  // Plain memory: the thread sanitizer would tell.
  const RawArray<int64_t> pair({0, 0});
  constexpr int kRounds = kSanitized ? 500 : 5000;
  auto work = [&] {
    for (int i = 0; i < kRounds; ++i) {
      switch (i % 3) {
        case 0:
          lock.Acquire();
          break;
        case 1:
          while (!lock.Acquire(absl::Seconds(1))) {
          }
          break;
        case 2:
          while (!lock.TryAcquire()) sched_yield();
          break;
      }
      EXPECT_EQ(pair[0], -pair[1]);
      pair[0] += 1;
      pair[1] -= 1;
      lock.Release();
    }
  };
  {
    typename TypeParam::Peer first(work);
    typename TypeParam::Peer second(work);
    typename TypeParam::Peer third(work);
    work();
    EXPECT_EQ(first.Finish(), 0);
    EXPECT_EQ(second.Finish(), 0);
    EXPECT_EQ(third.Finish(), 0);
  }
  EXPECT_EQ(pair[0], 4 * kRounds);
}

TYPED_TEST(LockProcessTest, LockGuardKeepsOthersOut) {
  const typename TypeParam::Lock lock;
  typename TypeParam::Peer peer([&](auto& step) {
    {
      const LockGuard guard(lock);
      EXPECT_FALSE(guard.owner_died());
      step("inside");
    }
    step("outside");
  });
  ASSERT_TRUE(peer.RunTo("inside"));
  EXPECT_FALSE(lock.TryAcquire());
  ASSERT_TRUE(peer.RunTo("outside"));
  EXPECT_TRUE(lock.TryAcquire());
  lock.Release();
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(LockProcessTest, HandlesInTheDomainAreTheSameLock) {
  struct Account {
    typename TypeParam::Lock lock;
    int64_t balance = 0;
  };
  const size_t before = Stats().in_use;
  {
    const Shared<Account> account;
    typename TypeParam::Peer peer([&](auto& step) {
      account->lock.Acquire();
      account->balance = 7;
      step("acquired");
      account->lock.Release();
    });
    ASSERT_TRUE(peer.RunTo("acquired"));
    EXPECT_FALSE(account->lock.TryAcquire());
    EXPECT_EQ(peer.Finish(), 0);
    const LockGuard guard(account->lock);
    EXPECT_EQ(account->balance, 7);
  }
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(LockProcessTest, ManyLocksAreIndependent) {
  const std::array<typename TypeParam::Lock, 3> locks;
  typename TypeParam::Peer peer([&](auto& step) {
    locks[1].Acquire();
    step("acquired");
    locks[1].Release();
  });
  ASSERT_TRUE(peer.RunTo("acquired"));
  EXPECT_TRUE(locks[0].TryAcquire());
  EXPECT_FALSE(locks[1].TryAcquire());
  EXPECT_TRUE(locks[2].TryAcquire());
  locks[0].Release();
  locks[2].Release();
  EXPECT_EQ(peer.Finish(), 0);
}

// RLock only.

template <typename P>
class RLockProcessTest : public ::testing::Test {};
TYPED_TEST_SUITE(RLockProcessTest, Peers, PeerNames);

TYPED_TEST(RLockProcessTest, StaysTakenUntilTheLastLevel) {
  const RLock lock;
  TypeParam peer([&](auto& step) {
    for (int level = 0; level < 3; ++level) lock.Acquire();
    for (int level = 3; level > 0; --level) {
      step("held");
      lock.Release();
    }
    step("free");
  });
  for (int level = 3; level > 0; --level) {
    ASSERT_TRUE(peer.RunTo("held"));
    EXPECT_FALSE(lock.TryAcquire());
    EXPECT_FALSE(lock.Acquire(absl::Microseconds(1)));
    EXPECT_TRUE(lock.Locked());
  }
  ASSERT_TRUE(peer.RunTo("free"));
  EXPECT_TRUE(lock.TryAcquire());
  EXPECT_TRUE(lock.TryAcquire());
  lock.Release();
  lock.Release();
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(RLockProcessTest, ASleeperIsWokenByTheLastReleaseOnly) {
  const RLock lock;
  const RawValue<int> levels(2);
  lock.Acquire();
  lock.Acquire();
  TypeParam peer([&](auto& step) {
    step("before");
    lock.Acquire();
    EXPECT_EQ(*levels, 0);
    lock.Release();
  });
  ASSERT_TRUE(peer.RunTo("before"));
  peer.Go();
  ASSERT_TRUE(peer.WaitUntilAsleep());
  *levels = 1;
  lock.Release();
  *levels = 0;
  lock.Release();
  EXPECT_EQ(peer.Finish(), 0);
}

// Fork.

template <typename L>
class LockForkTest : public ::testing::Test {};
TYPED_TEST_SUITE(LockForkTest, Locks, LockNames);

TYPED_TEST(LockForkTest, AChildHasTheHandleNeverTheHold) {
  const TypeParam lock;
  lock.Acquire();
  if constexpr (std::is_same_v<TypeParam, RLock>) lock.Acquire();
  Child child([&](auto& step) {
    EXPECT_TRUE(lock.Locked());
    EXPECT_FALSE(lock.TryAcquire());
    EXPECT_FALSE(lock.Acquire(absl::Microseconds(1)));
    step("tried");
    lock.Acquire();
    lock.Release();
  });
  ASSERT_TRUE(child.RunTo("tried"));
  child.Go();
  ASSERT_TRUE(child.WaitUntilAsleep());
  lock.AssertHeld();
  if constexpr (std::is_same_v<TypeParam, RLock>) lock.Release();
  lock.Release();
  EXPECT_EQ(child.Finish(), 0);
}

TYPED_TEST(LockForkTest, AGuardsCopyInAChildDoesNothing) {
  const TypeParam lock;
  auto guard = std::make_unique<LockGuard<TypeParam>>(lock);
  Child child([&] {
    guard.reset();  // no line, no end of this process
    EXPECT_TRUE(lock.Locked());
    EXPECT_FALSE(lock.TryAcquire());
    // One that the child makes itself works.
    const TypeParam own;
    { const LockGuard own_guard(own); }
    EXPECT_FALSE(own.Locked());
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_TRUE(lock.Locked());
  guard.reset();
  EXPECT_FALSE(lock.Locked());
}

TYPED_TEST(LockForkTest, AGrandchildsCopyOfAGuardDoesNothingEither) {
  const TypeParam lock;
  Child child([&] {
    auto guard = std::make_unique<LockGuard<TypeParam>>(lock);
    Child grandchild([&] { guard.reset(); });
    EXPECT_EQ(grandchild.Finish(), 0);
    EXPECT_TRUE(lock.Locked());
    guard.reset();
    EXPECT_FALSE(lock.Locked());
  });
  EXPECT_EQ(child.Finish(), 0);
}

TYPED_TEST(LockForkTest, WorksInAChildOfAProgramWithThreads) {
  const TypeParam lock;
  const RawValue<int64_t> counter(0);
  const RawValue<bool> stop(false);
  constexpr int kRounds = 200;
  auto add = [&] {
    const LockGuard guard(lock);
    ++*counter;
  };
  int64_t by_threads = 0;
  {
    auto work = [&] {
      int64_t rounds = 0;
      for (bool stopping = false; !stopping; ++rounds) {
        const LockGuard guard(lock);
        ++*counter;
        stopping = *stop;
      }
      const LockGuard guard(lock);
      by_threads += rounds;
    };
    // Forks meet the threads in all places, with the lock held by them and not.
    std::thread first(work);
    std::thread second(work);
    for (int i = 0; i < 10; ++i) {
      Child child([&] {
        for (int round = 0; round < kRounds; ++round) add();
        const TypeParam own({.name = "own"});
        const LockGuard guard(own);
      });
      EXPECT_EQ(child.Finish(), 0);
    }
    {
      const LockGuard guard(lock);
      *stop = true;
    }
    first.join();
    second.join();
  }
  EXPECT_EQ(*counter, by_threads + 10 * kRounds);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(LockForkTest, ALockThatIsHeldOutlivesItsLastHandle) {
  auto lock = std::make_unique<TypeParam>();
  Child child([&](auto& step) {
    lock->Acquire();
    step("acquired");
    lock->AssertHeld();
    lock->Release();
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  lock.reset();
  // None of these is in its place.
  const std::array<TypeParam, 10> locks;
  for (const TypeParam& each : locks) EXPECT_TRUE(each.TryAcquire());
  EXPECT_EQ(child.Finish(), 0);
  for (const TypeParam& each : locks) each.Release();
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(LockForkTest, AChildsDropOfItsCopyTakesNothingFromTheParent) {
  auto lock = std::make_unique<TypeParam>();
  Child child([&] {
    const TypeParam copy = *lock;
    lock.reset();
    const LockGuard guard(copy);
  });
  EXPECT_EQ(child.Finish(), 0);
  const LockGuard guard(*lock);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
