// What a Value promises to threads and processes that nobody kills.

#include "sync/value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/shared.h"
#include "sync/condition.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "tests/shared/gives_back.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using ::testing::AllOf;
using testing::Child;
using testing::GivesBackTest;
using ::testing::HasSubstr;
using testing::kSanitized;
using testing::PeerNames;
using testing::Peers;

// Small, so that a test can use it up.
const absl::Status kConfigured =
    ConfigureDomain({.reserve = size_t{64} << 20, .commit_limit = size_t{8} << 20});

struct Point {
  double x = 1;
  double y = 2;
};

class ValueTest : public GivesBackTest {};

TEST_F(ValueTest, HandleIsTwoPointers) {
  ASSERT_EQ(kConfigured, absl::OkStatus());
  static_assert(sizeof(Value<Point>) == 2 * sizeof(void*));
  static_assert(std::is_copy_constructible_v<Value<int>>);
  static_assert(std::is_copy_assignable_v<Value<int>>);
  static_assert(std::is_nothrow_move_constructible_v<Value<int>>);
  static_assert(std::is_default_constructible_v<Value<int>>);
  static_assert(!std::is_convertible_v<int, Value<int>>);
  static_assert(std::is_constructible_v<Value<int>, int, Lock>);
  static_assert(std::is_constructible_v<Value<int>, int, RLock>);
  static_assert(!std::is_constructible_v<Value<int>, int, Condition>);
}

// A value of each of the types that Python has a code for.
template <typename T>
class ValueTypeTest : public GivesBackTest {};
using Types = ::testing::Types<char, signed char, unsigned char, wchar_t, int16_t, uint16_t,
                               int32_t, uint32_t, int64_t, uint64_t, float, double, bool>;
TYPED_TEST_SUITE(ValueTypeTest, Types);

// CPython's test_value.
TYPED_TEST(ValueTypeTest, BeginsAtZeroOrWithItsValueAndIsSetByAnyProcess) {
  EXPECT_EQ(Value<TypeParam>().Get(), TypeParam{});
  const Value<TypeParam> value(static_cast<TypeParam>(1));
  EXPECT_EQ(value.Get(), static_cast<TypeParam>(1));
  const auto other = static_cast<TypeParam>(127);
  Child child([&] {
    EXPECT_EQ(value.Get(), static_cast<TypeParam>(1));
    value.Set(other);
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(value.Get(), other);
  EXPECT_EQ(*value.Raw(), other);
}

TEST_F(ValueTest, DeducesItsType) {
  static_assert(std::is_same_v<decltype(Value(uint64_t{1})), Value<uint64_t>>);
  static_assert(std::is_same_v<decltype(Value(0.5, RLock())), Value<double>>);
  const Value value(2.5);
  const Value copy(value);
  static_assert(std::is_same_v<decltype(copy), const Value<double>>);
  EXPECT_EQ(copy.Raw(), value.Raw());
}

TEST_F(ValueTest, OptionsNameIt) {
  const Value<int> value(7, {.name = "seven"});
  EXPECT_EQ(value.Get(), 7);
  const Value<int> other({}, {.name = "zero"});
  EXPECT_EQ(other.Get(), 0);
  EXPECT_DEATH(value.Release(), "Value \"seven\": released by pid .*, but nobody holds it");
}

TEST_F(ValueTest, HoldsStructs) {
  const Value<Point> point;
  EXPECT_EQ(point.Get().x, 1);
  point.Set({.x = 3, .y = 4});
  EXPECT_EQ(point.Get().y, 4);
  EXPECT_EQ(point.Update([](Point& p) { return p.x += p.y; }), 7);
  EXPECT_EQ(point.Raw()->x, 7);
  const Value<std::array<char, 8000>> large;
  EXPECT_EQ(large.Get()[7999], 0);
  // Of no size that a store has.
  const Value<std::array<char, 3>> three({'a', 'b', 'c'});
  const Value<std::array<char, 7>> seven({'a', 'b', 'c', 'd', 'e', 'f', 'g'});
  three.Update([](auto& text) { text[1] = 'x'; });
  seven.Set({});
  EXPECT_EQ(three.Get(), (std::array<char, 3>{'a', 'x', 'c'}));
  EXPECT_EQ(seven.Get(), (std::array<char, 7>{}));
  struct Fixed {
    const int number = 0;
  };
  const Value<Fixed> fixed(Fixed{1});
  fixed.Set({2});
  EXPECT_EQ(fixed.Get().number, 2);
}

TEST_F(ValueTest, IsAlignedAsItsType) {
  struct alignas(256) Wide {
    char byte = 1;
  };
  const std::array<Value<Wide>, 3> values;
  for (const Value<Wide>& value : values) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(value.Raw()) % 256, 0u);
    EXPECT_EQ(value.Get().byte, 1);
    value.Update([](Wide& wide) { wide.byte = 2; });
    EXPECT_EQ(value.Raw()->byte, 2);
  }
}

