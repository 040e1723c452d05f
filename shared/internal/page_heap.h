// PageHeap: the pages of a domain, in spans (runs of pages). Large blocks are spans;
// small ones live in slabs, which are spans too. Commits memory to spans and gives it
// back to the kernel; neither needs a descriptor.
//
// Spans are found by their size in bins, and by their neighbours through the entries
// of their first and last page (boundary tags). Free spans are of two sorts, kept
// apart: committed ones, at most kKeptPages of them, and those without memory.
//
// Layout: one Entry a page.
//   which entry             tag                          link
//   first, free span        kFree, committed, length     next and previous in its bin
//   last, free span         kFreeLast, length            -
//   first, used span        kUsed, committed, length     its owner
//   first, slab             kSlab, length                Owner::Heap()
//   last, used span; every  kInside, distance to first   -
//     other page of a slab;
//     every 64th page
//   any other               anything but kFree, kUsed, kSlab
//
//   P1  Spans tile [1, page_count) without a gap. Entry 0 and entry page_count are
//       used for ever, so that no neighbour has to be checked for being there.
//   P2  A tag kFree, kUsed or kSlab is the first of a span that is there now.
//   P3  No two neighbours are free and of the same sort.
//   P4  committed_ counts the pages of used spans and of committed free ones:
//       never less than what the kernel has given.
//   P5  A span that is committed has its memory. One in use that is not is between its
//       steps, and its holder's; after its death the memory is given back, since
//       nobody knows how much of it there is.
//   Repair after a death: the journal's. A span whose holder died between its steps
//   belongs to that process, and comes back with what else that process owned.

#ifndef MP_SHARED_INTERNAL_PAGE_HEAP_H_
#define MP_SHARED_INTERNAL_PAGE_HEAP_H_

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/internal/atomic.h"
#include "shared/internal/journal.h"
#include "shared/owner.h"

namespace mp::internal {

// Shows tests what is private here and in Heap and Arena; defined by them.
struct HeapTestPeer;

class PageHeap {
 public:
  static constexpr size_t kPageSize = 4096;
  // Free memory that is kept for the next one who needs it: 8 MiB.
  static constexpr uint64_t kKeptPages = 2048;
  // The pages whose entries say how far their span's first page is, of every used span.
  static constexpr uint32_t kMarkedPages = 64;
  // Memory is committed in steps of at least 256 KiB.
  static constexpr uint32_t kGrowthPages = 64;

  enum class Kind : uint64_t { kNone, kInside, kFree, kFreeLast, kUsed, kSlab };

  struct Entry {
    Word tag;
    Word link;
  };

  struct Span {
    uint32_t page;
    uint32_t length;  // pages
    Kind kind;        // kUsed or kSlab
    Owner owner;
  };

  struct Totals {
    uint64_t pages;       // all there are
    uint64_t committed;   // pages that have memory, or may have
    uint64_t limit;       // pages that may be committed
    uint64_t free;        // committed and free
    uint64_t high_water;  // one past the last page that was ever used
  };

  // `table` has page_count + 1 zero entries; page i of [1, page_count) is at
  // pages + i * kPageSize. Called once, before anybody else sees it.
  void Format(Entry* table, std::byte* pages, uint32_t page_count, uint64_t limit_pages);

  // A span of `length` committed pages; `holder`, a process, owns it until all is
  // done, then `owner`. kResourceExhausted: past the limit, no room, no memory.
  absl::StatusOr<uint32_t> Allocate(uint32_t length, Owner owner, Owner holder);

  // Gives back a used span, which nobody else frees meanwhile. `holder` owns it
  // until all is done. False: the lock was not free until `deadline`, where there is one, and
  // nothing has happened.
  bool Free(uint32_t page, Owner holder, const timespec* deadline = nullptr);

  uint64_t page_count() const { return page_count_; }
  absl::Status NoRoom(uint64_t length) const;

  std::byte* AddressOf(uint32_t page) const { return pages_ + size_t{page} * kPageSize; }
  // The first page of the span that `address` lies in, and its kind: kUsed or kSlab.
  // kNone where there is none. The span must not be freed meanwhile. From the middle of a
  // large block it looks back at up to 64 entries.
  Span SpanOf(const void* address) const;

