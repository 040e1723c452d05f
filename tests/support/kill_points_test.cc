#include "tests/support/kill_points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>

namespace mp::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
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

Trace Of(std::initializer_list<uintptr_t> addresses) {
  Trace trace;
  for (const uintptr_t address : addresses) trace.Add({.address = address});
  return trace;
}

TEST(RoutesTest, ToTheBeginningThereIsNoWayToGo) {
  EXPECT_THAT(Routes(Of({1, 2})).To(0), IsEmpty());
}

TEST(RoutesTest, ALoopIsGoneRoundByRound) {
  EXPECT_THAT(Routes(Of({1, 2, 3, 2, 3, 2, 3, 4})).To(6), ElementsAre(3, 3, 3));
}

TEST(RoutesTest, WhatIsSeldomIsAShortCut) {
  EXPECT_THAT(Routes(Of({1, 2, 2, 2, 2, 3, 2, 4})).To(6), ElementsAre(3, 2));
}

TEST(RoutesTest, TheFirstInstructionMayComeAgain) {
  EXPECT_THAT(Routes(Of({1, 2, 1, 2, 1})).To(4), ElementsAre(1, 1));
}

TEST(RoutesTest, IntoAStringInstructionLeadsAStep) {
  Trace trace;
  trace.Add({.address = 1});
  for (int pass = 0; pass < 2; ++pass) {
    trace.Add({.address = 2});
    trace.Add({.address = 2, .repeated = true});
  }
  EXPECT_THAT(Routes(trace).To(4), ElementsAre(2, 2, Routes::kStep));
}

TEST(RoutesTest, AForkIsSteppedOver) {
  Trace trace = Of({1, 2});
  trace.Add({.address = 3, .syscall = true, .forks = true});
  for (const uintptr_t address : {4, 5, 4}) trace.Add({.address = address});
  EXPECT_THAT(Routes(trace).To(2), ElementsAre(3));
  EXPECT_THAT(Routes(trace).To(3), ElementsAre(3, Routes::kStep));
  EXPECT_THAT(Routes(trace).To(4), ElementsAre(3, Routes::kStep, 5));
  EXPECT_THAT(Routes(trace).To(5), ElementsAre(3, Routes::kStep, 4));
}

TEST(RoutesTest, WhatIsAvoidedIsGoneAroundOrSteppedTo) {
  const Trace trace = Of({1, 2, 2, 3, 4, 2});
  Routes routes(trace);
  EXPECT_THAT(routes.To(5), AnyOf(ElementsAre(3, 2), ElementsAre(4, 2)));
  routes.Avoid(3);
  EXPECT_THAT(routes.To(5), ElementsAre(4, 2));
  EXPECT_THAT(routes.To(3), ElementsAre(2, 2, Routes::kStep));
  routes.Avoid(4);
  EXPECT_THAT(routes.To(5), ElementsAre(2, 2, 2));
}

// Each leg of every route, gone as a breakpoint goes it, comes to where it is to come.
TEST(RoutesTest, EachComesToItsEnd) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    Trace trace;
    for (int i = 0; i < 60; ++i) trace.Add({.address = 1 + random() % 9});
    Routes routes(trace);
    if (round % 2 == 1) routes.Avoid(1);
    for (size_t index = 0; index < trace.size(); ++index) {
      size_t at = 0;
      for (const uintptr_t address : routes.To(index)) {
        do ++at;
        while (address != Routes::kStep && at < trace.size() && trace[at].address != address);
      }
      ASSERT_EQ(at, index);
    }
  }
}

}  // namespace
}  // namespace mp::testing
