#include "shared/internal/size_class.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

namespace mp::internal {
namespace {

TEST(SizeClassTest, SizesGrowFrom16To8192) {
  EXPECT_EQ(SizeOfClass(0), 16u);
  for (uint32_t i = 1; i < kSizeClassCount; ++i) {
    EXPECT_GT(SizeOfClass(i), SizeOfClass(i - 1)) << i;
    EXPECT_EQ(SizeOfClass(i) % 8, 0u) << i;
  }
  EXPECT_EQ(SizeOfClass(kSizeClassCount - 1), kLargestSmallSize);
}

TEST(SizeClassTest, EachSizeAndAlignmentGetsTheSmallestClassThatFits) {
  for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
    for (size_t size = 1; size <= kLargestSmallSize; ++size) {
      uint32_t smallest = 0;
      while (smallest < kSizeClassCount &&
             (SizeOfClass(smallest) < size || AlignmentOfClass(smallest) < alignment)) {
        ++smallest;
      }
      ASSERT_EQ(ClassOf(size, alignment), smallest) << size << " aligned to " << alignment;
      ASSERT_LT(smallest, kSizeClassCount) << size << " aligned to " << alignment;
    }
  }
}

TEST(SizeClassTest, RoundingUpCostsAtMostAQuarter) {
  for (size_t size = 129; size <= kLargestSmallSize; ++size) {
    const size_t rounded = SizeOfClass(ClassOf(size, 1));
    ASSERT_LE((rounded - size) * 4, rounded) << size;
  }
}

TEST(SizeClassTest, AlignmentDividesTheSize) {
  for (uint32_t i = 0; i < kSizeClassCount; ++i) {
    EXPECT_EQ(SizeOfClass(i) % AlignmentOfClass(i), 0u) << i;
    EXPECT_GE(AlignmentOfClass(i), SizeOfClass(i) == 120 ? 8u : 16u) << i;
    EXPECT_LE(AlignmentOfClass(i), 4096u) << i;
  }
}

}  // namespace
}  // namespace mp::internal