  // Turning a used span into a slab and back is part of a commit of its arena.
  Word& TagWord(uint32_t page) { return table_[page].tag; }
  Word& LinkWord(uint32_t page) { return table_[page].link; }
  static uint64_t SlabTag(uint32_t length) { return Tag(Kind::kSlab, length); }
  static uint64_t UsedTag(uint32_t length) { return Tag(Kind::kUsed, length, /*committed=*/true); }
  // Marks the pages of a used span that are multiples of `step` so that SpanOf() finds its
  // first one from there.
  void MarkInside(uint32_t page, uint32_t length, uint32_t step);

  // Each used span and slab, in order of address, under the lock. False: as Free().
  bool ForEachSpan(absl::FunctionRef<void(const Span&)> visit, const timespec* deadline = nullptr);
  Totals GetTotals();

  // Without the lock, for who has a copy of these bytes: what they say, which nobody has
  // checked.
  struct Place {
    uint64_t table;  // address of entry 0
    uint64_t pages;  // address of page 0
    uint64_t page_count;
    uint64_t committed;   // pages, as in Totals
    uint64_t limit;       // pages
    uint64_t high_water;  // no entry from here on was ever written, but those of one free span
  };
  Place GetPlace() const;
  // What an entry says; kNone and kInside: no span starts there.
  static Span SpanAt(uint32_t page, uint64_t tag, uint64_t link);

  // The first broken invariant. Takes the lock.
  absl::Status Check();

 private:
  friend struct HeapTestPeer;

  static constexpr int kBins = 128;
  // A free span's place: its sort, and the bin of its length.
  struct Bins {
    Word heads[kBins];
    Word nonempty[kBins / 64];
  };

  static constexpr uint64_t kCommittedBit = 8;
  static constexpr int kValueShift = 8;
  static constexpr uint64_t Tag(Kind kind, uint64_t value, bool committed = false) {
    return static_cast<uint64_t>(kind) | (committed ? kCommittedBit : 0) | (value << kValueShift);
  }
  static constexpr Kind KindOf(uint64_t tag) { return static_cast<Kind>(tag & 7); }
  static constexpr uint32_t ValueOf(uint64_t tag) {
    return static_cast<uint32_t>(tag >> kValueShift);
  }
  static constexpr bool IsCommitted(uint64_t tag) { return (tag & kCommittedBit) != 0; }
  static constexpr bool IsUsed(uint64_t tag) {
    return KindOf(tag) == Kind::kUsed || KindOf(tag) == Kind::kSlab;
  }
  // Links of a list: the pages of the next and the previous span; 0 for none.
  static constexpr uint64_t Links(uint32_t next, uint32_t previous) {
    return next | (uint64_t{previous} << 32);
  }
  static constexpr uint32_t Next(uint64_t links) { return static_cast<uint32_t>(links); }
  static constexpr uint32_t Previous(uint64_t links) { return static_cast<uint32_t>(links >> 32); }
  static int BinOf(uint32_t length);

  // What a change to the spans is made of. Each stages, none commits.
  uint32_t FindFree(const Journal::Section& section, bool committed, uint32_t length) const;
  void Unlink(Journal::Section& section, uint32_t page);
  void Link(Journal::Section& section, uint32_t page, uint32_t length, bool committed);
  void MakeUsed(Journal::Section& section, uint32_t page, uint32_t length, Owner owner,
                bool committed);
  void MakeFree(Journal::Section& section, uint32_t page, uint32_t length, bool committed);
  static void Add(Journal::Section& section, Word& word, int64_t difference);

  // Takes `length` pages that are committed, or the start of a span to commit, with
  // the pages the caller has to commit in `to_commit`. Commits. 0: there is none.
  uint32_t Take(Journal::Section& section, uint32_t length, Owner holder, uint32_t& to_commit);
  // Gives the memory of a span, which the caller has in hand, back. False: it stays.
  bool Release(uint32_t page, uint32_t length);
  // Gives the memory of all free spans back. Commits.
  void ReleaseFree(Journal::Section& section, Owner holder);
  absl::Status Exhausted(Journal::Section& section, uint32_t length) const;

  absl::Status CheckLists(const Journal::Section& section, bool committed, uint64_t pages) const;

  Journal journal_;
  Entry* table_;         // constant
  std::byte* pages_;     // constant
  uint64_t page_count_;  // constant
  uint64_t limit_;       // constant; pages
  Word committed_;       // P4; pages
  Word free_committed_;  // pages of committed free spans
  Word high_water_;
  Bins bins_[2];  // [committed]
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_PAGE_HEAP_H_
