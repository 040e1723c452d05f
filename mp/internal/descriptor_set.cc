#include "mp/internal/descriptor_set.h"

#include <unistd.h>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace mp::internal {
namespace {

constexpr size_t kBits = 64;

uint64_t BitOf(size_t number) { return uint64_t{1} << number % kBits; }

}  // namespace

void DescriptorSet::Add(int fd) {
  const auto number = static_cast<size_t>(fd);
  if (number / kBits >= bits_.size()) bits_.resize(number / kBits + 1);
  bits_[number / kBits] |= BitOf(number);
}

void DescriptorSet::Remove(int fd) {
  const auto number = static_cast<size_t>(fd);
  bits_[number / kBits] &= ~BitOf(number);
}

void DescriptorSet::CloseAll() const {
  size_t first = Next(true, 0);
  while (first < bits_.size() * kBits) {
    const size_t end = Next(false, first);
    close_range(static_cast<unsigned>(first), static_cast<unsigned>(end - 1), 0);
    first = Next(true, end);
  }
}

size_t DescriptorSet::Next(bool in_set, size_t number) const {
  uint64_t from = ~(BitOf(number) - 1);  // of the first word those from `number` on
  for (size_t i = number / kBits; i < bits_.size(); ++i) {
    const uint64_t left = (in_set ? bits_[i] : ~bits_[i]) & from;
    if (left != 0) return i * kBits + static_cast<size_t>(std::countr_zero(left));
    from = ~uint64_t{0};
  }
  return bits_.size() * kBits;
}

}  // namespace mp::internal
