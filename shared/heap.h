// Heap: the memory of a domain, in blocks of 1 byte to many gigabytes. Lives in the
// memory that it hands out; every process of the family calls it at once.
//
//   absl::StatusOr<void*> block = domain->heap().Allocate(100, 64, domain->ThisProcess());
//   ...
//   domain->heap().Free(*block);                   // by any process
//
// Blocks up to 8 KiB come from slabs, without a system call but for each new slab.
// Larger ones are whole pages; what would be free beyond 8 MiB gives its memory back to the
// kernel, the shortest pieces first. Fresh memory is committed before it is handed out.
//
// Ordering: Allocate() and Free() order what their callers do to a block.
// Death:    a process may be killed at any instruction of any of these; the others
//           go on, nothing in use is handed out twice, and a block that the dead one
//           had not yet been told of is in the name of its owner.
// Fork:     a child of a program with threads may call all of it.
// Signals:  not in a signal handler that may interrupt another call of the heap.
// Misuse:   freeing what is not a block in use ends this process with one line.
// Cost:     8 bytes a block, up to a quarter of its size for rounding; figures in
//           docs/benchmarks.md.

#ifndef MP_SHARED_HEAP_H_
#define MP_SHARED_HEAP_H_

#include <time.h>

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shared/internal/arena.h"
#include "shared/internal/atomic.h"
#include "shared/internal/page_heap.h"
#include "shared/internal/slab.h"
#include "shared/owner.h"

namespace mp {

// In bytes.
struct HeapStats {
  size_t reserved = 0;      // address space for blocks
  size_t committed = 0;     // memory taken from the kernel for blocks, at most
  size_t commit_limit = 0;  // what `committed` may reach
  size_t free = 0;          // whole pages of `committed` that are free
  size_t overhead = 0;      // bookkeeping outside of `committed`
  size_t in_use = 0;        // blocks in use, as rounded up
  size_t blocks = 0;        // how many blocks are in use
};

class Heap {
 public:
  struct Block {
    void* address;
    size_t size;  // rounded up
    Owner owner;
    bool cell;  // a cell of an object
  };

  static constexpr size_t kMaxAlignment = internal::PageHeap::kPageSize;

  // Makes a heap of `size` zero bytes at `memory`, both multiples of a page; at most
  // `commit_limit` bytes of it will ever have memory. Invisible to others until the
  // caller publishes it.
  static Heap* Format(void* memory, size_t size, size_t commit_limit, int arenas);

  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // `size` bytes (0 counts as 1), not zeroed, aligned to `alignment`, a power of two
  // up to kMaxAlignment; kInvalidArgument otherwise, and for an owner that is none.
  // kResourceExhausted: the message says which limit, and what to set. `owner` is whose the block
  // is; `holder` is the calling process, whose it is until all is done.
  absl::StatusOr<void*> Allocate(size_t size, size_t alignment, Owner owner, Owner holder) {
    return AllocateFor(internal::Use::kBlocks, size, alignment, owner, holder);
  }
  absl::StatusOr<void*> Allocate(size_t size, size_t alignment, Owner holder) {
    return Allocate(size, alignment, holder, holder);
  }
  // A cell for the state of an object, up to 8 KiB. Its memory is never used for
  // anything but such cells of the same size again, and nobody else writes to it: it is
  // zero at first, and then as the last one left it.
  absl::StatusOr<void*> AllocateCell(size_t size, size_t alignment, Owner holder);

  // Frees a block or a cell; nullptr does nothing.
  void Free(void* block, Owner holder);
  // Frees every block of `owner` but those in `keep` and, of an object, its own cell. The
  // cells of a process are objects that it was making or dropping: what they own goes
  // too. Nobody else may free any of it meanwhile. Looks at every block there is.
  void FreeOwnedBy(Owner owner, absl::Span<const void* const> keep, Owner holder) {
    (void)FreeOwnedByUntil(nullptr, owner, keep, holder);
  }

  // The same for many objects, in one look at every block.
  void FreeOwnedByAny(absl::Span<const Owner> objects, Owner holder) {
    (void)FreeOwnedByAnyUntil(nullptr, objects, {}, holder);
  }

  // The same for who must not wait for a process that is stopped inside the heap: false when
  // a lock was not free until `deadline`, on CLOCK_MONOTONIC, and something is left to do.
  [[nodiscard]] bool TryFree(void* block, Owner holder, const timespec& deadline) {
    return FreeUntil(&deadline, block, holder);
  }
  [[nodiscard]] bool TryFreeOwnedBy(Owner owner, absl::Span<const void* const> keep, Owner holder,
                                    const timespec& deadline) {
    return FreeOwnedByUntil(&deadline, owner, keep, holder);
  }

  // The block that `address` lies in; its address is nullptr where there is none in
  // use. Nobody may free it meanwhile.
  Block Find(const void* address) const;
  // By who has the block in hand.
  void SetOwner(void* block, Owner owner);
  // By whoever is first. False: it is no block of `from`.
  [[nodiscard]] bool ChangeOwner(void* block, Owner from, Owner to);

  // Visits every block in use, some of them perhaps being allocated or freed by others
  // meanwhile. `visit` may not call the heap. Not in order.
  void ForEachBlock(absl::FunctionRef<void(const Block&)> visit) {
    (void)ForEachBlockUntil(nullptr, visit);
  }
  // False: as TryFree().
  [[nodiscard]] bool TryForEachBlock(absl::FunctionRef<void(const Block&)> visit,
                                     const timespec& deadline) {
    return ForEachBlockUntil(&deadline, visit);
  }
  HeapStats Stats();
  // Walks the whole structure, holding up everybody else; a status that names the
  // first broken invariant.
  absl::Status Check();

  // For who has a copy of these bytes; see PageHeap::Place.
  internal::PageHeap::Place GetPlace() const { return pages_.GetPlace(); }

  // For a child of fork: its thread chooses an arena of its own.
  static void ForgetThreadArenaInChild();

 private:
  friend struct internal::HeapTestPeer;

  static constexpr uint32_t kMaxArenas = 64;

  Heap() = default;

  absl::StatusOr<void*> AllocateFor(internal::Use use, size_t size, size_t alignment, Owner owner,
                                    Owner holder);
  absl::StatusOr<void*> AllocateSmall(internal::Use use, uint32_t size_class, Owner owner,
                                      Owner holder);
  absl::StatusOr<void*> AllocateFrom(internal::Arena& arena, internal::Journal::Section& section,
                                     internal::Use use, uint32_t size_class, Owner owner,
                                     Owner holder);
  // nullptr: waits for ever.
  bool FreeUntil(const timespec* deadline, void* block, Owner holder);
  bool FreeOwnedByUntil(const timespec* deadline, Owner owner, absl::Span<const void* const> keep,
                        Owner holder);
  bool FreeOwnedByAnyUntil(const timespec* deadline, absl::Span<const Owner> owners,
                           absl::Span<const void* const> keep, Owner holder);
  bool ForEachBlockUntil(const timespec* deadline, absl::FunctionRef<void(const Block&)> visit);
  // nullptr: no block starts there.
  internal::Word* OwnerWordOf(void* block);
  internal::Slab* SlabOf(const internal::PageHeap::Span& span) const;

  internal::PageHeap pages_;
  uint32_t arena_count_;  // constant
  internal::Atomic<uint32_t> next_arena_;
  internal::Arena arenas_[kMaxArenas];
};

}  // namespace mp

#endif  // MP_SHARED_HEAP_H_
