#include "examples/01_wordcount/work.h"

#include <optional>

#include "gtest/gtest.h"

namespace wordcount {
namespace {

TEST(WorkTest, EachFileIsTakenOnce) {
  Work work(3);
  EXPECT_EQ(work.Take(0), 0u);
  EXPECT_EQ(work.Take(1), 1u);
  EXPECT_EQ(work.Take(0), 2u);
  EXPECT_EQ(work.Take(0), std::nullopt);
  EXPECT_EQ(work.Take(1), std::nullopt);
}

TEST(WorkTest, WhatTheDeadHadIsTakenAgainAndNothingElse) {
  Work work(4);
  EXPECT_EQ(work.Take(0), 0u);
  EXPECT_EQ(work.Take(1), 1u);
  EXPECT_EQ(work.Take(0), 2u);
  work.MarkDone(0);
  work.GiveBack(0);
  EXPECT_EQ(work.Take(2), 2u);
  EXPECT_EQ(work.Take(2), 3u);
  EXPECT_EQ(work.Take(2), std::nullopt);
}

TEST(WorkTest, AnewMeansTheDoneOnesAndNotThoseInHand) {
  Work work(3);
  for (size_t file = 0; file < 3; ++file) EXPECT_EQ(work.Take(0), file);
  work.MarkDone(0);
  work.MarkDone(2);
  EXPECT_EQ(work.Done(), 2u);
  work.BeginAnew();
  EXPECT_EQ(work.Done(), 0u);
  EXPECT_EQ(work.Take(1), 0u);
  EXPECT_EQ(work.Take(1), 2u);
  EXPECT_EQ(work.Take(1), std::nullopt);
}

}  // namespace
}  // namespace wordcount