TEST_F(ValueTest, UpdateReturnsWhatItsFunctionReturns) {
  const Value<int> value(1);
  EXPECT_EQ(value.Update([](int& n) { return ++n; }), 2);
  EXPECT_EQ(value.Update([](int& n) { return std::to_string(n++); }), "2");
  EXPECT_EQ(value.Update([](int n) { return n + 100; }), 103);
  static_assert(std::is_void_v<decltype(value.Update([](int& n) { ++n; }))>);
  // A reference would be one to nothing.
  static_assert(std::is_same_v<decltype(value.Update([](int& n) -> int& { return ++n; })), int>);
  EXPECT_EQ(value.Update([](int& n) -> int& { return ++n; }), 4);
  auto once = [owned = std::make_unique<int>(5)](int& n) mutable {
    n = *owned;
    return std::move(owned);
  };
  EXPECT_EQ(*value.Update(std::move(once)), 5);
  EXPECT_EQ(value.Get(), 5);
}

TEST_F(ValueTest, UpdateHoldsTheLock) {
  const Value<int> value(1);
  value.Update([&](int& n) {
    value.GetLock().AssertHeld();
    EXPECT_EQ(value.Get(), 1);
    n = 2;
    EXPECT_EQ(value.Get(), 1);  // it is stored at the end
  });
  EXPECT_EQ(value.Get(), 2);
  EXPECT_FALSE(value.Locked());
}

