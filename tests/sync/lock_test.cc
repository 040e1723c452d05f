// What one thread alone can see of Lock and RLock.

#include "sync/lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "tests/sync/lock_types.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::LockNames;
using testing::Locks;

using ::testing::AllOf;
using ::testing::HasSubstr;

// Small, so that a test can use it up; and it must be so before the lock below.
const absl::Status configured =
    ConfigureDomain({.reserve = size_t{64} << 20, .commit_limit = size_t{8} << 20});

// Made before main().
const Lock global_lock({.name = "global"});

using SteadyClock = std::chrono::steady_clock;

template <typename L>
struct OptionsOf;
template <>
struct OptionsOf<Lock> {
  using Type = LockOptions;
};
template <>
struct OptionsOf<RLock> {
  using Type = RLockOptions;
};

// What holds for both.
template <typename L>
class LockTest : public ::testing::Test {
 public:
  using Options = typename OptionsOf<L>::Type;
};

TYPED_TEST_SUITE(LockTest, Locks, LockNames);

TYPED_TEST(LockTest, HandleIsOnePointer) {
  static_assert(sizeof(TypeParam) == sizeof(void*));
  static_assert(std::is_copy_constructible_v<TypeParam>);
  static_assert(std::is_copy_assignable_v<TypeParam>);
  static_assert(std::is_nothrow_move_constructible_v<TypeParam>);
}

TYPED_TEST(LockTest, AcquireAndReleaseTakeTurns) {
  const TypeParam lock;
  EXPECT_FALSE(lock.Locked());
  for (int i = 0; i < 3; ++i) {
    lock.Acquire();
    EXPECT_TRUE(lock.Locked());
    lock.AssertHeld();
    EXPECT_FALSE(lock.owner_died());
    lock.Release();
    EXPECT_FALSE(lock.Locked());
  }
}

