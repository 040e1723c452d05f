#include "shared/internal/slab.h"

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {
namespace {

// The owner word of a free block: kind kNone, and the next free block.
constexpr int kNextShift = 8;
constexpr uint64_t FreeWord(uint32_t next) { return uint64_t{next} << kNextShift; }
constexpr uint32_t NextFree(uint64_t word) { return static_cast<uint32_t>(word >> kNextShift); }

constexpr uint32_t FirstBlock(uint32_t count, uint32_t class_index) {
  const uint32_t alignment = AlignmentOfClass(class_index);
  const auto header = static_cast<uint32_t>(sizeof(Slab) + count * sizeof(Word));
  return (header + alignment - 1) / alignment * alignment;
}

constexpr uint32_t BlockCount(uint32_t class_index) {
  const uint32_t size = SizeOfClass(class_index);
  uint32_t count = (Slab::kBytes - sizeof(Slab)) / (size + sizeof(Word));
  while (FirstBlock(count, class_index) + count * size > Slab::kBytes) --count;
  return count;
}
static_assert(BlockCount(0) < Slab::kNoBlock && BlockCount(kSizeClassCount - 1) == 7);

}  // namespace

void Slab::Format(uint32_t arena_index, Use slab_use, uint32_t class_index) {
  arena = arena_index;
  size_class = class_index;
  use = slab_use;
  count = BlockCount(class_index);
  first = FirstBlock(count, class_index);
  size = SizeOfClass(class_index);
  state.store(State(0, 0), std::memory_order_relaxed);
  links.store(0, std::memory_order_relaxed);
  for (uint32_t i = 0; i < count; ++i) {
    owners[i].store(FreeWord(i + 1 < count ? i + 1 : kNoBlock), std::memory_order_relaxed);
  }
}

bool Slab::HeaderIsWhole() const {
  return size_class < kSizeClassCount && static_cast<uint32_t>(use) < kUseCount &&
         size == SizeOfClass(size_class) && count == BlockCount(size_class) &&
         first == FirstBlock(count, size_class);
}

uint32_t Slab::IndexOf(const void* block) const {
  const auto offset = static_cast<uint64_t>(static_cast<const std::byte*>(block) -
                                            reinterpret_cast<const std::byte*>(this));
  if (offset < first || offset >= kBytes) return kNoBlock;
  const auto from_first = static_cast<uint32_t>(offset) - first;
  const uint32_t index = DivideBySize(from_first, size_class);
  return index < count && index * size == from_first ? index : kNoBlock;
}

uint32_t Slab::Take(Journal::Section& section, Owner owner) {
  const uint64_t now = section.Get(state);
  const uint32_t index = FirstFree(now);
  section.Set(state, State(NextFree(section.Get(owners[index])), Used(now) + 1));
  section.Set(owners[index], owner.word());
  return index;
}

void Slab::Give(Journal::Section& section, uint32_t index) {
  const uint64_t now = section.Get(state);
  section.Set(owners[index], FreeWord(FirstFree(now)));
  section.Set(state, State(index, Used(now) - 1));
}

absl::Status Slab::Check(const Journal::Section& section) const {
  auto broken = [this](const char* what) {
    return absl::InternalError(absl::StrCat("heap: slab ",
                                            absl::Hex(reinterpret_cast<uintptr_t>(this)), " of ",
                                            size, "-byte blocks: ", what));
  };
  if (!HeaderIsWhole()) return broken("its header is overwritten");
  const uint64_t now = section.Get(state);
  uint32_t in_use = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t word = section.Get(owners[i]);
    const Owner::Kind kind = Owner::FromWord(word).kind();
    if (kind >= Owner::Kind::kHeap) return broken("S3: an owner word of no kind");
    if (kind != Owner::Kind::kNone) {
      ++in_use;
    } else if (word != FreeWord(NextFree(word))) {
      return broken("S3: a free block's word leads nowhere");
    }
  }
  if (in_use != Used(now)) return broken("S2: the count of blocks in use is wrong");
  uint32_t listed = 0;
  for (uint32_t i = FirstFree(now); i != kNoBlock; i = NextFree(section.Get(owners[i]))) {
    if (i >= count) return broken("S1: the free list leads nowhere");
    if (Owner::FromWord(section.Get(owners[i])).kind() != Owner::Kind::kNone) {
      return broken("S1: a block in use is on the free list");
    }
    if (++listed > count) return broken("S1: the free list runs in a circle");
  }
  if (listed + in_use != count) return broken("S1: a free block is not on the free list");
  return absl::OkStatus();
}

}  // namespace mp::internal