TEST_F(ValueTest, UpdateThatThrowsChangesNothing) {
  const Value<int> value(1);
  const Value<Point> point;
  EXPECT_THROW(value.Update([](int& n) {
    n = 2;
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_THROW(point.Update([](Point& p) {
    p.x = 9;
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_EQ(value.Get(), 1);
  EXPECT_EQ(point.Get().x, 1);
  EXPECT_FALSE(value.Locked());
  EXPECT_FALSE(point.Locked());
}

// CPython's test_getobj_getlock, and the context manager.
TEST_F(ValueTest, IsALock) {
  const Value<int> value(5);
  {
    const LockGuard guard(value);
    EXPECT_FALSE(guard.owner_died());
    EXPECT_TRUE(value.Locked());
    value.AssertHeld();
    value.Set(value.Get() + 1);
    const LockGuard inner(value.GetLock());
    const std::scoped_lock innermost(value);
  }
  EXPECT_FALSE(value.Locked());
  value.Acquire();
  EXPECT_TRUE(value.GetLock().Locked());
  value.GetLock().Release();
  EXPECT_TRUE(value.TryAcquire());
  EXPECT_TRUE(value.Acquire(absl::Seconds(1)));
  EXPECT_TRUE(value.try_lock());
  value.lock();
  value.MarkConsistent();
  EXPECT_FALSE(value.owner_died());
  for (int level = 0; level < 4; ++level) value.unlock();
  EXPECT_FALSE(value.Locked());
  EXPECT_EQ(value.Get(), 6);
}

TEST_F(ValueTest, SeveralShareALock) {
  const Value<int> first(1);
  const Value<int> second(2, first.GetLock(), {.name = "second"});
  const RLock lock;
  const Value<double> third(3, lock);
  const Value<Point> fourth({}, lock);
  {
    const LockGuard guard(first);
    EXPECT_TRUE(second.Locked());
    EXPECT_FALSE(third.Locked());
    second.Set(first.Get());
  }
  {
    const LockGuard guard(fourth);
    EXPECT_TRUE(third.Locked());
    EXPECT_TRUE(lock.Locked());
    third.Set(0);
  }
  EXPECT_EQ(second.Get(), 1);
}

TEST_F(ValueTest, MayHaveALockThatIsTakenOnce) {
  const Lock lock({.name = "once"});
  const Value<int> value(1, lock);
  value.Set(2);
  EXPECT_EQ(value.Update([&](int& n) {
    EXPECT_TRUE(lock.Locked());
    EXPECT_FALSE(value.TryAcquire());
    EXPECT_FALSE(value.GetLock().TryAcquire());
    return n;
  }),
            2);
  {
    const LockGuard guard(lock);
    *value.Raw() += 1;
    EXPECT_TRUE(value.GetLock().Locked());
  }
  const char* const message = "Lock \"once\": acquired by pid .* it is the holder already";
  EXPECT_DEATH(
      {
        lock.Acquire();
        (void)value.Get();
      },
      message);
  EXPECT_DEATH(value.Update([&](int&) { value.GetLock().Acquire(); }), message);
  EXPECT_EQ(value.Get(), 3);
}

TEST_F(ValueTest, ItsLockMayHaveACondition) {
  const Value<int> value(0);
  const Condition changed(value.GetLock());
  Child child([&] {
    const LockGuard guard(value);
    changed.WaitFor([&] { return value.Get() == 1; });
    value.Set(2);
    changed.Notify();
  });
  const LockGuard guard(changed);
  value.Set(1);
  changed.Notify();
  changed.WaitFor([&] { return value.Get() == 2; });
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(ValueTest, CopiesAreTheSameValue) {
  const Value<int> value(1);
  Value<int> copy = value;
  copy.Set(2);
  EXPECT_EQ(value.Get(), 2);
  const Value<int> other(7);
  copy = other;
  EXPECT_EQ(copy.Get(), 7);
  EXPECT_EQ(value.Get(), 2);
  const LockGuard guard(copy);
  EXPECT_TRUE(other.Locked());
  EXPECT_FALSE(value.Locked());
}

TEST_F(ValueTest, CreateMakesOne) {
  const absl::StatusOr<Value<int>> value = Value<int>::Create(5, {.name = "five"});
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(value->Get(), 5);
  EXPECT_TRUE(Value<Point>::Create().ok());
  const Lock lock;
  const absl::StatusOr<Value<int>> locked = Value<int>::Create(6, lock, {.name = "six"});
  ASSERT_TRUE(locked.ok());
  const LockGuard guard(lock);
  EXPECT_TRUE(locked->Locked());
  EXPECT_TRUE(Value<int>::Create(6, value->GetLock()).ok());
}

TEST_F(ValueTest, NoMemoryIsAStatusOrTheEndOfTheProcess) {
  using Bytes = std::array<char, 4000>;
  // All that there is: blocks first, since cells stay cells.
  Domain& domain = **Domain::Get();
  std::vector<void*> blocks;
  for (size_t size = size_t{1} << 20; size > 1024; size /= 2) {
    for (;;) {
      const absl::StatusOr<void*> block = domain.Allocate(size);
      if (!block.ok()) break;
      blocks.push_back(*block);
    }
  }
  const RLock lock;
  std::vector<Value<Bytes>> values;
  absl::Status status;
  while (status.ok()) {
    absl::StatusOr<Value<Bytes>> value = Value<Bytes>::Create({}, lock);
    status = value.status();
    if (value.ok()) values.push_back(*std::move(value));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("MP_COMMIT_LIMIT"));
  EXPECT_EQ(Value<Bytes>::Create().status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_DEATH(Value<Bytes>({}, {.name = "big"}),
               AllOf(HasSubstr("mp: Value \"big\": cannot be made (4000 bytes)"),
                     HasSubstr("MP_COMMIT_LIMIT")));
  EXPECT_DEATH(Value<Bytes>({}, lock), HasSubstr("mp: Value: cannot be made (4000 bytes)"));
  // The others go on.
  for (const Value<Bytes>& value : values) value.Update([](Bytes& bytes) { bytes[0] = 'x'; });
  for (void* block : blocks) domain.Free(block);
}

TEST_F(ValueTest, NoMemoryForANameLeavesNothingBehind) {
  EXPECT_EQ(Value<int>::Create(1, {.name = std::string(10 << 20, 'n')}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(ValueTest, TheLastHandleGivesTheMemoryBack) {
  std::optional<Value<int>> value(std::in_place, 1, ValueOptions{.name = "value"});
  const size_t with_it = Stats().in_use;
  {
    const Value<int> copy = *value;
    value.reset();
    EXPECT_EQ(copy.Get(), 1);
    EXPECT_EQ(Stats().by_type.at("Value").count, 1u);
    EXPECT_EQ(Stats().in_use, with_it);
  }
  EXPECT_LT(Stats().in_use, with_it);
}

TEST_F(ValueTest, ItsLockMayOutliveTheHandle) {
  std::optional<RLock> lock;
  {
    const Value<Point> value({}, {.name = "point"});
    lock = value.GetLock();
  }
  EXPECT_EQ(Stats().by_type.at("Value").count, 1u);
  {
    const LockGuard guard(*lock);
    Child child([&] { EXPECT_FALSE(lock->TryAcquire()); });
    EXPECT_EQ(child.Finish(), 0);
  }
  testing::Settle();
  EXPECT_DEATH(lock->Release(), "Value \"point\": released by pid");
  lock.reset();
  EXPECT_EQ(Stats().by_type.count("Value"), 0u);
}

TEST_F(ValueTest, KeepsTheLockThatItWasMadeWith) {
  std::optional<Lock> lock(std::in_place);
  const Value<int> value(1, *lock);
  lock.reset();
  value.Set(2);
  EXPECT_EQ(Stats().by_type.at("Lock").count, 1u);
}

// It waits until it is released.
TEST_F(ValueTest, DroppedWhileItIsHeldGivesTheMemoryBackLater) {
  {
    std::optional<Value<int>> value(std::in_place);
    Child child([&](auto& step) {
      value->Acquire();
      step("holds");
      value->Release();
    });
    ASSERT_TRUE(child.RunTo("holds"));
    value.reset();
    EXPECT_EQ(child.Finish(), 0);
  }
  testing::Settle();
}

struct Account {
  Value<int> balance{100};
  Value<int> fees{1, balance.GetLock()};
};

TEST_F(ValueTest, MayBeAMemberOfAStructInTheDomain) {
  std::optional<Value<int>> taken_out;
  {
    const Shared<Account> account;
    Child child([&] {
      {
        const LockGuard guard(account->fees);
        EXPECT_TRUE(account->balance.Locked());
        account->balance.Update([&](int& n) { n -= account->fees.Get(); });
      }
      // One that the child made is the struct's now.
      account->fees = Value<int>(2, {.name = "of the child"});
    });
    EXPECT_EQ(child.Finish(), 0);
    EXPECT_EQ(account->balance.Get(), 99);
    EXPECT_EQ(account->fees.Get(), 2);
    EXPECT_FALSE(account->balance.Locked());
    testing::Settle();
    taken_out = account->fees;
  }
  taken_out->Set(3);
  EXPECT_EQ(taken_out->Get(), 3);
  taken_out.reset();
  testing::Settle();
}

// The end of a struct ends what is in it, also where its lock alone is taken out.
TEST_F(ValueTest, ALockTakenOutOfAStructKeepsItsValue) {
  std::optional<RLock> lock;
  {
    const Shared<Value<int>> value(7);
    lock = value->GetLock();
  }
  EXPECT_EQ(Stats().by_type.at("Value").count, 1u);
  lock->Acquire();
  lock->Release();
}

// What holds between threads and between processes.
template <typename P>
class ValuePeerTest : public GivesBackTest {
 protected:
  ~ValuePeerTest() override { testing::Settle(); }
};
TYPED_TEST_SUITE(ValuePeerTest, Peers, PeerNames);

TYPED_TEST(ValuePeerTest, NoUpdateIsLost) {
  const int rounds = kSanitized ? 2'000 : 20'000;
  const Lock lock;
  const Value<int64_t> own(0);
  const Value<Point> point({.x = 0, .y = 0}, lock);
  auto count = [&] {
    for (int i = 0; i < rounds; ++i) {
      own.Update([](int64_t& n) { ++n; });
      point.Update([](Point& p) {
        p.x += 1;
        p.y += 1;
      });
    }
  };
  {
    TypeParam first(count);
    TypeParam second(count);
    first.Go();
    second.Go();
    count();
    EXPECT_EQ(first.Finish(), 0);
    EXPECT_EQ(second.Finish(), 0);
  }
  EXPECT_EQ(own.Get(), 3 * rounds);
  EXPECT_EQ(point.Get().x, 3 * rounds);
  EXPECT_EQ(point.Get().y, 3 * rounds);
}

TYPED_TEST(ValuePeerTest, GetAndSetWaitForTheHolder) {
  const Value<int> value(1);
  TypeParam peer([&](auto& step) {
    step("begins");
    EXPECT_EQ(value.Get(), 3);
    value.Set(4);
    EXPECT_FALSE(value.owner_died());
  });
  ASSERT_TRUE(peer.RunTo("begins"));
  {
    const LockGuard guard(value);
    value.Set(2);
    peer.Go();
    EXPECT_TRUE(peer.WaitUntilAsleep());
    value.Set(3);
  }
  EXPECT_EQ(peer.Finish(), 0);
  EXPECT_EQ(value.Get(), 4);
}

TYPED_TEST(ValuePeerTest, ATimeoutIsTold) {
  const Value<int> value;
  TypeParam peer([&](auto& step) {
    const LockGuard guard(value);
    step("holds");
  });
  ASSERT_TRUE(peer.RunTo("holds"));
  EXPECT_FALSE(value.TryAcquire());
  EXPECT_FALSE(value.try_lock());
  EXPECT_FALSE(value.Acquire(absl::Milliseconds(20)));
  EXPECT_EQ(peer.Finish(), 0);
  EXPECT_TRUE(value.Acquire(absl::Seconds(30)));
  value.Release();
}

// What the others see when a process dies.
class ValueOwnerDeathTest : public GivesBackTest {
 protected:
  ~ValueOwnerDeathTest() override { testing::Settle(); }
};

TEST_F(ValueOwnerDeathTest, TheNextHolderIsToldAndTheOldValueIsThere) {
  const Value<Point> point;
  const Value<int> number(1, point.GetLock());
  Child child([&](auto& step) {
    point.Update([&](Point& p) {
      p.x = 7;
      number.Set(2);
      step("within");
    });
  });
  ASSERT_TRUE(child.RunTo("within"));
  child.Kill();
  EXPECT_EQ(point.Get().x, 1);
  EXPECT_EQ(number.Get(), 2);
  point.Set({.x = 5, .y = 5});
  {
    const LockGuard guard(point);
    EXPECT_TRUE(guard.owner_died());
    EXPECT_TRUE(number.owner_died());
    point.MarkConsistent();
  }
  const LockGuard guard(number);
  EXPECT_FALSE(guard.owner_died());
  EXPECT_EQ(point.Get().x, 5);
}

TEST_F(ValueOwnerDeathTest, AChildHasNotWhatItsParentHolds) {
  const Value<int> value(1);
  const LockGuard guard(value);
  Child child([&] {
    EXPECT_FALSE(value.TryAcquire());
    EXPECT_DEATH(value.Release(), "Value .*: released by pid");
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_TRUE(value.Locked());
}

TEST_F(ValueOwnerDeathTest, WhatADeadProcessMadeIsGivenBack) {
  Child child([](auto& step) {
    const Value<int> value(1, {.name = "a child's"});
    const RLock lock = Value<Point>().GetLock();
    value.Acquire();
    step("made");
  });
  ASSERT_TRUE(child.RunTo("made"));
  EXPECT_EQ(Stats().by_type.at("Value").count, 2u);
  child.Kill();
}

}  // namespace
}  // namespace mp
