// The documented limit: a thread holds at most 2,000 locks, so that the kernel gives them all
// back when it dies.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "tests/support/child.h"
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

constexpr size_t kMost = 2000;

template <typename L>
std::vector<L> MakeLocks(size_t count) {
  std::vector<L> locks;
  locks.reserve(count);
  while (locks.size() < count) locks.emplace_back();
  return locks;
}

template <typename L>
void ExpectAllBack(const std::vector<L>& locks) {
  for (size_t i = 0; i < locks.size(); ++i) {
    ASSERT_FALSE(locks[i].Locked()) << i;
    ASSERT_TRUE(locks[i].TryAcquire()) << i;
    ASSERT_TRUE(locks[i].owner_died()) << i;
    locks[i].Release();
  }
}

template <typename L>
class LockLimitsTest : public ::testing::Test {};
TYPED_TEST_SUITE(LockLimitsTest, Locks, LockNames);

TYPED_TEST(LockLimitsTest, OfADeadThreadThatHeldTheMostAllComeBack) {
  const std::vector<TypeParam> locks = MakeLocks<TypeParam>(kMost);
  const TypeParam slept_for;
  slept_for.Acquire();
  Child child([&](auto& step) {
    // It has a lane, too.
    EXPECT_FALSE(slept_for.Acquire(absl::Milliseconds(1)));
    for (const TypeParam& lock : locks) lock.Acquire();
    step("acquired");
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Kill();
  ExpectAllBack(locks);
  slept_for.Release();
}

TYPED_TEST(LockLimitsTest, AllThatAreHeldAtExecveComeBack) {
  const std::vector<TypeParam> locks = MakeLocks<TypeParam>(kMost);
  Child child([&](auto& step) {
    for (const TypeParam& lock : locks) lock.Acquire();
    step("acquired");
    execl("/bin/sleep", "sleep", "1000", nullptr);
    ADD_FAILURE() << "no execve";
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Go();
  // The oldest one is the kernel's last.
  locks[0].Acquire();
  locks[0].Release();
  EXPECT_TRUE(child.Running());
  ExpectAllBack(locks);
}

TYPED_TEST(LockLimitsTest, ThatManyHeldAndReleasedAreNoHarm) {
  const std::vector<TypeParam> locks = MakeLocks<TypeParam>(kMost);
  for (int round = 0; round < 2; ++round) {
    for (const TypeParam& lock : locks) lock.Acquire();
    for (const TypeParam& lock : locks) lock.Release();
  }
  for (const TypeParam& lock : locks) EXPECT_FALSE(lock.Locked());
}

// In whatever way it is taken.
TYPED_TEST(LockLimitsTest, OneMoreThanTheMostEndsTheProcess) {
  const TypeParam more({.name = "more"});
  auto hold_the_most = [] {
    // In a child of fork, which holds none of its parent's.
    static const std::vector<TypeParam>* locks;
    locks = new std::vector<TypeParam>(MakeLocks<TypeParam>(kMost));
    for (const TypeParam& lock : *locks) lock.Acquire();
  };
  const char* const message = "Lock .more..*: acquired by pid .*, which holds 2000 locks already";
  EXPECT_DEATH(
      {
        hold_the_most();
        more.Acquire();
      },
      message);
  EXPECT_DEATH(
      {
        hold_the_most();
        (void)more.TryAcquire();
      },
      message);
  EXPECT_DEATH(
      {
        hold_the_most();
        (void)more.Acquire(absl::Seconds(1));
      },
      message);
}

TYPED_TEST(LockLimitsTest, TheLimitIsOfAThread) {
  const std::vector<TypeParam> locks = MakeLocks<TypeParam>(kMost);
  const TypeParam more;
  for (const TypeParam& lock : locks) lock.Acquire();
  std::thread([&] {
    more.Acquire();
    more.Release();
  }).join();
  Child child([&] {
    more.Acquire();
    more.Release();
  });
  EXPECT_EQ(child.Finish(), 0);
  for (const TypeParam& lock : locks) lock.Release();
}

TEST(RLockLimitsTest, OnlyTheFirstLevelCounts) {
  const RLock lock;
  for (size_t level = 0; level < 2 * kMost; ++level) lock.Acquire();
  const std::vector<RLock> locks = MakeLocks<RLock>(kMost - 1);
  for (const RLock& other : locks) other.Acquire();
  // At the limit, too.
  lock.Acquire();
  EXPECT_TRUE(lock.TryAcquire());
  for (size_t level = 0; level < 2 * kMost + 2; ++level) lock.Release();
  EXPECT_FALSE(lock.Locked());
  const RLock more;
  more.Acquire();
  more.Release();
  for (const RLock& other : locks) other.Release();
}

}  // namespace
}  // namespace mp
