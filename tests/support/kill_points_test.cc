#include "tests/support/kill_points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace mp::testing {
namespace {

using ::testing::Contains;
using ::testing::Not;

constexpr KillPoint Before(size_t index) { return {index, false}; }
constexpr KillPoint AsleepIn(size_t index) { return {index, true}; }

// `size` instructions, one after the other.
Trace Straight(size_t size) {
  Trace trace;
  for (size_t i = 0; i < size; ++i) trace.Add({.address = 100 + i});
  return trace;
}

TEST(KillPointsTest, FullSweepHasEveryInstruction) {
  const auto points = ChoosePoints(Straight(500), 0, 1);
  ASSERT_EQ(points.size(), 500u);
  for (size_t i = 0; i < points.size(); ++i) EXPECT_EQ(points[i], Before(i));
}

TEST(KillPointsTest, SampleOfASmallOperationIsAllOfIt) {
  EXPECT_EQ(ChoosePoints(Straight(50), 200, 1).size(), 50u);
}

TEST(KillPointsTest, SampleIsSpreadOverTheWhole) {
  const auto points = ChoosePoints(Straight(10'000), 100, 1);
  ASSERT_EQ(points.size(), 100u);
  EXPECT_EQ(points.front(), Before(0));
  EXPECT_EQ(points.back(), Before(9'999));
  for (size_t i = 1; i < points.size(); ++i) {
    EXPECT_LE(points[i].index - points[i - 1].index, 210u);
  }
}

TEST(KillPointsTest, SeedDecides) {
  const Trace trace = Straight(10'000);
  EXPECT_EQ(ChoosePoints(trace, 100, 1), ChoosePoints(trace, 100, 1));
  EXPECT_NE(ChoosePoints(trace, 100, 1), ChoosePoints(trace, 100, 2));
}

TEST(KillPointsTest, SystemCallsAndSleepsAreInEverySample) {
  Trace trace;
  for (size_t i = 0; i < 1'000; ++i) {
    trace.Add({.address = 100 + i, .syscall = i % 100 == 50, .slept = i == 650});
  }
  const auto points = ChoosePoints(trace, 1, 1);
  for (size_t i = 50; i < 1'000; i += 100) {
    EXPECT_THAT(points, Contains(Before(i)));
    EXPECT_THAT(points, Contains(Before(i + 1)));
  }
  EXPECT_THAT(points, Contains(AsleepIn(650)));
  EXPECT_THAT(points, Not(Contains(AsleepIn(50))));
}

TEST(KillPointsTest, OfALongLoopSomeRoundsStandForAll) {
  Trace trace;
  for (size_t i = 0; i < 10'000; ++i) trace.Add({.address = 100 + i % 2});
  const auto points = ChoosePoints(trace, 0, 1);
  EXPECT_LT(points.size(), 200u);
  for (const size_t round : {0, 1, 63, 64, 4'096, 4'999}) {
    EXPECT_THAT(points, Contains(Before(2 * round)));
  }
}

TEST(KillPointsTest, RouteCountsHowOftenTheAddressPasses) {
  Trace trace;
  for (const uintptr_t address : {1, 2, 3, 2, 3, 2, 4}) trace.Add({.address = address});
  EXPECT_EQ(RouteTo(trace, 5).address, 2u);
  EXPECT_EQ(RouteTo(trace, 5).passes, 2u);
  EXPECT_EQ(RouteTo(trace, 5).steps, 0u);
}

TEST(KillPointsTest, RouteIntoAStringInstructionIsItsFirstRoundAndAStep) {
  Trace trace;
  trace.Add({.address = 1});
  for (int pass = 0; pass < 2; ++pass) {
    trace.Add({.address = 2});
    trace.Add({.address = 2, .repeated = true});
  }
  EXPECT_EQ(RouteTo(trace, 4).address, 2u);
  EXPECT_EQ(RouteTo(trace, 4).passes, 1u);
  EXPECT_EQ(RouteTo(trace, 4).steps, 1u);
}

}  // namespace
}  // namespace mp::testing
