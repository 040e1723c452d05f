#include "shared/raw_array.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <istream>
#include <iterator>
#include <limits>
#include <list>
#include <numeric>
#include <optional>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "tests/shared/gives_back.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::GivesBackTest;
using ::testing::HasSubstr;
using testing::kSanitized;
using testing::PeerNames;
using testing::Peers;

class RawArrayTest : public GivesBackTest {};

TEST_F(RawArrayTest, HandleIsOnePointer) {
  static_assert(sizeof(RawArray<double>) == sizeof(void*));
  static_assert(std::is_copy_constructible_v<RawArray<int>>);
  static_assert(std::is_copy_assignable_v<RawArray<int>>);
  static_assert(!std::is_default_constructible_v<RawArray<int>>);
  static_assert(!std::is_convertible_v<size_t, RawArray<int>>);
  static_assert(!std::is_constructible_v<RawArray<int>, std::vector<std::string>>);
  static_assert(!std::is_constructible_v<RawArray<int>, int*>);
}

TEST_F(RawArrayTest, OfALengthIsZeros) {
  // Memory that was something else before.
  for (int i = 0; i < 3; ++i) {
    const RawArray<int> dirty(1000);
    std::fill(dirty.begin(), dirty.end(), -1);
  }
  const RawArray<int> array(1000);
  EXPECT_EQ(array.size(), 1000u);
  EXPECT_THAT(array.span(), Each(0));
  EXPECT_TRUE(Domain::Current()->Contains(array.data()));
}

TEST_F(RawArrayTest, OfALengthIsDefaultValues) {
  struct Point {
    int x = 1;
    int y = 2;
  };
  const RawArray<Point> points(3);
  for (const Point& point : points) EXPECT_EQ(point.x + point.y, 3);
}

TEST_F(RawArrayTest, OfLengthZeroIsEmpty) {
  const RawArray<int> none(0);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.size(), 0u);
  EXPECT_EQ(none.begin(), none.end());
  EXPECT_TRUE(RawArray<int>(std::vector<int>()).empty());
}

TEST_F(RawArrayTest, OfAListOrARangeHasTheirValues) {
  const RawArray<int> list({2, 3, 5});
  EXPECT_THAT(list.span(), ElementsAre(2, 3, 5));
  const RawArray<int> braces{7, 11};
  EXPECT_THAT(braces.span(), ElementsAre(7, 11));
  const std::vector<int> vector = {1, 2, 3};
  EXPECT_THAT(RawArray<int>(vector).span(), ElementsAre(1, 2, 3));
  EXPECT_THAT(RawArray<double>(vector).span(), ElementsAre(1., 2., 3.));
  EXPECT_THAT(RawArray<int>(std::list<int>{4, 5}).span(), ElementsAre(4, 5));
  EXPECT_THAT(RawArray<char>(std::string("ab")).span(), ElementsAre('a', 'b'));
  EXPECT_THAT(RawArray<bool>(std::vector<bool>{true, false}).span(), ElementsAre(true, false));
  const int plain[] = {8, 9};
  EXPECT_THAT(RawArray<int>(plain).span(), ElementsAre(8, 9));
}

struct Once {
  std::istream& stream;
  auto begin() const { return std::istream_iterator<int>(stream); }
  auto end() const { return std::istream_iterator<int>(); }
};

TEST_F(RawArrayTest, OfARangeThatCanBeReadOnceHasItsValues) {
  std::istringstream stream("1 2 3 4");
  EXPECT_THAT(RawArray<int>(Once{stream}).span(), ElementsAre(1, 2, 3, 4));
}

TEST_F(RawArrayTest, DeducesItsType) {
  const RawArray list({1.5, 2.5});
  static_assert(std::is_same_v<decltype(list), const RawArray<double>>);
  const RawArray range(std::vector<char>{'x'});
  static_assert(std::is_same_v<decltype(range), const RawArray<char>>);
  // A copy, not an array of what an array holds.
  const RawArray copy(list);
  static_assert(std::is_same_v<decltype(copy), const RawArray<double>>);
  EXPECT_EQ(copy.data(), list.data());
}

TEST_F(RawArrayTest, CopiesAreTheSameArray) {
  const RawArray<int> array({1, 2});
  RawArray<int> copy = array;
  copy[0] = 5;
  EXPECT_EQ(array[0], 5);
  const RawArray<int> other({7});
  copy = other;
  EXPECT_EQ(copy.size(), 1u);
}

