// The library's, but that each look at a word is a step.

#include "shared/internal/handles_in.h"

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "shared/heap.h"
#include "shared/internal/atomic.h"
#include "shared/internal/object_header.h"
#include "shared/internal/stakes.h"

namespace mp::internal {

void ForEachHandleIn(const Heap& heap, void* memory, size_t size,
                     absl::FunctionRef<void(Word&)> visit) {
  auto* words = static_cast<Word*>(memory);
  for (size_t i = 0; i < size / sizeof(Word); ++i) {
    const ObjectHeader* object = Stakes::ObjectAt(words[i]);
    if (object == nullptr) continue;
    const Heap::Block block = heap.Find(object);
    if (block.cell && block.address == object) visit(words[i]);
  }
}

}  // namespace mp::internal
