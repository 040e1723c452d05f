#include "mp/internal/descriptor_moves.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace mp::internal {

std::vector<DescriptorMove> PlanDescriptorMoves(absl::Span<const std::pair<int, int>> wanted) {
  std::vector<DescriptorMove> moves;
  moves.reserve(wanted.size());
  std::map<int, int> from_of;  // what is still to do, by where it is to be
  std::map<int, int> needed;   // how often what is at a number is still to be moved
  for (const auto& [from, to] : wanted) {
    if (from == to) {
      moves.push_back({from, to});
    } else {
      from_of[to] = from;
      ++needed[from];
    }
  }

  // To where nothing is that is still needed; that makes another such place, perhaps.
  std::vector<int> free;
  for (const auto& [to, from] : from_of) {
    if (!needed.contains(to)) free.push_back(to);
  }
  while (!free.empty()) {
    const int to = free.back();
    free.pop_back();
    const int from = from_of.at(to);
    moves.push_back({from, to});
    from_of.erase(to);
    if (--needed[from] == 0) {
      needed.erase(from);
      if (from_of.contains(from)) free.push_back(from);
    }
  }

  // What is left are circles: at each place is what another one needs, and only that one.
  while (!from_of.empty()) {
    const int first = from_of.begin()->first;
    moves.push_back({first, DescriptorMove::kSpare});
    for (int to = first; true;) {
      const int from = from_of.at(to);
      from_of.erase(to);
      moves.push_back({from == first ? DescriptorMove::kSpare : from, to});
      if (from == first) break;
      to = from;
    }
  }
  return moves;
}

}  // namespace mp::internal
