#include "shared/heap.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "shared/internal/fatal.h"
#include "shared/internal/size_class.h"

namespace mp {
namespace {

using internal::Arena;
using internal::Journal;
using internal::PageHeap;
using internal::Slab;
using internal::Use;

// Where this thread allocates. Threads and processes are dealt out over the arenas in
// turn; where one is busy they move on to one that is not.
constexpr uint32_t kNoArena = ~uint32_t{0};
thread_local uint32_t thread_arena = kNoArena;

constexpr size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Another's word would make a block look free, or the heap's own.
constexpr bool MayOwn(Owner owner) {
  return owner.kind() != Owner::Kind::kNone && owner.kind() < Owner::Kind::kHeap;
}

}  // namespace

Heap* Heap::Format(void* memory, size_t size, size_t commit_limit, int arenas) {
  Heap* heap = new (memory) Heap;
  heap->arena_count_ = std::min(std::max(static_cast<uint32_t>(arenas), 1u), kMaxArenas);
  for (uint32_t i = 0; i < heap->arena_count_; ++i) heap->arenas_[i].Format(i);
  // Then the table of pages, and then the pages. The table has an entry for pages that
  // the table itself takes; few, and never touched.
  auto* start = static_cast<std::byte*>(memory);
  const size_t table = RoundUp(sizeof(Heap), PageHeap::kPageSize);
  const size_t entries = (size - table) / PageHeap::kPageSize + 1;
  const size_t pages = RoundUp(table + entries * sizeof(PageHeap::Entry), PageHeap::kPageSize);
  heap->pages_.Format(reinterpret_cast<PageHeap::Entry*>(start + table), start + pages,
                      static_cast<uint32_t>((size - pages) / PageHeap::kPageSize),
                      commit_limit / PageHeap::kPageSize);
  return heap;
}

absl::StatusOr<void*> Heap::AllocateFor(Use use, size_t size, size_t alignment, Owner owner,
                                        Owner holder) {
  if (!MayOwn(owner) || holder.kind() != Owner::Kind::kProcess) {
    return absl::InvalidArgumentError("heap: a block for nobody, or by no process");
  }
  if (size == 0) size = 1;
  // Not std::has_single_bit(): a call to the compiler's library on plain x86-64.
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > kMaxAlignment) {
    return absl::InvalidArgumentError(
        absl::StrCat("heap: alignment ", alignment, " is not a power of two up to a page"));
  }
  if (size <= internal::kLargestSmallSize) {
    const uint32_t size_class = internal::ClassOf(size, alignment);
    if (size_class < internal::kSizeClassCount) {
      return AllocateSmall(use, size_class, owner, holder);
    }
  }
  constexpr size_t kMost = size_t{1} << 47;
  if (size > kMost) {
    return absl::ResourceExhaustedError(
        absl::StrCat("heap: ", size, " bytes are more than any address space has"));
  }
  const size_t length = RoundUp(size, PageHeap::kPageSize) / PageHeap::kPageSize;
  if (length > pages_.page_count()) return pages_.NoRoom(length);
  const absl::StatusOr<uint32_t> page =
      pages_.Allocate(static_cast<uint32_t>(length), owner, holder);
  if (!page.ok()) return page.status();
  return pages_.AddressOf(*page);
}

absl::StatusOr<void*> Heap::AllocateCell(size_t size, size_t alignment, Owner holder) {
  if (size > internal::kLargestSmallSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("heap: a cell of ", size, " bytes; 8192 is the most"));
  }
  return AllocateFor(Use::kCells, size, alignment, holder, holder);
}

absl::StatusOr<void*> Heap::AllocateSmall(Use use, uint32_t size_class, Owner owner, Owner holder) {
  // Also where another heap of this process has more arenas than this one.
  if (thread_arena >= arena_count_) [[unlikely]] {
    thread_arena = next_arena_.fetch_add(1, std::memory_order_relaxed) % arena_count_;
  }
  uint32_t index = thread_arena;
  for (uint32_t tries = 0; tries < arena_count_; ++tries) {
    Journal::Section section(arenas_[index].journal(), std::try_to_lock);
    if (section.held()) {
      return AllocateFrom(arenas_[index], section, use, size_class, owner, holder);
    }
    if (++index == arena_count_) index = 0;
    thread_arena = index;
  }
  Journal::Section section(arenas_[index].journal());
  return AllocateFrom(arenas_[index], section, use, size_class, owner, holder);
}

absl::StatusOr<void*> Heap::AllocateFrom(Arena& arena, Journal::Section& section, Use use,
                                         uint32_t size_class, Owner owner, Owner holder) {
  void* block = arena.Allocate(section, pages_, use, size_class, owner);
  if (block == nullptr) [[unlikely]] {
    absl::Status status = arena.AddSlab(section, pages_, use, size_class, holder);
    if (!status.ok()) return status;
    block = arena.Allocate(section, pages_, use, size_class, owner);
  }
  return block;
}

