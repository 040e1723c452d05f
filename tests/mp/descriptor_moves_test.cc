// Any descriptors come to any numbers.

#include "mp/internal/descriptor_moves.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "tests/support/settings.h"

namespace mp::internal {
namespace {

using Pairs = std::vector<std::pair<int, int>>;

// What is at each number when the moves are made, each descriptor being named by where it was.
std::map<int, int> Moved(const Pairs& wanted, const std::vector<DescriptorMove>& moves) {
  std::map<int, int> at;
  for (const auto& [from, to] : wanted) at[from] = from;
  for (const DescriptorMove& move : moves) {
    EXPECT_TRUE(at.contains(move.from)) << move.from << " to " << move.to;
    at[move.to] = at[move.from];
    if (move.from == DescriptorMove::kSpare) at.erase(move.from);
  }
  EXPECT_FALSE(at.contains(DescriptorMove::kSpare));
  return at;
}

void ExpectAllArrive(const Pairs& wanted) {
  const std::map<int, int> at = Moved(wanted, PlanDescriptorMoves(wanted));
  for (const auto& [from, to] : wanted) {
    const auto found = at.find(to);
    ASSERT_TRUE(found != at.end());
    EXPECT_EQ(found->second, from) << "at " << to;
  }
}

TEST(DescriptorMovesTest, NoneIsLostUnderAnother) {
  ExpectAllArrive({});
  ExpectAllArrive({{0, 0}, {1, 1}});
  ExpectAllArrive({{3, 4}, {4, 5}, {5, 6}});
  ExpectAllArrive({{5, 6}, {4, 5}, {3, 4}});
  ExpectAllArrive({{0, 1}, {1, 0}});
  ExpectAllArrive({{0, 1}, {1, 2}, {2, 0}, {3, 4}, {4, 3}});
  ExpectAllArrive({{5, 0}, {5, 1}, {5, 2}, {5, 5}});
  ExpectAllArrive({{0, 1}, {1, 0}, {1, 2}, {0, 3}});
  ExpectAllArrive({{1, 1}, {1, 2}, {2, 3}});
}

TEST(DescriptorMovesTest, EachIsMovedOnceAndACircleTakesOneMoveMore) {
  EXPECT_EQ(PlanDescriptorMoves(Pairs{{3, 4}, {4, 5}, {5, 5}}).size(), 3);
  EXPECT_EQ(PlanDescriptorMoves(Pairs{{0, 1}, {1, 2}, {2, 0}}).size(), 4);
}

TEST(DescriptorMovesTest, AllArriveWhateverIsWanted) {
  std::mt19937_64 random(testing::Seed(1));
  for (int round = 0; round < 2000; ++round) {
    const int numbers = 1 + static_cast<int>(random() % 12);
    std::vector<int> to(numbers);
    std::iota(to.begin(), to.end(), 0);
    std::shuffle(to.begin(), to.end(), random);
    to.resize(1 + random() % to.size());
    Pairs wanted;
    for (const int number : to) wanted.emplace_back(static_cast<int>(random() % numbers), number);
    ExpectAllArrive(wanted);
  }
}

}  // namespace
}  // namespace mp::internal
