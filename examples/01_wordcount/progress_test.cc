#include "examples/01_wordcount/progress.h"

#include "gtest/gtest.h"

namespace wordcount {
namespace {

TEST(ProgressLineTest, GrowsWithTheWork) {
  EXPECT_EQ(ProgressLine(0, 42), "[                              ]   0% 0/42 files");
  EXPECT_EQ(ProgressLine(21, 42), "[###############               ]  50% 21/42 files");
  EXPECT_EQ(ProgressLine(42, 42), "[##############################] 100% 42/42 files");
}

TEST(ProgressLineTest, IsFullOnlyAtTheEnd) {
  EXPECT_EQ(ProgressLine(99'999, 100'000),
            "[############################# ]  99% 99999/100000 files");
}

TEST(ProgressLineTest, NothingToDoIsDone) {
  EXPECT_EQ(ProgressLine(0, 0), "[##############################] 100% 0/0 files");
}

}  // namespace
}  // namespace wordcount
