// SizeClass: the block sizes that slabs are cut into. Multiples of 16 bytes up to 128, and 120,
// which with its owner word takes 128; then four for each doubling up to 8 KiB: at most a quarter
// of a block is lost. Larger blocks are spans of pages.

#ifndef MP_SHARED_INTERNAL_SIZE_CLASS_H_
#define MP_SHARED_INTERNAL_SIZE_CLASS_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace mp::internal {

inline constexpr uint32_t kSizeClassCount = 33;
inline constexpr size_t kLargestSmallSize = 8192;

// Bytes of a block of class `index`, smallest first.
constexpr uint32_t SizeOfClass(uint32_t index) {
  if (index < 7) return (index + 1) * 16;
  if (index < 9) return 120 + (index - 7) * 8;
  const uint32_t doubling = (index - 9) / 4;
  const uint32_t quarter = (index - 9) % 4 + 1;
  return (128u << doubling) + quarter * (32u << doubling);
}
static_assert(SizeOfClass(0) == 16 && SizeOfClass(6) == 112 && SizeOfClass(7) == 120);
static_assert(SizeOfClass(8) == 128 && SizeOfClass(9) == 160);
static_assert(SizeOfClass(kSizeClassCount - 1) == kLargestSmallSize);

// offset / SizeOfClass(index), for an offset in a slab, without a division.
constexpr std::array<uint32_t, kSizeClassCount> kReciprocals = [] {
  std::array<uint32_t, kSizeClassCount> reciprocals = {};
  for (uint32_t i = 0; i < kSizeClassCount; ++i) {
    reciprocals[i] = static_cast<uint32_t>((uint64_t{1} << 32) / SizeOfClass(i) + 1);
  }
  return reciprocals;
}();
constexpr uint32_t DivideBySize(uint32_t offset, uint32_t index) {
  return static_cast<uint32_t>((uint64_t{offset} * kReciprocals[index]) >> 32);
}
static_assert([] {
  // Where rounding could go wrong: just before and at each multiple.
  for (uint32_t i = 0; i < kSizeClassCount; ++i) {
    const uint32_t size = SizeOfClass(i);
    for (uint32_t n = 1; n * size < (1u << 16); ++n) {
      if (DivideBySize(n * size, i) != n || DivideBySize(n * size - 1, i) != n - 1) return false;
    }
  }
  return true;
}());

// What every block of a class is aligned to: at most a page.
constexpr uint32_t AlignmentOfClass(uint32_t index) {
  constexpr uint32_t kPage = 4096;
  const uint32_t size = SizeOfClass(index);
  const uint32_t natural = size & (~size + 1);
  return natural < kPage ? natural : kPage;
}

// The smallest class whose blocks have `size` bytes (1 to 8192) and `alignment` (a power
// of two); kSizeClassCount: none has.
constexpr uint32_t ClassOf(size_t size, size_t alignment) {
  uint32_t index = 0;
  if (size <= 112) {
    index = static_cast<uint32_t>((size - 1) / 16);
  } else if (size <= 128) {
    index = size <= 120 ? 7 : 8;
  } else {
    const int log = std::bit_width(size - 1) - 1;  // 2^log < size <= 2^(log + 1)
    const auto quarter = static_cast<uint32_t>((size - 1) >> (log - 2)) & 3;
    index = 9 + static_cast<uint32_t>(log - 7) * 4 + quarter;
  }
  while (index < kSizeClassCount && AlignmentOfClass(index) < alignment) ++index;
  return index;
}
static_assert(ClassOf(1, 1) == 0 && ClassOf(16, 16) == 0 && ClassOf(17, 1) == 1);
static_assert(SizeOfClass(ClassOf(120, 8)) == 120 && SizeOfClass(ClassOf(120, 16)) == 128);
static_assert(SizeOfClass(ClassOf(129, 8)) == 160 && SizeOfClass(ClassOf(160, 8)) == 160);
static_assert(SizeOfClass(ClassOf(161, 8)) == 192 && SizeOfClass(ClassOf(8192, 8)) == 8192);
static_assert(SizeOfClass(ClassOf(100, 4096)) == 4096 && SizeOfClass(ClassOf(65, 64)) == 128);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_SIZE_CLASS_H_