Slab* Heap::SlabOf(const PageHeap::Span& span) const {
  return reinterpret_cast<Slab*>(pages_.AddressOf(span.page));
}

void Heap::Free(void* block, Owner holder) { FreeUntil(nullptr, block, holder); }

bool Heap::FreeUntil(const timespec* deadline, void* block, Owner holder) {
  if (block == nullptr) return true;
  auto fail = [block](const char* what) {
    internal::Fatal(absl::StrCat("heap: free of 0x", absl::Hex(reinterpret_cast<uintptr_t>(block)),
                                 ", which is ", what));
  };
  const PageHeap::Span span = pages_.SpanOf(block);
  if (span.kind == PageHeap::Kind::kUsed) {
    if (block != pages_.AddressOf(span.page)) fail("inside a block, not its start");
    return pages_.Free(span.page, holder, deadline);
  }
  if (span.kind != PageHeap::Kind::kSlab) fail("no block in use (freed twice?)");
  Slab* slab = SlabOf(span);
  const uint32_t index = slab->IndexOf(block);
  if (index == Slab::kNoBlock) fail("inside a block, not its start");
  Arena& arena = arenas_[slab->arena];
  Journal::Section section(arena.journal(), deadline);
  if (!section.held()) return false;
  if (Owner::FromWord(section.Get(slab->owners[index])).kind() == Owner::Kind::kNone) {
    fail("not in use (freed twice?)");
  }
  arena.Free(section, pages_, slab, index, holder, deadline);
  return true;
}

bool Heap::FreeOwnedByUntil(const timespec* deadline, Owner owner,
                            absl::Span<const void* const> keep, Owner holder) {
  if (owner.kind() == Owner::Kind::kProcess) {
    std::vector<Owner> objects;
    const bool all = ForEachBlockUntil(deadline, [&](const Block& block) {
      if (block.cell && block.owner == owner) objects.push_back(Owner::Object(block.address));
    });
    // First: what an object owns goes before its cell.
    if (!all || !FreeOwnedByAnyUntil(deadline, objects, {}, holder)) return false;
  }
  return FreeOwnedByAnyUntil(deadline, absl::MakeConstSpan(&owner, 1), keep, holder);
}

bool Heap::FreeOwnedByAnyUntil(const timespec* deadline, absl::Span<const Owner> owners,
                               absl::Span<const void* const> keep, Owner holder) {
  if (owners.empty()) return true;
  std::vector<uint64_t> words;
  words.reserve(owners.size());
  for (const Owner owner : owners) words.push_back(owner.word());
  std::sort(words.begin(), words.end());
  auto doomed = [&](const void* block, Owner owner) {
    return std::binary_search(words.begin(), words.end(), owner.word()) &&
           std::find(keep.begin(), keep.end(), block) == keep.end();
  };
  // The arenas first: a dead process's last commit there may name a span as its own,
  // and is settled before that span is freed below.
  for (uint32_t i = 0; i < arena_count_; ++i) {
    Journal::Section section(arenas_[i].journal(), deadline);
    if (!section.held()) return false;
    arenas_[i].FreeIf(
        section, pages_,
        [&](const Slab& slab, const void* block, Owner owner) {
          // The cell that an object lives in is its own, and not among its blocks.
          const bool own = slab.use == Use::kCells && owner.kind() == Owner::Kind::kObject;
          return !own && doomed(block, owner);
        },
        holder, deadline);
  }
  std::vector<uint32_t> found;
  const bool all = pages_.ForEachSpan(
      [&](const PageHeap::Span& span) {
        if (span.kind == PageHeap::Kind::kUsed && doomed(pages_.AddressOf(span.page), span.owner)) {
          found.push_back(span.page);
        }
      },
      deadline);
  if (!all) return false;
  for (const uint32_t page : found) {
    if (!pages_.Free(page, holder, deadline)) return false;
  }
  return true;
}

Heap::Block Heap::Find(const void* address) const {
  const PageHeap::Span span = pages_.SpanOf(address);
  if (span.kind == PageHeap::Kind::kUsed) {
    return {pages_.AddressOf(span.page), size_t{span.length} * PageHeap::kPageSize, span.owner,
            false};
  }
  constexpr Block kNone{nullptr, 0, Owner(), false};
  if (span.kind != PageHeap::Kind::kSlab) return kNone;
  Slab* slab = SlabOf(span);
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(address) -
                                          reinterpret_cast<const std::byte*>(slab));
  if (offset < slab->first) return kNone;
  const auto index = static_cast<uint32_t>((offset - slab->first) / slab->size);
  if (index >= slab->count) return kNone;
  const Owner owner = Owner::FromWord(slab->owners[index].load(std::memory_order_relaxed));
  if (owner.kind() == Owner::Kind::kNone) return kNone;
  return {slab->BlockAt(index), slab->size, owner, slab->use == Use::kCells};
}

