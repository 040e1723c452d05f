// Arena: slabs under one lock. A domain has a few, so that processes that allocate at
// once rarely meet; any process may free into any.
//
// Layout
//   field       written by    meaning
//   journal_    who locks     its lock guards all below and its slabs
//   partial_    the holder    slabs with a free block, by use and class; empty ones too
//   full_       the holder    slabs without
//
//   A1  Each slab is in exactly one list of exactly one arena, by whether it is full.
//   Repair after a death: the journal's. A span that was to become a slab, or was one,
//   belongs to the dead process.

#ifndef MP_SHARED_INTERNAL_ARENA_H_
#define MP_SHARED_INTERNAL_ARENA_H_

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "shared/internal/atomic.h"
#include "shared/internal/journal.h"
#include "shared/internal/page_heap.h"
#include "shared/internal/slab.h"
#include "shared/owner.h"

namespace mp::internal {

class alignas(64) Arena {
 public:
  void Format(uint32_t index);

  Journal& journal() { return journal_; }

  // All with this arena's Section held. `holder`: the process that calls.

  // A block of a slab that has one free, else nullptr: then AddSlab() first.
  void* Allocate(Journal::Section& section, PageHeap& pages, Use use, uint32_t size_class,
                 Owner owner);
  absl::Status AddSlab(Journal::Section& section, PageHeap& pages, Use use, uint32_t size_class,
                       Owner holder);
  // Frees block `index`, which is in use. A slab of blocks that is empty then goes back
  // to the pages, unless it is the last of its class with a block to give. Where the lock of
  // the pages is not free until `deadline` it stays the holder's span.
  void Free(Journal::Section& section, PageHeap& pages, Slab* slab, uint32_t index, Owner holder,
            const timespec* deadline = nullptr);
  // Frees the blocks that are `doomed`.
  void FreeIf(Journal::Section& section, PageHeap& pages,
              absl::FunctionRef<bool(const Slab& slab, const void* block, Owner owner)> doomed,
              Owner holder, const timespec* deadline);
  void ForEachSlab(const Journal::Section& section, PageHeap& pages,
                   absl::FunctionRef<void(Slab&)> visit) const;
  // Checks the slabs too; `slabs` is how many there are.
  absl::Status Check(const Journal::Section& section, PageHeap& pages, uint64_t& slabs) const;

 private:
  friend struct HeapTestPeer;

  void Unlink(Journal::Section& section, PageHeap& pages, Slab* slab, Word& head);
  void Link(Journal::Section& section, PageHeap& pages, Slab* slab, Word& head);
  Word& PartialOf(const Slab& slab) {
    return partial_[static_cast<uint32_t>(slab.use)][slab.size_class];
  }

  Journal journal_;
  uint32_t index_;  // constant
  Word partial_[kUseCount][kSizeClassCount];
  Word full_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_ARENA_H_
