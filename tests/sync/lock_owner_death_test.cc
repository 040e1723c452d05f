// What the others see when a holder dies.

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "sync/semaphore.h"
#include "tests/support/child.h"
#include "tests/support/one_cpu.h"
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
using testing::LockNames;
using testing::Locks;
using testing::OneCpu;
using testing::PeerNames;
using testing::Peers;
using testing::Stress;

template <typename L>
class LockOwnerDeathTest : public ::testing::Test {};
TYPED_TEST_SUITE(LockOwnerDeathTest, Locks, LockNames);

// Somebody takes the lock and is killed with it.
template <typename L>
void DieHolding(const L& lock) {
  Child child([&](auto& step) {
    lock.Acquire();
    step("acquired");
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Kill();
}

TYPED_TEST(LockOwnerDeathTest, NextAcquireSucceedsAndIsTold) {
  const TypeParam lock;
  DieHolding(lock);
  EXPECT_FALSE(lock.Locked());
  lock.Acquire();
  EXPECT_TRUE(lock.Locked());
  EXPECT_TRUE(lock.owner_died());
  lock.AssertHeld();
  lock.MarkConsistent();
  EXPECT_FALSE(lock.owner_died());
  lock.Release();
  lock.Acquire();
  EXPECT_FALSE(lock.owner_died());
  lock.Release();
}

TYPED_TEST(LockOwnerDeathTest, EachWayToAcquireLearnsOfIt) {
  const TypeParam lock;
  auto learns = [&](auto acquire) {
    DieHolding(lock);
    EXPECT_TRUE(acquire());
    EXPECT_TRUE(lock.owner_died());
    lock.MarkConsistent();
    lock.Release();
  };
  learns([&] { return lock.TryAcquire(); });
  learns([&] { return lock.Acquire(absl::ZeroDuration()); });
  learns([&] { return lock.Acquire(absl::Seconds(1)); });
  learns([&] { return lock.Acquire(absl::InfiniteDuration()); });
  learns([&] { return lock.try_lock(); });
  learns([&] { return lock.try_lock_for(std::chrono::seconds(1)); });
  learns([&] {
    lock.lock();
    return true;
  });
  DieHolding(lock);
  const LockGuard guard(lock);
  EXPECT_TRUE(guard.owner_died());
  lock.MarkConsistent();
  EXPECT_FALSE(guard.owner_died());
}

TYPED_TEST(LockOwnerDeathTest, EveryLaterHolderIsToldUntilOneRepairs) {
  const TypeParam lock;
  DieHolding(lock);
  for (int i = 0; i < 3; ++i) {
    const LockGuard guard(lock);
    EXPECT_TRUE(guard.owner_died());
  }
  Child child([&] {
    const LockGuard guard(lock);
    EXPECT_TRUE(guard.owner_died());
    lock.MarkConsistent();
  });
  EXPECT_EQ(child.Finish(), 0);
  const LockGuard guard(lock);
  EXPECT_FALSE(guard.owner_died());
}

TYPED_TEST(LockOwnerDeathTest, ARepairerThatDiesToldTheNext) {
  const TypeParam lock;
  DieHolding(lock);
  for (int i = 0; i < 3; ++i) {
    Child repairer([&](auto& step) {
      lock.Acquire();
      EXPECT_TRUE(lock.owner_died());
      step("repairing");
    });
    ASSERT_TRUE(repairer.RunTo("repairing"));
    repairer.Kill();
  }
  const LockGuard guard(lock);
  EXPECT_TRUE(guard.owner_died());
}

TYPED_TEST(LockOwnerDeathTest, ADeathAfterTheRepairIsToldAnew) {
  const TypeParam lock;
  DieHolding(lock);
  Child repairer([&](auto& step) {
    lock.Acquire();
    lock.MarkConsistent();
    step("repaired");
  });
  ASSERT_TRUE(repairer.RunTo("repaired"));
  repairer.Kill();
  const LockGuard guard(lock);
  EXPECT_TRUE(guard.owner_died());
}

TYPED_TEST(LockOwnerDeathTest, ASleeperIsWokenAndTold) {
  for (const absl::Duration timeout : {absl::InfiniteDuration(), absl::Hours(1)}) {
    const TypeParam lock;
    Child holder([&](auto& step) {
      lock.Acquire();
      step("acquired");
    });
    ASSERT_TRUE(holder.RunTo("acquired"));
    Child sleeper([&](auto& step) {
      step("before");
      EXPECT_TRUE(lock.Acquire(timeout));
      EXPECT_TRUE(lock.owner_died());
      lock.Release();
    });
    ASSERT_TRUE(sleeper.RunTo("before"));
    sleeper.Go();
    ASSERT_TRUE(sleeper.WaitUntilAsleep());
    holder.Kill();
    EXPECT_EQ(sleeper.Finish(), 0);
  }
}

TYPED_TEST(LockOwnerDeathTest, AQueueOfSleepersIsServedToTheLast) {
  const TypeParam lock;
  const RawValue<int> served(0);
  Child holder([&](auto& step) {
    lock.Acquire();
    step("acquired");
  });
  ASSERT_TRUE(holder.RunTo("acquired"));
  auto sleep = [&](auto& step) {
    step("before");
    const LockGuard guard(lock);
    EXPECT_TRUE(guard.owner_died());
    ++*served;
  };
  Child first(sleep);
  Child second(sleep);
  Child third(sleep);
  for (Child* sleeper : {&first, &second, &third}) {
    ASSERT_TRUE(sleeper->RunTo("before"));
    sleeper->Go();
    ASSERT_TRUE(sleeper->WaitUntilAsleep());
  }
  holder.Kill();
  for (Child* sleeper : {&first, &second, &third}) EXPECT_EQ(sleeper->Finish(), 0);
  EXPECT_EQ(*served, 3);
}

TYPED_TEST(LockOwnerDeathTest, ADeadSleeperIsNotMissed) {
  const TypeParam lock;
  lock.Acquire();
  auto sleep = [&](auto& step) {
    step("before");
    const LockGuard guard(lock);
    EXPECT_FALSE(guard.owner_died());
  };
  Child doomed(sleep);
  Child other(sleep);
  for (Child* sleeper : {&doomed, &other}) {
    ASSERT_TRUE(sleeper->RunTo("before"));
    sleeper->Go();
    ASSERT_TRUE(sleeper->WaitUntilAsleep());
  }
  doomed.Kill();
  lock.Release();
  EXPECT_EQ(other.Finish(), 0);
  const LockGuard guard(lock);
  EXPECT_FALSE(guard.owner_died());
}

TYPED_TEST(LockOwnerDeathTest, TheEndOfTheHoldingThreadIsADeath) {
  const TypeParam lock;
  std::thread([&] { lock.Acquire(); }).join();
  EXPECT_FALSE(lock.Locked());
  lock.Acquire();
  EXPECT_TRUE(lock.owner_died());
  lock.MarkConsistent();
  lock.Release();
}

// Who has much memory takes the kernel long to end.
TEST(LargeOwnerDeathTest, WhatAProcessOfGigabytesHadIsHandedOn) {
  const size_t size = Stress() ? size_t{4} << 30 : size_t{256} << 20;
  const size_t available = static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * 4096;
  if (available < 2 * size) GTEST_SKIP() << available << " bytes of memory are free";
  const Lock lock;
  const Semaphore semaphore(1);
  Child holder([&](auto& step) {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    madvise(memory, size, MADV_NOHUGEPAGE);
    ASSERT_EQ(madvise(memory, size, MADV_POPULATE_WRITE), 0);
    lock.Acquire();
    const Permit permit = semaphore.AcquirePermit();
    step("has them");
  });
  Child next([&](auto& step) {
    step("before");
    lock.Acquire();
    EXPECT_TRUE(lock.owner_died());
    lock.Release();
  });
  Child other([&](auto& step) {
    step("before");
    semaphore.Acquire();
  });
  ASSERT_TRUE(holder.RunTo("has them"));
  for (Child* sleeper : {&next, &other}) {
    ASSERT_TRUE(sleeper->RunTo("before"));
    sleeper->Go();
    ASSERT_TRUE(sleeper->WaitUntilAsleep());
  }
  // Nobody reaps it meanwhile.
  ASSERT_EQ(kill(holder.pid(), SIGKILL), 0);
  EXPECT_EQ(next.Finish(), 0);
  EXPECT_EQ(other.Finish(), 0);
}

TYPED_TEST(LockOwnerDeathTest, AnEndWithoutReleaseIsADeath) {
  const TypeParam lock;
  Child child([&] { lock.Acquire(); });
  EXPECT_EQ(child.Finish(), 0);
  const LockGuard guard(lock);
  EXPECT_TRUE(guard.owner_died());
}

TYPED_TEST(LockOwnerDeathTest, ExecveIsADeath) {
  const TypeParam lock;
  Child child([&](auto& step) {
    lock.Acquire();
    step("acquired");
    execl("/bin/sleep", "sleep", "1000", nullptr);
    ADD_FAILURE() << "no execve";
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  EXPECT_FALSE(lock.TryAcquire());
  child.Go();
  lock.Acquire();  // comes back though the process lives on
  EXPECT_TRUE(child.Running());
  EXPECT_TRUE(lock.owner_died());
  lock.MarkConsistent();
  lock.Release();
}

TYPED_TEST(LockOwnerDeathTest, AStoppedHolderIsNotDead) {
  const TypeParam lock;
  Child child([&](auto& step) {
    lock.Acquire();
    step("acquired");
    lock.Release();
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Stop();
  EXPECT_FALSE(lock.Acquire(absl::Milliseconds(1)));
  child.Continue();
  EXPECT_EQ(child.Finish(), 0);
  const LockGuard guard(lock);
  EXPECT_FALSE(guard.owner_died());
}

TYPED_TEST(LockOwnerDeathTest, ADeathBesideTheLockIsNone) {
  const TypeParam lock;
  Child child([&](auto& step) {
    lock.Acquire();
    lock.Release();
    step("released");
  });
  ASSERT_TRUE(child.RunTo("released"));
  child.Kill();
  const LockGuard guard(lock);
  EXPECT_FALSE(guard.owner_died());
}

TYPED_TEST(LockOwnerDeathTest, SeveralLocksOfOneHolderAllComeBack) {
  const std::vector<TypeParam> locks = [] {
    std::vector<TypeParam> made;
    for (int i = 0; i < 100; ++i) made.emplace_back();
    return made;
  }();
  Child child([&](auto& step) {
    for (const TypeParam& lock : locks) lock.Acquire();
    for (size_t i = 0; i < locks.size(); i += 2) locks[i].Release();
    step("acquired");
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Kill();
  for (size_t i = 0; i < locks.size(); ++i) {
    const LockGuard guard(locks[i]);
    EXPECT_EQ(guard.owner_died(), i % 2 == 1);
  }
  EXPECT_EQ(Check(), absl::OkStatus());
}

// What was dropped while it was held does not cut the others off.
TYPED_TEST(LockOwnerDeathTest, LocksBesideADroppedOneComeBack) {
  const TypeParam first;
  const TypeParam last;
  Child child([&](auto& step) {
    first.Acquire();
    {
      const TypeParam dropped;
      dropped.Acquire();
    }
    const TypeParam in_its_place;
    in_its_place.Acquire();
    in_its_place.Release();
    last.Acquire();
    step("acquired");
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Kill();
  for (const TypeParam* lock : {&first, &last}) {
    ASSERT_TRUE(lock->TryAcquire());
    EXPECT_TRUE(lock->owner_died());
    lock->Release();
  }
}

TEST(RLockOwnerDeathTest, ADeathAtDepthThreeGivesLevelOne) {
  const RLock lock;
  Child child([&](auto& step) {
    for (int level = 0; level < 3; ++level) lock.Acquire();
    step("deep");
  });
  ASSERT_TRUE(child.RunTo("deep"));
  child.Kill();
  lock.Acquire();
  EXPECT_TRUE(lock.owner_died());
  lock.Acquire();
  EXPECT_TRUE(lock.owner_died());
  lock.MarkConsistent();
  lock.Release();
  EXPECT_TRUE(lock.Locked());
  lock.Release();
  EXPECT_FALSE(lock.Locked());
}

// Peers that must live are of either kind.

template <typename P>
class LockTornDataTest : public ::testing::Test {};
TYPED_TEST_SUITE(LockTornDataTest, Peers, PeerNames);

TYPED_TEST(LockTornDataTest, OneRepairsForAll) {
  const Lock lock;
  const RawValue<int> data(0);
  const RawValue<int> mirror(0);
  Child child([&](auto& step) {
    lock.Acquire();
    *data = 1;
    step("half-way");
    *mirror = 1;
  });
  ASSERT_TRUE(child.RunTo("half-way"));
  child.Kill();
  TypeParam peer([&](auto& step) {
    const LockGuard guard(lock);
    EXPECT_TRUE(guard.owner_died());
    EXPECT_NE(*data, *mirror);
    *mirror = *data;
    lock.MarkConsistent();
    step("repaired");
  });
  ASSERT_TRUE(peer.RunTo("repaired"));
  EXPECT_EQ(peer.Finish(), 0);
  const LockGuard guard(lock);
  EXPECT_FALSE(guard.owner_died());
  EXPECT_EQ(*data, *mirror);
}

// A waiter that was woken, and killed before it ran, takes its wake-up with it when somebody
// else has taken the lock meanwhile: the kernel sees a holder, and the holder no waiters.
TYPED_TEST(LockOwnerDeathTest, AWokenWaiterThatIsKilledLeavesNobodyAsleep) {
  const TypeParam lock;
  // On one processor, where the woken one does not run before we sleep.
  const OneCpu one_cpu;
  lock.Acquire();
  Child woken([&](auto&) {
    const sched_param none = {};
    sched_setscheduler(0, SCHED_IDLE, &none);
    lock.Acquire();
  });
  ASSERT_TRUE(woken.WaitUntilAsleep());
  Child next([&](auto&) {
    lock.Acquire();
    lock.Release();
  });
  ASSERT_TRUE(next.WaitUntilAsleep());

  lock.Release();
  lock.Acquire();
  woken.Kill();
  lock.Release();
  EXPECT_EQ(next.Finish(), 0);
}

}  // namespace
}  // namespace mp
