#include "shared/raw_value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "tests/support/peer.h"

namespace mp {
namespace {

using testing::PeerNames;
using testing::Peers;

struct Point {
  double x = 1;
  double y = 2;
};

TEST(RawValueTest, HandleIsOnePointer) {
  static_assert(sizeof(RawValue<Point>) == sizeof(void*));
  static_assert(std::is_copy_constructible_v<RawValue<int>>);
  static_assert(std::is_copy_assignable_v<RawValue<int>>);
  static_assert(std::is_default_constructible_v<RawValue<int>>);
  static_assert(!std::is_convertible_v<int, RawValue<int>>);
}

TEST(RawValueTest, HoldsWhatItWasMadeWith) {
  EXPECT_EQ(RawValue<int>().Get(), 0);
  EXPECT_EQ(RawValue<int>(7).Get(), 7);
  EXPECT_EQ(RawValue<bool>(true).Get(), true);
  EXPECT_EQ(RawValue<char>('x').Get(), 'x');
  EXPECT_EQ(RawValue<double>(0.5).Get(), 0.5);
  EXPECT_EQ(RawValue(uint64_t{1} << 63).Get(), uint64_t{1} << 63);
  const RawValue<int> named(7, {.name = "seven"});
  EXPECT_EQ(*named, 7);
}

TEST(RawValueTest, IsReadAndWrittenInSeveralWays) {
  const RawValue<int> value(1);
  value.Set(2);
  EXPECT_EQ(value.Get(), 2);
  *value = 3;
  EXPECT_EQ(*value.Raw(), 3);
  *value.Raw() += 1;
  EXPECT_EQ(*value, 4);
  EXPECT_TRUE(Domain::Current()->Contains(value.Raw()));
}

TEST(RawValueTest, HoldsStructs) {
  const RawValue<Point> point;
  EXPECT_EQ(point->x, 1);
  point->y = 5;
  EXPECT_EQ(point.Get().y, 5);
  point.Set({.x = 3, .y = 4});
  EXPECT_EQ((*point).x, 3);
  const RawValue<std::array<char, 8000>> large;
  EXPECT_EQ((*large)[7999], 0);
}

TEST(RawValueTest, IsAlignedAsItsType) {
  struct alignas(256) Wide {
    char byte = 1;
  };
  const std::array<RawValue<Wide>, 3> values;
  for (const RawValue<Wide>& value : values) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(value.Raw()) % 256, 0u);
  }
}

TEST(RawValueTest, TheLastHandleGivesTheMemoryBack) {
  (void)Domain::Get();
  const size_t before = Stats().in_use;
  {
    std::optional<RawValue<int>> value(std::in_place, 1, RawValueOptions{.name = "value"});
    const RawValue<int> copy = *value;
    value.reset();
    EXPECT_EQ(*copy, 1);
    EXPECT_EQ(Stats().by_type.at("RawValue").count, 1u);
  }
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(RawValueTest, CreateMakesOne) {
  const absl::StatusOr<RawValue<int>> value = RawValue<int>::Create(5, {.name = "five"});
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(**value, 5);
}

template <typename P>
class RawValuePeerTest : public ::testing::Test {};
TYPED_TEST_SUITE(RawValuePeerTest, Peers, PeerNames);

// CPython's test_rawvalue.
TYPED_TEST(RawValuePeerTest, WhatOneWritesTheOtherReads) {
  const RawValue<Point> point;
  const RawValue<int> number(1);
  TypeParam peer([&](auto& step) {
    point->x = 7;
    number.Set(number.Get() + 1);
    step("written");
    EXPECT_EQ(*number, 3);
  });
  ASSERT_TRUE(peer.RunTo("written"));
  EXPECT_EQ(point->x, 7);
  EXPECT_EQ(point->y, 2);
  EXPECT_EQ(*number, 2);
  *number = 3;
  EXPECT_EQ(peer.Finish(), 0);
}

}  // namespace
}  // namespace mp