TYPED_TEST(LockTest, EachWayToAcquireAFreeLockDoes) {
  const TypeParam lock;
  auto held = [&lock](bool acquired) {
    EXPECT_TRUE(acquired);
    EXPECT_TRUE(lock.Locked());
    lock.Release();
    EXPECT_FALSE(lock.Locked());
  };
  held(lock.TryAcquire());
  held(lock.Acquire(absl::ZeroDuration()));
  held(lock.Acquire(absl::Seconds(-1)));
  held(lock.Acquire(-absl::InfiniteDuration()));
  held(lock.Acquire(absl::Nanoseconds(1)));
  held(lock.Acquire(absl::Seconds(1)));
  held(lock.Acquire(absl::Hours(1'000'000'000)));
  held(lock.Acquire(absl::InfiniteDuration()));
  held(lock.try_lock());
  held(lock.try_lock_for(std::chrono::seconds(0)));
  held(lock.try_lock_for(std::chrono::seconds(1)));
  held(lock.try_lock_for(std::chrono::duration<double>(0.5)));
  held(lock.try_lock_until(SteadyClock::now()));
  held(lock.try_lock_until(std::chrono::system_clock::now() + std::chrono::seconds(1)));
}

// That they are waited for is in lock_process_test.
TYPED_TEST(LockTest, FarAwayTimesAreTimes) {
  const TypeParam lock;
  auto held = [&lock](bool acquired) {
    EXPECT_TRUE(acquired);
    lock.Release();
  };
  held(lock.try_lock_for(std::chrono::hours::max()));
  held(lock.try_lock_for(std::chrono::hours::min()));
  held(lock.try_lock_for(std::chrono::nanoseconds::max()));
  held(lock.try_lock_for(std::chrono::nanoseconds::min()));
  held(lock.try_lock_for(std::chrono::duration<double>(1e300)));
  held(lock.try_lock_for(std::chrono::duration<double>(std::numeric_limits<double>::infinity())));
  held(lock.try_lock_for(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())));
  held(lock.try_lock_until(SteadyClock::time_point::max()));
  held(lock.try_lock_until(SteadyClock::time_point::min()));
  held(lock.try_lock_until(std::chrono::system_clock::time_point::max()));
  held(lock.try_lock_until(std::chrono::system_clock::time_point::min()));
  held(lock.try_lock_until(std::chrono::sys_days::max()));
  held(lock.try_lock_until(std::chrono::sys_days::min()));
}

TYPED_TEST(LockTest, CopiesAreTheSameLock) {
  const TypeParam lock;
  TypeParam copy = lock;
  copy.Acquire();
  EXPECT_TRUE(lock.Locked());
  lock.Release();
  EXPECT_FALSE(copy.Locked());

  const TypeParam moved = std::move(copy);
  moved.Acquire();
  EXPECT_TRUE(lock.Locked());
  moved.Release();
  // What was moved from refers to it still: there is no handle to nothing.
  EXPECT_FALSE(copy.Locked());  // NOLINT(bugprone-use-after-move)
}

TYPED_TEST(LockTest, AssignmentLetsTheOldLockGo) {
  const size_t before = Stats().in_use;
  {
    TypeParam a;
    const TypeParam b;
    a = b;
    const TypeParam& same = a;
    a = same;
    b.Acquire();
    EXPECT_TRUE(a.Locked());
    a.Release();
  }
  EXPECT_EQ(Stats().in_use, before);
}

TYPED_TEST(LockTest, TheLastHandleGivesTheMemoryBack) {
  const size_t before = Stats().in_use;
  {
    std::optional<TypeParam> lock(std::in_place);
    const size_t with_one = Stats().in_use;
    EXPECT_GT(with_one, before);
    std::vector<TypeParam> copies(10, *lock);
    lock.reset();
    EXPECT_EQ(Stats().in_use, with_one);
    copies[3].Acquire();
    copies[5].Release();
  }
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(LockTest, NamesTakeMemoryAndGiveItBack) {
  const size_t before = Stats().in_use;
  {
    const TypeParam lock(typename TestFixture::Options{.name = std::string(10'000, 'n')});
    EXPECT_GT(Stats().in_use, before + 10'000);
  }
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(LockTest, CreateMakesAUsableLock) {
  const absl::StatusOr<TypeParam> lock = TypeParam::Create({.name = "created"});
  ASSERT_TRUE(lock.ok()) << lock.status();
  lock->Acquire();
  lock->Release();
  EXPECT_TRUE(TypeParam::Create().ok());
}

TYPED_TEST(LockTest, StdScopedLockTakesTwo) {
  TypeParam a;
  TypeParam b;
  {
    const std::scoped_lock both(a, b);
    EXPECT_TRUE(a.Locked());
    EXPECT_TRUE(b.Locked());
  }
  EXPECT_FALSE(a.Locked());
  EXPECT_FALSE(b.Locked());
}

TYPED_TEST(LockTest, StdLocksTakeConstHandlesToo) {
  const TypeParam lock;
  {
    const std::lock_guard guard(lock);
    EXPECT_TRUE(lock.Locked());
  }
  std::unique_lock unique(lock, std::defer_lock);
  EXPECT_TRUE(unique.try_lock());
  unique.unlock();
  EXPECT_TRUE(unique.try_lock_for(std::chrono::milliseconds(1)));
  unique.unlock();
  EXPECT_TRUE(unique.try_lock_until(SteadyClock::now() + std::chrono::milliseconds(1)));
  unique.unlock();
  unique.lock();
  EXPECT_TRUE(lock.Locked());
}

// CPython's test_lock_context.
TYPED_TEST(LockTest, LockGuardHoldsItToTheEndOfItsScope) {
  const TypeParam lock;
  {
    const LockGuard guard(lock);
    EXPECT_TRUE(lock.Locked());
    EXPECT_FALSE(guard.owner_died());
  }
  EXPECT_FALSE(lock.Locked());
}

TYPED_TEST(LockTest, LockGuardTakesNoTemporaryHandle) {
  using Guard = LockGuard<TypeParam>;
  static_assert(std::is_constructible_v<Guard, TypeParam&>);
  static_assert(std::is_constructible_v<Guard, const TypeParam&>);
  static_assert(!std::is_constructible_v<Guard, TypeParam>);
  static_assert(!std::is_constructible_v<Guard, const TypeParam>);
  static_assert(!std::is_convertible_v<const TypeParam&, Guard>);
}

TYPED_TEST(LockTest, LockGuardReleasesWhenAnExceptionLeaves) {
  const TypeParam lock;
  try {
    const LockGuard guard(lock);
    throw 1;
  } catch (int) {
    EXPECT_FALSE(lock.Locked());
  }
  EXPECT_FALSE(lock.Locked());
}

TYPED_TEST(LockTest, MarkConsistentOnAHealthyLockDoesNothing) {
  const TypeParam lock;
  const LockGuard guard(lock);
  lock.MarkConsistent();
  EXPECT_FALSE(guard.owner_died());
}

TYPED_TEST(LockTest, NoMemoryIsAStatusOrTheEndOfTheProcess) {
  const size_t before = Stats().in_use;
  {
    // All that there is: large blocks, then locks in what is left of the pages and cells.
    Domain& domain = **Domain::Get();
    std::vector<void*> blocks;
    for (size_t size = size_t{1} << 20; size > 1024; size /= 2) {
      for (;;) {
        const absl::StatusOr<void*> block = domain.Allocate(size);
        if (!block.ok()) break;
        blocks.push_back(*block);
      }
    }
    std::vector<TypeParam> locks;
    absl::Status status;
    while (status.ok()) {
      absl::StatusOr<TypeParam> lock = TypeParam::Create();
      status = lock.status();
      if (lock.ok()) locks.push_back(*std::move(lock));
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(status.message(), HasSubstr("MP_COMMIT_LIMIT"));

    const std::string kind = LockNames::kName<TypeParam>;
    using Options = typename TestFixture::Options;
    EXPECT_DEATH(TypeParam(Options{.name = "jobs"}),
                 AllOf(HasSubstr("mp: " + kind + " \"jobs\": cannot be made"), HasSubstr("bytes"),
                       HasSubstr("MP_COMMIT_LIMIT")));
    EXPECT_DEATH(TypeParam(), HasSubstr("mp: " + kind + ": cannot be made"));

    // The others go on.
    for (const TypeParam& lock : locks) {
      lock.Acquire();
      lock.Release();
    }
    for (void* block : blocks) domain.Free(block);
  }
  EXPECT_TRUE(TypeParam::Create().ok());
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(LockTest, NoMemoryForANameLeavesNothingBehind) {
  const size_t before = Stats().in_use;
  const absl::StatusOr<TypeParam> lock = TypeParam::Create({.name = std::string(10 << 20, 'n')});
  EXPECT_EQ(lock.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(GlobalLockTest, WorksThoughMadeBeforeMain) {
  EXPECT_EQ(configured, absl::OkStatus());
  const LockGuard guard(global_lock);
  EXPECT_TRUE(global_lock.Locked());
}

// CPython's test_lock.
TEST(PlainLockTest, TryAcquireFailsWhileTheCallerHoldsIt) {
  const Lock lock;
  lock.Acquire();
  EXPECT_FALSE(lock.TryAcquire());
  EXPECT_FALSE(lock.Acquire(absl::ZeroDuration()));
  EXPECT_FALSE(lock.Acquire(absl::Seconds(-1)));
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(std::chrono::seconds(0)));
  EXPECT_FALSE(lock.try_lock_until(SteadyClock::now() - std::chrono::seconds(1)));
  EXPECT_TRUE(lock.Locked());
  lock.Release();
  EXPECT_FALSE(lock.Locked());
}

// CPython's test_rlock.
TEST(RLockTest, IsFreeWhenItWasReleasedAsOften) {
  const RLock lock;
  lock.Acquire();
  EXPECT_TRUE(lock.TryAcquire());
  EXPECT_TRUE(lock.Acquire(absl::ZeroDuration()));
  EXPECT_TRUE(lock.Acquire(absl::Seconds(1)));
  EXPECT_TRUE(lock.Acquire(absl::InfiniteDuration()));
  lock.lock();
  EXPECT_TRUE(lock.try_lock_for(std::chrono::seconds(1)));
  for (int level = 7; level > 0; --level) {
    EXPECT_TRUE(lock.Locked());
    lock.AssertHeld();
    lock.Release();
  }
  EXPECT_FALSE(lock.Locked());
}

TEST(RLockTest, GuardsNest) {
  const RLock lock;
  const LockGuard outer(lock);
  {
    const LockGuard inner(lock);
    const std::lock_guard std_inner(lock);
  }
  lock.AssertHeld();
}

TEST(RLockTest, CanBeTakenVeryOften) {
  const RLock lock;
  constexpr int kTimes = 100'000;
  for (int i = 0; i < kTimes; ++i) lock.Acquire();
  for (int i = 0; i < kTimes; ++i) lock.Release();
  EXPECT_FALSE(lock.Locked());
}

}  // namespace
}  // namespace mp
