// Descriptor moves: in which order dup2(2) brings descriptors to other numbers, so that none is
// lost under another. They may change places, and one may come to several numbers.

#ifndef MP_MP_INTERNAL_DESCRIPTOR_MOVES_H_
#define MP_MP_INTERNAL_DESCRIPTOR_MOVES_H_

#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace mp::internal {

// `from` becomes `to`, too. Where they are the same it only has to stay.
struct DescriptorMove {
  // Instead of a number: one that is free, until it is moved back from there.
  static constexpr int kSpare = -1;

  int from;
  int to;
};

// `wanted`: where each is, and where it is to be; no two at one place. One move for each, and two
// for each circle.
std::vector<DescriptorMove> PlanDescriptorMoves(absl::Span<const std::pair<int, int>> wanted);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_DESCRIPTOR_MOVES_H_
