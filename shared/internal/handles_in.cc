#include "shared/internal/handles_in.h"

#include <cstddef>
#include <cstdint>

#include "shared/internal/stakes.h"

namespace mp::internal {
namespace {

// What it reads may be anybody's, who writes to it meanwhile, or forbids it as some containers
// do with what they do not use.
__attribute__((no_sanitize("address"))) __attribute__((no_sanitize("thread"))) uint64_t Peek(
    const Word& word) {
  return *reinterpret_cast<const volatile uint64_t*>(&word);
}

}  // namespace

void ForEachHandleIn(const Heap& heap, void* memory, size_t size,
                     absl::FunctionRef<void(Word&)> visit) {
  auto* words = static_cast<Word*>(memory);
  for (size_t i = 0; i < size / sizeof(Word); ++i) {
    const ObjectHeader* object = Stakes::ObjectOf(words[i], Peek(words[i]));
    if (object == nullptr) continue;
    const Heap::Block block = heap.Find(object);
    if (block.cell && block.address == object) visit(words[i]);
  }
}

}  // namespace mp::internal
