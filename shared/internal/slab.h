// Slab: a span of 16 pages cut into blocks of one size, with the owner word of each.
//
// Layout: the header, one owner word a block, then the blocks, the first at a multiple
// of the alignment of the class.
//
//   field         written by            read by         meaning
//   arena, ...    who carves it         all             constant while it is a slab
//   state         holder of its arena   the same        first free block, blocks in use
//   links         holder of its arena   the same        next and previous in a list
//   owners[i]     holder of its arena;  the same; who   whose block i is; for a free one
//                 the block's owner     has the block   the next free block (kind kNone)
//
//   S1  The free blocks are those on the list from state, each once.
//   S2  blocks in use + blocks on the list = count.
//   S3  The owner word of a block in use names its owner; of a free one, kind kNone.

#ifndef MP_SHARED_INTERNAL_SLAB_H_
#define MP_SHARED_INTERNAL_SLAB_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "shared/internal/atomic.h"
#include "shared/internal/journal.h"
#include "shared/internal/size_class.h"
#include "shared/owner.h"

namespace mp::internal {

// What a slab is for. Cells of objects are never used for anything else again, so
// slabs of them are never given back: a stale handle leads to a cell, always.
enum class Use : uint32_t { kBlocks, kCells };
inline constexpr uint32_t kUseCount = 2;

struct Slab {
  static constexpr uint32_t kPages = 16;
  static constexpr uint32_t kBytes = kPages * 4096;
  static constexpr uint32_t kNoBlock = 0xffff;

  uint32_t arena;
  uint32_t size_class;
  Use use;
  uint32_t count;  // blocks
  uint32_t first;  // offset of block 0
  uint32_t size;   // bytes of a block
  Word state;
  Word links;
  Word owners[];

  // Makes a slab of fresh memory: all blocks free. Invisible until it is linked.
  void Format(uint32_t arena_index, Use slab_use, uint32_t class_index);

  static constexpr uint64_t State(uint32_t first_free, uint32_t used) {
    return first_free | (uint64_t{used} << 32);
  }
  static constexpr uint32_t FirstFree(uint64_t state) { return static_cast<uint32_t>(state); }
  static constexpr uint32_t Used(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

  void* BlockAt(uint32_t index) {
    return reinterpret_cast<std::byte*>(this) + first + size_t{index} * size;
  }
  // Whether the constant fields fit each other, as Format() makes them.
  bool HeaderIsWhole() const;
  // kNoBlock: no block starts there.
  uint32_t IndexOf(const void* block) const;

  // Stage the taking of the first free block, and the freeing of a block in use. Both
  // return its index.
  uint32_t Take(Journal::Section& section, Owner owner);
  void Give(Journal::Section& section, uint32_t index);

  absl::Status Check(const Journal::Section& section) const;
};
static_assert(sizeof(Slab) == 40);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_SLAB_H_
