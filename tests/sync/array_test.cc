// What an Array promises to threads and processes that nobody kills.

#include "sync/array.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <istream>
#include <iterator>
#include <limits>
#include <list>
#include <mutex>
#include <numeric>
#include <optional>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "sync/value.h"
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
using ::testing::Each;
using ::testing::ElementsAre;
using testing::GivesBackTest;
using ::testing::HasSubstr;
using testing::kSanitized;
using testing::PeerNames;
using testing::Peers;
using testing::Stress;

std::vector<int> UpToTen() { return {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; }

class ArrayTest : public GivesBackTest {
 protected:
  ~ArrayTest() override { testing::Settle(); }
};

TEST_F(ArrayTest, HandleIsTwoPointers) {
  static_assert(sizeof(Array<double>) == 2 * sizeof(void*));
  static_assert(std::is_copy_constructible_v<Array<int>>);
  static_assert(std::is_copy_assignable_v<Array<int>>);
  static_assert(!std::is_default_constructible_v<Array<int>>);
  static_assert(!std::is_convertible_v<size_t, Array<int>>);
  static_assert(!std::is_constructible_v<Array<int>, std::vector<std::string>>);
  static_assert(!std::is_constructible_v<Array<int>, int*>);
  static_assert(std::is_constructible_v<Array<int>, size_t, Lock>);
  static_assert(std::is_constructible_v<Array<int>, std::vector<int>, RLock>);
}

// CPython's test_array: a sequence, of which a child sums up the tails.
TEST_F(ArrayTest, IsWhatItWasMadeOfForAllProcesses) {
  const std::vector<int> sequence = {680, 626, 934, 821, 150, 233, 548, 982, 714, 831};
  const Array<int> array(sequence);
  ASSERT_EQ(array.size(), sequence.size());
  EXPECT_TRUE(std::ranges::equal(array, sequence));
  EXPECT_TRUE(std::ranges::equal(array.Slice(2, 5), absl::MakeSpan(sequence).subspan(2, 5)));
  std::ranges::copy(std::vector<int>{1, 2, 3, 4}, array.Slice(4, 4).begin());
  std::vector<int> expected = sequence;
  std::ranges::copy(std::vector<int>{1, 2, 3, 4}, expected.begin() + 4);
  EXPECT_TRUE(std::ranges::equal(array, expected));

  Child child([&] { std::partial_sum(array.begin(), array.end(), array.begin()); });
  EXPECT_EQ(child.Finish(), 0);
  std::partial_sum(expected.begin(), expected.end(), expected.begin());
  EXPECT_TRUE(std::ranges::equal(array, expected));
}

// CPython's test_array_from_size.
TEST_F(ArrayTest, OfALengthIsZerosEachTime) {
  for (int i = 0; i < 3; ++i) {
    const Array<int> array(1000);
    EXPECT_EQ(array.size(), 1000u);
    EXPECT_THAT(array.span(), Each(0));
    std::ranges::fill(array, -1);
    EXPECT_TRUE(Domain::Current()->Contains(array.data()));
  }
  struct Point {
    int x = 1;
    int y = 2;
  };
  const Array<Point> points(3);
  for (const Point& point : points) EXPECT_EQ(point.x + point.y, 3);
}

TEST_F(ArrayTest, OfLengthZeroIsEmptyAndHasALock) {
  for (const Array<int>& none : {Array<int>(0), Array<int>(std::vector<int>())}) {
    EXPECT_TRUE(none.empty());
    EXPECT_EQ(none.size(), 0u);
    EXPECT_EQ(none.begin(), none.end());
    EXPECT_TRUE(none.Slice(0).empty());
    const LockGuard guard(none);
    EXPECT_TRUE(none.Locked());
  }
  const Array<char> text(0);
  EXPECT_EQ(text.value(), "");
  EXPECT_EQ(text.raw(), "");
  EXPECT_EQ(text.SetValue(""), absl::OkStatus());
  EXPECT_EQ(text.SetValue("a").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ArrayTest, OfOneElement) {
  const Array<double> one({0.5});
  EXPECT_THAT(one.span(), ElementsAre(0.5));
  EXPECT_EQ(Array<double>(1).size(), 1u);
}

struct Once {
  std::istream& stream;
  auto begin() const { return std::istream_iterator<int>(stream); }
  auto end() const { return std::istream_iterator<int>(); }
};

TEST_F(ArrayTest, OfAListOrARangeHasTheirValues) {
  EXPECT_THAT(Array<int>({2, 3, 5}).span(), ElementsAre(2, 3, 5));
  const Array<int> braces{7, 11};
  EXPECT_THAT(braces.span(), ElementsAre(7, 11));
  const std::vector<int> vector = {1, 2, 3};
  EXPECT_THAT(Array<double>(vector).span(), ElementsAre(1., 2., 3.));
  EXPECT_THAT(Array<int>(std::list<int>{4, 5}).span(), ElementsAre(4, 5));
  EXPECT_THAT(Array<char>(std::string("ab")).span(), ElementsAre('a', 'b'));
  EXPECT_THAT(Array<bool>(std::vector<bool>{true, false}).span(), ElementsAre(true, false));
  const int plain[] = {8, 9};
  EXPECT_THAT(Array<int>(plain).span(), ElementsAre(8, 9));
  std::istringstream stream("1 2 3 4");
  EXPECT_THAT(Array<int>(Once{stream}).span(), ElementsAre(1, 2, 3, 4));
  // Another one's elements.
  EXPECT_THAT(Array<double>(braces).span(), ElementsAre(7., 11.));
}

TEST_F(ArrayTest, DeducesItsType) {
  const Array list({1.5, 2.5});
  static_assert(std::is_same_v<decltype(list), const Array<double>>);
  const Array range(std::vector<char>{'x'});
  static_assert(std::is_same_v<decltype(range), const Array<char>>);
  // A copy, not an array of what an array holds.
  const Array copy(list);
  static_assert(std::is_same_v<decltype(copy), const Array<double>>);
  EXPECT_EQ(copy.data(), list.data());
}

TEST_F(ArrayTest, SlicesEndWhereTheArrayDoes) {
  const Array<int> array(UpToTen());
  EXPECT_THAT(array.Slice(7), ElementsAre(7, 8, 9));
  EXPECT_THAT(array.Slice(2, 3), ElementsAre(2, 3, 4));
  EXPECT_THAT(array.Slice(8, 100), ElementsAre(8, 9));
  EXPECT_TRUE(array.Slice(10).empty());
  EXPECT_TRUE(array.Slice(20, 5).empty());
  EXPECT_TRUE(array.Slice(3, 0).empty());
  array.Slice(4, 1)[0] = -1;
  EXPECT_EQ(array[4], -1);
  static_assert(std::ranges::contiguous_range<const Array<int>>);
}

TEST_F(ArrayTest, ElementsAreAlignedAsTheirType) {
  struct alignas(512) Wide {
    char byte = 0;
  };
  const Array<Wide> small(2);
  const Array<Wide> large(1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(small.data()) % 512, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large.data()) % 512, 0u);
}

// As that of ctypes.
TEST_F(ArrayTest, OfCharactersHasAValueThatEndsAtANul) {
  const Array<char> text(10);
  EXPECT_EQ(text.value(), "");
  EXPECT_EQ(text.SetValue("hello"), absl::OkStatus());
  EXPECT_EQ(text.value(), "hello");
  EXPECT_EQ(text.raw(), std::string("hello\0\0\0\0\0", 10));
  EXPECT_EQ(text.SetValue("ab"), absl::OkStatus());
  EXPECT_EQ(text.raw(), std::string("ab\0lo\0\0\0\0\0", 10));
  // An exact fit has no NUL.
  EXPECT_EQ(text.SetValue("0123456789"), absl::OkStatus());
  EXPECT_EQ(text.value(), "0123456789");
  EXPECT_EQ(text.SetValue("0123456789a").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(text.value(), "0123456789");
  EXPECT_EQ(text.SetValue(std::string_view("a\0b", 3)), absl::OkStatus());
  EXPECT_EQ(text.value(), "a");
  EXPECT_EQ(text.SetValue(std::string_view(text.data() + 4, 6)), absl::OkStatus());
  EXPECT_EQ(text.value(), "456789");
  // Where they are.
  EXPECT_EQ(text.view(), text.raw());
  EXPECT_EQ(text.view().data(), text.data());
  EXPECT_EQ(text.view().substr(0, 6), "456789");
  EXPECT_FALSE(text.Locked());
  Child child([&] { EXPECT_EQ(text.SetValue("of a child"), absl::OkStatus()); });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(text.value(), "of a child");
}

TEST_F(ArrayTest, WhatIsTooLongForItNamesTheArray) {
  const Array<char> text(3, {.name = "text"});
  EXPECT_EQ(text.SetValue("four").message(), "Array \"text\": 4 characters, and room for 3");
}

// CPython's test_sharedctypes, test_synchronize and test_copy.
TEST_F(ArrayTest, AChildDoublesValuesStructsAndArrays) {
  struct Foo {
    int x;
    double y;
    int64_t z;
  };
  const Value<int> x(7);
  const Value<double> y(1.0 / 3.0);
  const Value<int64_t> z(int64_t{1} << 33);
  const Value<Foo> foo({3, 2, 4});
  const Array<double> arr(UpToTen());
  const Array<char> string(20);
  ASSERT_EQ(string.SetValue("hello"), absl::OkStatus());
  const Value<Foo> copy(foo.Get());

  Child child([&] {
    auto twice = [](auto& n) { n *= 2; };
    x.Update(twice);
    y.Update(twice);
    z.Update(twice);
    foo.Update([](Foo& f) {
      f.x *= 2;
      f.y *= 2;
      f.z *= 2;
    });
    const LockGuard guard(string);
    EXPECT_EQ(string.SetValue(string.value() + string.value()), absl::OkStatus());
    for (double& each : arr) each *= 2;
  });
  EXPECT_EQ(child.Finish(), 0);

  EXPECT_EQ(x.Get(), 14);
  EXPECT_DOUBLE_EQ(y.Get(), 2.0 / 3.0);
  EXPECT_EQ(z.Get(), int64_t{1} << 34);
  EXPECT_EQ(foo.Get().x, 6);
  EXPECT_DOUBLE_EQ(foo.Get().y, 4);
  EXPECT_EQ(foo.Get().z, 8);
  for (size_t i = 0; i < arr.size(); ++i) EXPECT_EQ(arr[i], 2.0 * static_cast<double>(i));
  EXPECT_EQ(string.value(), "hellohello");
  EXPECT_EQ(copy.Get().x, 3);
}

// CPython's test_getobj_getlock_obj.
TEST_F(ArrayTest, IsALock) {
  const Array<int> array(4, {.name = "grid"});
  {
    const LockGuard guard(array);
    EXPECT_FALSE(guard.owner_died());
    array.AssertHeld();
    const std::scoped_lock inner(array);
    array[1] = 5;
  }
  EXPECT_FALSE(array.Locked());
  array.Acquire();
  EXPECT_TRUE(array.TryAcquire());
  EXPECT_TRUE(array.Acquire(absl::Seconds(1)));
  EXPECT_TRUE(array.GetLock().Locked());
  for (int level = 0; level < 3; ++level) array.GetLock().Release();
  EXPECT_FALSE(array.Locked());
  EXPECT_DEATH(array.Release(), "Array \"grid\": released by pid .*, but nobody holds it");
}

TEST_F(ArrayTest, MayHaveALockOfTheCallers) {
  const Lock lock({.name = "once"});
  const RLock rlock;
  const Array<int> sized(3, lock, {.name = "sized"});
  const Array<int> listed({1, 2}, lock);
  const Array<int> ranged(std::vector<int>{1, 2, 3, 4}, lock);
  const Array<char> text(5, rlock);
  const Value<int> length(0, rlock);
  {
    const LockGuard guard(lock);
    EXPECT_TRUE(sized.Locked());
    EXPECT_TRUE(listed.GetLock().Locked());
    EXPECT_FALSE(ranged.TryAcquire());
    EXPECT_FALSE(text.Locked());
  }
  {
    const LockGuard guard(text);
    EXPECT_TRUE(length.Locked());
    EXPECT_EQ(text.SetValue("abc"), absl::OkStatus());
    length.Set(3);
  }
  EXPECT_EQ(ranged.size(), 4u);
  const Array<int> other(2, sized.GetLock());
  sized.Acquire();
  EXPECT_TRUE(other.Locked());
  sized.Release();
  EXPECT_DEATH(
      {
        sized.Acquire();
        other.Acquire();
      },
      "Lock \"once\": acquired by pid .* it is the holder already");
}

TEST_F(ArrayTest, CreateMakesOne) {
  const Lock lock;
  EXPECT_EQ(Array<int>::Create(3)->size(), 3u);
  EXPECT_THAT(Array<int>::Create({1, 2})->span(), ElementsAre(1, 2));
  EXPECT_THAT(Array<int>::Create(std::list<int>{1}, {.name = "list"})->span(), ElementsAre(1));
  std::istringstream stream("1 2");
  EXPECT_THAT(Array<int>::Create(Once{stream})->span(), ElementsAre(1, 2));
  const absl::StatusOr<Array<int>> locked = Array<int>::Create(3, lock);
  ASSERT_TRUE(locked.ok());
  EXPECT_THAT(locked->span(), Each(0));
  const LockGuard guard(lock);
  EXPECT_TRUE(locked->Locked());
  EXPECT_TRUE(Array<int>::Create({1, 2}, lock)->Locked());
  EXPECT_TRUE(Array<int>::Create(std::vector<int>{1}, lock, {.name = "n"})->Locked());
}

TEST_F(ArrayTest, TooLongIsAStatusOrTheEndOfTheProcess) {
  const Lock lock;
  for (const size_t length :
       {size_t{1} << 44, std::numeric_limits<size_t>::max() / 8,
        std::numeric_limits<size_t>::max() / 8 + 2, std::numeric_limits<size_t>::max()}) {
    EXPECT_EQ(Array<int64_t>::Create(length).status().code(), absl::StatusCode::kResourceExhausted)
        << length;
    EXPECT_EQ(Array<int64_t>::Create(length, lock).status().code(),
              absl::StatusCode::kResourceExhausted)
        << length;
  }
  EXPECT_DEATH(Array<char>(size_t{1} << 44, {.name = "grid"}),
               AllOf(HasSubstr("mp: Array \"grid\": cannot be made (17592186044416 bytes)"),
                     HasSubstr("MP_RESERVE")));
  EXPECT_DEATH(Array<char>(size_t{1} << 44, lock), HasSubstr("mp: Array: cannot be made"));
}

TEST_F(ArrayTest, FourGibibytesAreNoSpecialCase) {
  // To commit as much takes seconds.
  const size_t size = (Stress() ? size_t{4} << 30 : size_t{64} << 20) + 1;
  absl::StatusOr<Array<char>> array = Array<char>::Create(size);
  if (absl::IsResourceExhausted(array.status())) GTEST_SKIP() << array.status();
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->size(), size);
  (*array)[0] = 'a';
  (*array)[size - 1] = 'z';
  Child child([&] {
    EXPECT_EQ(array->span().front(), 'a');
    EXPECT_EQ(array->span().back(), 'z');
    EXPECT_EQ(array->value(), "a");
    array->Slice(size / 2)[0] = 'm';
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ((*array)[size / 2], 'm');
}

struct Unwilling {
  explicit Unwilling(int i) {
    if (i == 2) throw std::runtime_error("no");
  }
};

TEST_F(ArrayTest, ARangeThatThrowsLeavesNothing) {
  const std::vector<int> range = {0, 1, 2, 3};
  EXPECT_THROW((Array<Unwilling>(range)), std::runtime_error);
  EXPECT_THROW((Array<Unwilling>(range, RLock())), std::runtime_error);
  EXPECT_THROW((void)Array<Unwilling>::Create(range), std::runtime_error);
}

TEST_F(ArrayTest, CopiesAreTheSameArray) {
  const Array<int> array({1, 2});
  Array<int> copy = array;
  copy[0] = 5;
  EXPECT_EQ(array[0], 5);
  const Array<int> other({7});
  copy = other;
  EXPECT_EQ(copy.size(), 1u);
  const LockGuard guard(copy);
  EXPECT_TRUE(other.Locked());
}

TEST_F(ArrayTest, TheLastHandleGivesTheMemoryBack) {
  std::optional<Array<int>> array(std::in_place, 100'000, ArrayOptions{.name = "grid"});
  const size_t with_it = Stats().in_use;
  EXPECT_GT(with_it, 400'000u);
  {
    const Array<int> copy = *array;
    array.reset();
    EXPECT_EQ(Stats().in_use, with_it);
  }
  EXPECT_LT(Stats().in_use, with_it - 400'000);
}

TEST_F(ArrayTest, ItsLockMayOutliveTheHandleAndThenGivesAllBack) {
  const size_t before = Stats().in_use;
  std::optional<RLock> lock = Array<int>(100'000, {.name = "grid"}).GetLock();
  EXPECT_GT(Stats().in_use, before + 400'000);
  EXPECT_EQ(Stats().by_type.at("Array").count, 1u);
  lock->Acquire();
  lock->Release();
  lock.reset();
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Where a child may have it, its maker ends it later.
TEST_F(ArrayTest, ItsLockAloneMayBeInLimbo) {
  const size_t before = Stats().in_use;
  std::optional<Array<int>> array(std::in_place, 100'000);
  std::optional<RLock> lock = array->GetLock();
  Child child([&](auto& step) {
    step("born");
    (*array)[99'999] = 7;
    EXPECT_EQ((*array)[99'999], 7);
  });
  ASSERT_TRUE(child.RunTo("born"));
  array.reset();
  lock.reset();
  EXPECT_GT(Stats().in_use, before + 400'000);
  EXPECT_EQ(child.Finish(), 0);
  testing::Settle();
  EXPECT_EQ(Stats().in_use, before);
}

// A handle to the lock, in the domain, keeps all of it, and its end gives all back, by whomever.
TEST_F(ArrayTest, ItsLockAloneMayBeInTheDomain) {
  const size_t before = Stats().in_use;
  {
    std::optional<Shared<RLock>> lock(std::in_place, Array<int>(100'000).GetLock());
    EXPECT_GT(Stats().in_use, before + 400'000);
    Child child([&] {
      const LockGuard guard(**lock);
      EXPECT_TRUE((*lock)->Locked());
    });
    EXPECT_EQ(child.Finish(), 0);
    testing::Settle();
    EXPECT_GT(Stats().in_use, before + 400'000);
    Child other([&] { **lock = RLock(); });
    EXPECT_EQ(other.Finish(), 0);
    testing::Settle();
    EXPECT_LT(Stats().in_use, before + 400'000);
  }
  testing::Settle();
  EXPECT_EQ(Stats().in_use, before);
}

TEST_F(ArrayTest, WhatADeadProcessMadeIsGivenBack) {
  const size_t before = Stats().in_use;
  for (const bool lock_alone : {false, true}) {
    Child child([&](auto& step) {
      std::optional<Array<int>> array(std::in_place, 100'000);
      const RLock lock = array->GetLock();
      if (lock_alone) array.reset();
      lock.Acquire();
      step("made");
    });
    ASSERT_TRUE(child.RunTo("made"));
    EXPECT_GT(Stats().in_use, before + 400'000);
    child.Kill();
    testing::Settle();
    EXPECT_EQ(Stats().in_use, before);
  }
}

struct Journal {
  Array<int> entries = Array<int>(10);
  Value<size_t> size{0, entries.GetLock()};

  void Add(int entry) {
    const LockGuard guard(entries);
    size.Update([&](size_t& n) { entries[n++] = entry; });
  }
};

TEST_F(ArrayTest, MayBeAMemberOfAStructInTheDomain) {
  std::optional<Array<int>> taken_out;
  {
    const Shared<Journal> journal;
    journal->Add(1);
    Child child([&] { journal->Add(2); });
    EXPECT_EQ(child.Finish(), 0);
    journal->Add(3);
    taken_out = journal->entries;
  }
  EXPECT_THAT(taken_out->Slice(0, 4), ElementsAre(1, 2, 3, 0));
}

TEST_F(ArrayTest, TheDeathOfAHolderIsTold) {
  const Array<int> array({1, 2, 3});
  Child child([&](auto& step) {
    const LockGuard guard(array);
    array[0] = 7;
    step("halfway");
  });
  ASSERT_TRUE(child.RunTo("halfway"));
  child.Kill();
  {
    const LockGuard guard(array);
    EXPECT_TRUE(guard.owner_died());
    EXPECT_EQ(array[0], 7);
    array[0] = 1;
    array.MarkConsistent();
  }
  const LockGuard guard(array);
  EXPECT_FALSE(guard.owner_died());
}

template <typename P>
class ArrayPeerTest : public GivesBackTest {
 protected:
  ~ArrayPeerTest() override { testing::Settle(); }
};
TYPED_TEST_SUITE(ArrayPeerTest, Peers, PeerNames);

TYPED_TEST(ArrayPeerTest, UnderTheLockNobodySeesHalfOfAChange) {
  const int rounds = kSanitized ? 200 : 2'000;
  const Array<int> array(100);
  {
    TypeParam peer([&] {
      for (int i = 0; i < rounds; ++i) {
        const LockGuard guard(array);
        for (int& each : array) ++each;
      }
    });
    peer.Go();
    for (int i = 0; i < rounds; ++i) {
      const LockGuard guard(array);
      ASSERT_THAT(array.span(), Each(array[0]));
      for (int& each : array) ++each;
    }
    EXPECT_EQ(peer.Finish(), 0);
  }
  EXPECT_THAT(array.span(), Each(2 * rounds));
}

}  // namespace
}  // namespace mp