TEST_F(RawArrayTest, WorksWithAlgorithmsAndRanges) {
  const RawArray<int> array(100);
  static_assert(std::ranges::contiguous_range<const RawArray<int>>);
  std::iota(array.begin(), array.end(), 0);
  EXPECT_EQ(std::accumulate(array.begin(), array.end(), 0), 4950);
  std::ranges::reverse(array);
  EXPECT_EQ(array[0], 99);
  int sum = 0;
  for (int& value : array) sum += value;
  EXPECT_EQ(sum, 4950);
  array.span().subspan(10, 5)[0] = -1;
  EXPECT_EQ(array[10], -1);
}

TEST_F(RawArrayTest, ElementsAreAlignedAsTheirType) {
  struct alignas(512) Wide {
    char byte = 0;
  };
  const RawArray<Wide> small(2);
  const RawArray<Wide> large(1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(small.data()) % 512, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large.data()) % 512, 0u);
}

TEST_F(RawArrayTest, AGibibyteIsNoSpecialCase) {
  const size_t size = kSanitized ? size_t{64} << 20 : size_t{1} << 30;
  absl::StatusOr<RawArray<char>> array = RawArray<char>::Create(size);
  if (absl::IsResourceExhausted(array.status())) GTEST_SKIP() << array.status();
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->size(), size);
  (*array)[0] = 'a';
  (*array)[size - 1] = 'z';
  EXPECT_EQ((*array)[size / 2], 0);
}

TEST_F(RawArrayTest, TooLongIsAStatusOrTheEndOfTheProcess) {
  for (const size_t length :
       {size_t{1} << 44, std::numeric_limits<size_t>::max() / 8,
        std::numeric_limits<size_t>::max() / 8 + 2, std::numeric_limits<size_t>::max()}) {
    EXPECT_EQ(RawArray<int64_t>::Create(length).status().code(),
              absl::StatusCode::kResourceExhausted)
        << length;
  }
  EXPECT_DEATH(RawArray<char>(size_t{1} << 44, {.name = "grid"}),
               AllOf(HasSubstr("mp: RawArray \"grid\": cannot be made (17592186044416 bytes)"),
                     HasSubstr("MP_RESERVE")));
  // No small number that the product wraps to.
  EXPECT_DEATH(RawArray<int64_t>(std::numeric_limits<size_t>::max() / 8 + 2),
               HasSubstr("mp: RawArray: cannot be made (18446744073709551608 bytes)"));
}

struct Unwilling {
  explicit Unwilling(int i) {
    if (i == 2) throw std::runtime_error("no");
  }
};

TEST_F(RawArrayTest, ARangeThatThrowsLeavesNothing) {
  EXPECT_THROW((RawArray<Unwilling>(std::vector<int>{0, 1, 2, 3})), std::runtime_error);
  std::istringstream stream("0 1 2 3");
  EXPECT_THROW((RawArray<Unwilling>(Once{stream})), std::runtime_error);
}

TEST_F(RawArrayTest, TheLastHandleGivesTheMemoryBack) {
  std::optional<RawArray<int>> array(std::in_place, 100'000, RawArrayOptions{.name = "grid"});
  const size_t with_it = Stats().in_use;
  EXPECT_GT(with_it, 400'000u);
  {
    const RawArray<int> copy = *array;
    array.reset();
    EXPECT_EQ(Stats().in_use, with_it);
  }
  EXPECT_LT(Stats().in_use, with_it - 400'000);
}

template <typename P>
class RawArrayPeerTest : public ::testing::Test {};
TYPED_TEST_SUITE(RawArrayPeerTest, Peers, PeerNames);

// CPython's test_rawarray.
TYPED_TEST(RawArrayPeerTest, WhatOneWritesTheOtherReads) {
  const RawArray<int> array(1000);
  TypeParam peer([&](auto& step) {
    std::iota(array.begin(), array.end(), 0);
    step("written");
    EXPECT_EQ(array[500], -1);
  });
  ASSERT_TRUE(peer.RunTo("written"));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(array[static_cast<size_t>(i)], i);
  array[500] = -1;
  EXPECT_EQ(peer.Finish(), 0);
}

}  // namespace
}  // namespace mp
