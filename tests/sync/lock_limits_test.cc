// The documented limit: of the locks that one thread holds when it dies, the kernel
// gives back the newest 2,048.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
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

constexpr size_t kGivenBack = 2048;
constexpr size_t kHeld = 2500;

template <typename L>
std::vector<L> MakeLocks(size_t count) {
  std::vector<L> locks;
  locks.reserve(count);
  while (locks.size() < count) locks.emplace_back();
  return locks;
}

// Which of the locks that `holder` took, in order, came back.
template <typename L>
void ExpectTheNewestBack(const std::vector<L>& locks) {
  for (size_t i = 0; i < locks.size(); ++i) {
    const bool newest = locks.size() - i <= kGivenBack;
    ASSERT_EQ(locks[i].Locked(), !newest) << i;
    ASSERT_EQ(locks[i].TryAcquire(), newest) << i;
    if (newest) {
      ASSERT_TRUE(locks[i].owner_died()) << i;
      locks[i].Release();
    }
  }
  if (locks.size() > kGivenBack) {
    EXPECT_FALSE(locks[0].Acquire(absl::Milliseconds(1)));
  }
}

template <typename L>
class LockLimitsTest : public ::testing::Test {};
TYPED_TEST_SUITE(LockLimitsTest, Locks, LockNames);

TYPED_TEST(LockLimitsTest, OfTheLocksOfADeadThreadTheNewest2048ComeBack) {
  const std::vector<TypeParam> locks = MakeLocks<TypeParam>(kHeld);
  Child child([&](auto& step) {
    for (const TypeParam& lock : locks) lock.Acquire();
    step("acquired");
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Kill();
  ExpectTheNewestBack(locks);
}

TYPED_TEST(LockLimitsTest, AllThatAreHeldAtExecveComeBackUpToTheSameLimit) {
  const std::vector<TypeParam> locks = MakeLocks<TypeParam>(kHeld);
  Child child([&](auto& step) {
    for (const TypeParam& lock : locks) lock.Acquire();
    step("acquired");
    execl("/bin/sleep", "sleep", "1000", nullptr);
    ADD_FAILURE() << "no execve";
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Go();
  // The oldest one that comes back is the kernel's last.
  locks[kHeld - kGivenBack].Acquire();
  locks[kHeld - kGivenBack].Release();
  EXPECT_TRUE(child.Running());
  ExpectTheNewestBack(locks);
}

TYPED_TEST(LockLimitsTest, ThatManyHeldAndReleasedAreNoHarm) {
  const std::vector<TypeParam> locks = MakeLocks<TypeParam>(kHeld);
  for (const TypeParam& lock : locks) lock.Acquire();
  for (const TypeParam& lock : locks) lock.Release();
  for (const TypeParam& lock : locks) EXPECT_FALSE(lock.Locked());
}

TYPED_TEST(LockLimitsTest, ExactlyTheLimitAllComeBack) {
  const std::vector<TypeParam> locks = MakeLocks<TypeParam>(kGivenBack);
  Child child([&](auto& step) {
    for (const TypeParam& lock : locks) lock.Acquire();
    step("acquired");
  });
  ASSERT_TRUE(child.RunTo("acquired"));
  child.Kill();
  ExpectTheNewestBack(locks);
}

}  // namespace
}  // namespace mp
