// ArrayCell: the making of the cell of an array, with a block for its elements.

#ifndef MP_SHARED_INTERNAL_ARRAY_CELL_H_
#define MP_SHARED_INTERNAL_ARRAY_CELL_H_

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string_view>

#include "absl/status/statusor.h"
#include "shared/allocator.h"
#include "shared/internal/object.h"
#include "shared/internal/object_header.h"
#include "shared/owner.h"

namespace mp::internal {

// A length that would overflow is more than there is, too.
template <typename T>
size_t BytesOf(size_t length) {
  return std::min(length, std::numeric_limits<size_t>::max() / sizeof(T)) * sizeof(T);
}

// With the members `data` and `size` of State set, and what else it has left to the caller, who
// publishes it. The elements are not yet values.
template <typename T, typename State>
absl::StatusOr<State*> MakeArrayCell(size_t length, std::string_view name) {
  const absl::StatusOr<ObjectHeader*> cell = MakeCell(sizeof(State), alignof(State), name);
  if (!cell.ok()) return cell.status();
  auto* state = static_cast<State*>(*cell);
  const absl::StatusOr<void*> block =
      AllocateBlock(BytesOf<T>(length), alignof(T), Owner::Object(state));
  if (!block.ok()) {
    FreeCell(state);
    return block.status();
  }
  state->data = static_cast<decltype(state->data)>(*block);
  state->size = length;
  return state;
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_ARRAY_CELL_H_