internal::Word* Heap::OwnerWordOf(void* block) {
  const PageHeap::Span span = pages_.SpanOf(block);
  if (span.kind == PageHeap::Kind::kSlab) {
    Slab* slab = SlabOf(span);
    const uint32_t index = slab->IndexOf(block);
    return index == Slab::kNoBlock ? nullptr : &slab->owners[index];
  }
  const bool whole = span.kind == PageHeap::Kind::kUsed && block == pages_.AddressOf(span.page);
  return whole ? &pages_.LinkWord(span.page) : nullptr;
}

void Heap::SetOwner(void* block, Owner owner) {
  if (!MayOwn(owner)) internal::Fatal("heap: SetOwner: a block for nobody");
  internal::Word* word = OwnerWordOf(block);
  if (word == nullptr || !MayOwn(Owner::FromWord(word->load(std::memory_order_relaxed)))) {
    internal::Fatal("heap: an owner for what is no block");
  }
  word->store(owner.word(), std::memory_order_release);
}

bool Heap::ChangeOwner(void* block, Owner from, Owner to) {
  internal::Word* word = OwnerWordOf(block);
  uint64_t expected = from.word();
  return word != nullptr && MayOwn(from) && MayOwn(to) &&
         word->compare_exchange_strong(expected, to.word(), std::memory_order_acq_rel);
}

bool Heap::ForEachBlockUntil(const timespec* deadline,
                             absl::FunctionRef<void(const Block&)> visit) {
  for (uint32_t i = 0; i < arena_count_; ++i) {
    Journal::Section section(arenas_[i].journal(), deadline);
    if (!section.held()) return false;
    arenas_[i].ForEachSlab(section, pages_, [&](Slab& slab) {
      uint32_t left = Slab::Used(section.Get(slab.state));
      for (uint32_t index = 0; index < slab.count && left > 0; ++index) {
        const Owner owner = Owner::FromWord(section.Get(slab.owners[index]));
        if (owner.kind() == Owner::Kind::kNone) continue;
        --left;
        visit({slab.BlockAt(index), slab.size, owner, slab.use == Use::kCells});
      }
    });
  }
  return pages_.ForEachSpan(
      [&](const PageHeap::Span& span) {
        if (span.kind != PageHeap::Kind::kUsed) return;
        visit({pages_.AddressOf(span.page), size_t{span.length} * PageHeap::kPageSize, span.owner,
               false});
      },
      deadline);
}

HeapStats Heap::Stats() {
  HeapStats stats;
  ForEachBlock([&stats](const Block& block) {
    stats.in_use += block.size;
    ++stats.blocks;
  });
  const PageHeap::Totals totals = pages_.GetTotals();
  stats.reserved = totals.pages * PageHeap::kPageSize;
  stats.committed = totals.committed * PageHeap::kPageSize;
  stats.commit_limit = totals.limit * PageHeap::kPageSize;
  stats.overhead = RoundUp(sizeof(Heap), PageHeap::kPageSize) +
                   RoundUp(totals.high_water * sizeof(PageHeap::Entry), PageHeap::kPageSize);
  stats.free = totals.free * PageHeap::kPageSize;
  return stats;
}

absl::Status Heap::Check() {
  if (arena_count_ == 0 || arena_count_ > kMaxArenas) {
    return absl::InternalError("heap: its header is overwritten");
  }
  // All arenas and then the pages, in the order in which others take them, so that
  // what is counted holds still.
  std::vector<std::unique_ptr<Journal::Section>> sections;
  for (uint32_t i = 0; i < arena_count_; ++i) {
    sections.push_back(std::make_unique<Journal::Section>(arenas_[i].journal()));
  }
  if (absl::Status status = pages_.Check(); !status.ok()) return status;
  uint64_t listed = 0;
  for (uint32_t i = 0; i < arena_count_; ++i) {
    if (absl::Status status = arenas_[i].Check(*sections[i], pages_, listed); !status.ok()) {
      return status;
    }
  }
  uint64_t slabs = 0;
  absl::Status owners;
  pages_.ForEachSpan([&](const PageHeap::Span& span) {
    slabs += span.kind == PageHeap::Kind::kSlab;
    const bool expected =
        span.kind == PageHeap::Kind::kSlab ? span.owner == Owner::Heap() : MayOwn(span.owner);
    if (!expected) {
      owners = absl::InternalError(absl::StrCat("heap: page ", span.page, ": a wrong owner"));
    }
  });
  if (!owners.ok()) return owners;
  if (slabs != listed) return absl::InternalError("heap: A1: a slab that is in no list");
  return absl::OkStatus();
}

void Heap::ForgetThreadArenaInChild() { thread_arena = kNoArena; }

}  // namespace mp
