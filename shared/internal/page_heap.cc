#include "shared/internal/page_heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"

namespace mp::internal {
namespace {

// Linux 5.14; glibc 2.35 has the name.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// Errno, or 0. A kernel that cannot commit ahead commits at the first touch: then
// the limit alone keeps us from what the machine does not have.
int CommitMemory(void* address, size_t size) {
  while (madvise(address, size, MADV_POPULATE_WRITE) != 0) {
    if (errno == EINVAL) return 0;
    if (errno != EINTR) return errno;
  }
  return 0;
}

// False: the memory stays (it is locked, say).
bool ReleaseMemory(void* address, size_t size) {
  int result;
  do {
    result = madvise(address, size, MADV_REMOVE);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

}  // namespace

void PageHeap::Format(Entry* table, std::byte* pages, uint32_t page_count, uint64_t limit_pages) {
  journal_.Init();
  table_ = table;
  pages_ = pages;
  page_count_ = page_count;
  limit_ = limit_pages;
  table_[0].tag.store(Tag(Kind::kUsed, 1), std::memory_order_relaxed);
  table_[page_count].tag.store(Tag(Kind::kUsed, 1), std::memory_order_relaxed);
  high_water_.store(1, std::memory_order_relaxed);
  Journal::Section section(journal_);
  MakeFree(section, 1, page_count - 1, /*committed=*/false);
  section.Commit();  // nobody else sees it yet
}

int PageHeap::BinOf(uint32_t length) {
  // Exact up to 15 pages, then four bins for each doubling.
  if (length < 16) return static_cast<int>(length);
  const int log = std::bit_width(length) - 1;
  return 16 + (log - 4) * 4 + static_cast<int>((length >> (log - 2)) & 3);
}

uint32_t PageHeap::FindFree(const Journal::Section& section, bool committed,
                            uint32_t length) const {
  // In its own bin a span may be too short: a few are tried, then the longer ones,
  // and the rest of its own bin only when there is nothing else.
  constexpr int kFirstTries = 16;
  const Bins& bins = bins_[committed];
  const int own = BinOf(length);
  auto page = static_cast<uint32_t>(section.Get(bins.heads[own]));
  auto too_short = [&] { return ValueOf(section.Get(table_[page].tag)) < length; };
  for (int tries = 0; page != 0 && too_short() && tries < kFirstTries; ++tries) {
    page = Next(section.Get(table_[page].link));
  }
  if (page != 0 && !too_short()) return page;
  for (int bin = own + 1; bin < kBins; bin = (bin / 64 + 1) * 64) {
    const uint64_t longer = section.Get(bins.nonempty[bin / 64]) & (~uint64_t{0} << (bin % 64));
    if (longer != 0) {
      return static_cast<uint32_t>(
          section.Get(bins.heads[bin / 64 * 64 + std::countr_zero(longer)]));
    }
  }
  while (page != 0 && too_short()) page = Next(section.Get(table_[page].link));
  return page;
}

void PageHeap::Add(Journal::Section& section, Word& word, int64_t difference) {
  section.Set(word, section.Get(word) + static_cast<uint64_t>(difference));
}

void PageHeap::Unlink(Journal::Section& section, uint32_t page) {
  const uint64_t tag = section.Get(table_[page].tag);
  Bins& bins = bins_[IsCommitted(tag)];
  const int bin = BinOf(ValueOf(tag));
  const uint64_t links = section.Get(table_[page].link);
  const uint32_t next = Next(links);
  const uint32_t previous = Previous(links);
  if (next != 0) {
    Word& link = table_[next].link;
    section.Set(link, Links(Next(section.Get(link)), previous));
  }
  if (previous != 0) {
    Word& link = table_[previous].link;
    section.Set(link, Links(next, Previous(section.Get(link))));
  } else {
    section.Set(bins.heads[bin], next);
    if (next == 0) {
      Word& nonempty = bins.nonempty[bin / 64];
      section.Set(nonempty, section.Get(nonempty) & ~(uint64_t{1} << (bin % 64)));
    }
  }
  if (IsCommitted(tag)) Add(section, free_committed_, -int64_t{ValueOf(tag)});
}

void PageHeap::Link(Journal::Section& section, uint32_t page, uint32_t length, bool committed) {
  Bins& bins = bins_[committed];
  const int bin = BinOf(length);
  const auto head = static_cast<uint32_t>(section.Get(bins.heads[bin]));
  section.Set(table_[page + length - 1].tag, Tag(Kind::kFreeLast, length));
  section.Set(table_[page].tag, Tag(Kind::kFree, length, committed));
  section.Set(table_[page].link, Links(head, 0));
  section.Set(bins.heads[bin], page);
  if (head != 0) {
    Word& link = table_[head].link;
    section.Set(link, Links(Next(section.Get(link)), page));
  } else {
    Word& nonempty = bins.nonempty[bin / 64];
    section.Set(nonempty, section.Get(nonempty) | (uint64_t{1} << (bin % 64)));
  }
  if (committed) Add(section, free_committed_, length);
}

void PageHeap::MakeUsed(Journal::Section& section, uint32_t page, uint32_t length, Owner owner,
                        bool committed) {
  section.Set(table_[page + length - 1].tag, Tag(Kind::kInside, length - 1));
  section.Set(table_[page].tag, Tag(Kind::kUsed, length, committed));
  section.Set(table_[page].link, owner.word());
  const uint64_t end = page + length;
  if (end > section.Get(high_water_)) section.Set(high_water_, end);
}

void PageHeap::MakeFree(Journal::Section& section, uint32_t page, uint32_t length, bool committed) {
  // Joins free neighbours of the same sort (P3); the tags that were firsts or lasts
  // become insides (P2).
  const uint64_t after = section.Get(table_[page + length].tag);
  if (KindOf(after) == Kind::kFree && IsCommitted(after) == committed) {
    Unlink(section, page + length);
    section.Set(table_[page + length].tag, Tag(Kind::kNone, 0));
    length += ValueOf(after);
  }
  const uint64_t before = section.Get(table_[page - 1].tag);
  // The last page of a span of one page is its first: kFree, of length 1.
  if (KindOf(before) == Kind::kFreeLast || KindOf(before) == Kind::kFree) {
    const uint32_t first = page - ValueOf(before);
    if (IsCommitted(section.Get(table_[first].tag)) == committed) {
      Unlink(section, first);
      section.Set(table_[page - 1].tag, Tag(Kind::kNone, 0));
      section.Set(table_[page].tag, Tag(Kind::kNone, 0));
      length += ValueOf(before);
      page = first;
    }
  }
  Link(section, page, length, committed);
}

uint32_t PageHeap::Take(Journal::Section& section, uint32_t length, Owner holder,
                        uint32_t& to_commit) {
  to_commit = 0;
  uint32_t page = FindFree(section, /*committed=*/true, length);
  uint32_t taken = length;
  if (page == 0) {
    page = FindFree(section, /*committed=*/false, length);
    const uint64_t committed = section.Get(committed_);
    if (page == 0 || committed + length > limit_) return 0;
    const uint64_t most =
        std::min<uint64_t>(ValueOf(section.Get(table_[page].tag)), limit_ - committed);
    taken = static_cast<uint32_t>(std::min<uint64_t>(std::max(length, kGrowthPages), most));
    to_commit = taken;
    Add(section, committed_, taken);
  }
  const uint64_t tag = section.Get(table_[page].tag);
  Unlink(section, page);
  MakeUsed(section, page, taken, holder, /*committed=*/to_commit == 0);
  if (ValueOf(tag) > taken) {
    Link(section, page + taken, ValueOf(tag) - taken, IsCommitted(tag));
  }
  // Before: nothing of it happened.
  // After:  the span is the holder's; if it dies, it comes back with its burial.
  // Test:   HeapCrashTest.LargeBlocksAreAllOrNothing
  section.Commit();
  return page;
}

bool PageHeap::Release(uint32_t page, uint32_t length) {
  if (!ReleaseMemory(AddressOf(page), size_t{length} * kPageSize)) return false;
  // And whole pages of the table, of entries that are neither first nor last: zeros are
  // as good as what is in them, so it does not matter whether this works.
  auto place = [this](uint64_t entry) { return reinterpret_cast<uintptr_t>(&table_[entry]); };
  const uintptr_t begin = (place(page + 1) + kPageSize - 1) / kPageSize * kPageSize;
  const uintptr_t end = place(page + length - 1) / kPageSize * kPageSize;
  if (begin < end) ReleaseMemory(reinterpret_cast<void*>(begin), end - begin);
  return true;
}

void PageHeap::ReleaseFree(Journal::Section& section, Owner holder) {
  for (;;) {
    const uint32_t page = FindFree(section, /*committed=*/true, 1);
    if (page == 0) return;
    const uint32_t length = ValueOf(section.Get(table_[page].tag));
    Unlink(section, page);
    MakeUsed(section, page, length, holder, /*committed=*/false);
    // Before: the span is free, and has its memory.
    // After:  it is the holder's, whose burial gives its memory back (P5).
    // Test:   HeapCrashTest.AllocatingWhatIsKeptInPiecesIsAllOrNothing
    section.Commit();
    // Given back first, uncounted then: a death in between leaves the count too high
    // (P4), never the machine short of what we promised not to take.
    const bool released = Release(page, length);
    if (released) Add(section, committed_, -int64_t{length});
    MakeFree(section, page, length, /*committed=*/!released);
    // Before: the span is the holder's, with its memory or without (P5).
    // After:  it is free.
    // Test:   HeapCrashTest.AllocatingWhatIsKeptInPiecesIsAllOrNothing
    section.Commit();
    if (!released) return;
  }
}

absl::Status PageHeap::Exhausted(Journal::Section& section, uint32_t length) const {
  const uint64_t committed = section.Get(committed_);
  if (committed + length > limit_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "heap: ", uint64_t{length} * kPageSize, " bytes would pass the commit limit of ",
        limit_ * kPageSize, " bytes (", committed * kPageSize,
        " are committed); raise it with DomainOptions::commit_limit or MP_COMMIT_LIMIT"));
  }
  return NoRoom(length);
}

absl::Status PageHeap::NoRoom(uint64_t length) const {
  return absl::ResourceExhaustedError(absl::StrCat(
      "heap: no room for ", length * kPageSize, " bytes in a row in the reserve of ",
      page_count_ * kPageSize, " bytes; raise it with DomainOptions::reserve or MP_RESERVE"));
}

absl::StatusOr<uint32_t> PageHeap::Allocate(uint32_t length, Owner owner, Owner holder) {
  uint32_t page;
  uint32_t to_commit;
  {
    Journal::Section section(journal_);
    page = Take(section, length, holder, to_commit);
    if (page == 0) {
      // What is free and committed stands in the way: of the limit, or of a long
      // span that it cuts in two.
      ReleaseFree(section, holder);
      page = Take(section, length, holder, to_commit);
    }
    if (page == 0) return Exhausted(section, length);
    if (to_commit == 0) {
      MarkInside(page, length, kMarkedPages);
      section.Set(table_[page].link, owner.word());
      // Before: the span is the holder's.
      // After:  it is the owner's, though the caller may never have learned of it.
      // Test:   HeapCrashTest.LargeBlocksAreAllOrNothing
      section.Commit();
      return page;
    }
  }
  // Not under the lock: a gigabyte takes a quarter of a second.
  const size_t bytes = size_t{to_commit} * kPageSize;
  const int error = CommitMemory(AddressOf(page), bytes);
  // What it got before it failed goes back.
  const bool released = error != 0 && ReleaseMemory(AddressOf(page), bytes);
  Journal::Section section(journal_);
  if (error != 0) {
    if (released) Add(section, committed_, -int64_t{to_commit});
    MakeFree(section, page, to_commit, /*committed=*/!released);
    // As where Free() gives a span back.
    section.Commit();
    return absl::ResourceExhaustedError(absl::StrCat("heap: the kernel has no memory for ", bytes,
                                                     " bytes: madvise: ", std::strerror(error)));
  }
  MarkInside(page, length, kMarkedPages);
  MakeUsed(section, page, length, owner, /*committed=*/true);
  if (to_commit > length) {
    MakeFree(section, page + length, to_commit - length, /*committed=*/true);
  }
  // Before: the span, with some or all of its memory, is the holder's (P5).
  // After:  it is the owner's, though the caller may never have learned of it; what was
  //         committed beyond it is free.
  // Test:   HeapCrashTest.LargeBlocksAreAllOrNothing
  section.Commit();
  return page;
}

bool PageHeap::Free(uint32_t page, Owner holder, const timespec* deadline) {
  uint32_t length;
  // What is kept beyond kKeptPages, off the shortest free span that has memory: it is the holder's
  // then, as `page` and `length` say. So what is freed again and again is what is kept, not what
  // was left over once.
  auto take_too_much = [&](Journal::Section& section) {
    const uint64_t kept = section.Get(free_committed_);
    if (kept <= kKeptPages) return false;
    const uint32_t shortest = FindFree(section, /*committed=*/true, 1);
    const uint32_t all = ValueOf(section.Get(table_[shortest].tag));
    length = static_cast<uint32_t>(std::min<uint64_t>(all, kept - kKeptPages));
    page = shortest + all - length;
    Unlink(section, shortest);
    MakeUsed(section, page, length, holder, /*committed=*/false);
    if (all > length) Link(section, shortest, all - length, /*committed=*/true);
    // Before: the span is free, and has its memory.
    // After:  it is the holder's, whose burial gives its memory back (P5).
    // Test:   HeapCrashTest.FreeOfLargeBlocksIsAllOrNothing
    section.Commit();
    return true;
  };
  {
    Journal::Section section(journal_, deadline);
    if (!section.held()) return false;
    const uint64_t tag = section.Get(table_[page].tag);
    if (KindOf(tag) != Kind::kUsed) Fatal("heap: a block freed by two at once");
    length = ValueOf(tag);
    if (IsCommitted(tag) && length <= kKeptPages) {
      MakeFree(section, page, length, /*committed=*/true);
      // Before: the span is in use, and its owner's.
      // After:  it is free; there may be more of those than are to be kept, until somebody frees
      // one. Test:   HeapCrashTest.FreeOfLargeBlocksIsAllOrNothing
      section.Commit();
      if (!take_too_much(section)) return true;
    } else {
      section.Set(table_[page].tag, Tag(Kind::kUsed, length, /*committed=*/false));
      section.Set(table_[page].link, holder.word());
      // Before: the span is in use, and its owner's.
      // After:  it is the holder's, whose burial comes here too (P5).
      // Test:   HeapCrashTest.FreeOfLargeBlocksIsAllOrNothing
      section.Commit();
    }
  }
  for (;;) {
    const bool released = Release(page, length);
    // What is given up stays the holder's.
    timespec second;
    Journal::Section section(journal_, DeadlineOfWhoHasBegun(deadline, second));
    if (!section.held()) return true;
    if (released) Add(section, committed_, -int64_t{length});
    MakeFree(section, page, length, /*committed=*/!released);
    // Before: the span is the holder's, with its memory or without (P5).
    // After:  it is free.
    // Test:   HeapCrashTest.FreeOfLargeBlocksIsAllOrNothing
    section.Commit();
    if (!released || !take_too_much(section)) return true;
  }
}

PageHeap::Span PageHeap::SpanOf(const void* address) const {
  constexpr Span kNoSpan{0, 0, Kind::kNone, Owner()};
  const auto offset = static_cast<uint64_t>(static_cast<const std::byte*>(address) - pages_);
  uint64_t page = offset / kPageSize;
  if (page == 0 || page >= page_count_) return kNoSpan;
  // The span that begins at `first`, if `page` is one of its pages.
  auto span_at = [&](uint64_t first) {
    const uint64_t tag = table_[first].tag.load(std::memory_order_relaxed);
    if (!IsUsed(tag) || page - first >= ValueOf(tag)) return kNoSpan;
    return Span{static_cast<uint32_t>(first), ValueOf(tag), KindOf(tag),
                Owner::FromWord(table_[first].link.load(std::memory_order_relaxed))};
  };
  const uint64_t tag = table_[page].tag.load(std::memory_order_relaxed);
  if (IsUsed(tag)) return span_at(page);
  if (KindOf(tag) == Kind::kInside && ValueOf(tag) < page) {
    // Stale in the middle of a span: then it leads to none, or by P2 to the right one.
    const Span span = span_at(page - ValueOf(tag));
    if (span.kind != Kind::kNone) return span;
  }
  // Back to the nearest first page (P2), or to a page that knows how far that is.
  for (uint64_t before = page;; --before) {
    const uint64_t mark = table_[before].tag.load(std::memory_order_relaxed);
    if (IsUsed(mark)) return span_at(before);
    if (KindOf(mark) == Kind::kFree) return kNoSpan;
    if (before % kMarkedPages != 0) continue;
    return KindOf(mark) == Kind::kInside && ValueOf(mark) < before ? span_at(before - ValueOf(mark))
                                                                   : kNoSpan;
  }
}

void PageHeap::MarkInside(uint32_t page, uint32_t length, uint32_t step) {
  for (uint32_t marked = (page / step + 1) * step; marked < page + length; marked += step) {
    table_[marked].tag.store(Tag(Kind::kInside, marked - page), std::memory_order_relaxed);
  }
}

bool PageHeap::ForEachSpan(absl::FunctionRef<void(const Span&)> visit, const timespec* deadline) {
  Journal::Section section(journal_, deadline);
  if (!section.held()) return false;
  for (uint64_t page = 1; page < page_count_;) {
    const uint64_t tag = section.Get(table_[page].tag);
    if (KindOf(tag) != Kind::kFree) {
      visit({static_cast<uint32_t>(page), ValueOf(tag), KindOf(tag),
             Owner::FromWord(section.Get(table_[page].link))});
    }
    if (ValueOf(tag) == 0) Fatal("heap: a span of no length; its memory was overwritten");
    page += ValueOf(tag);
  }
  return true;
}

PageHeap::Place PageHeap::GetPlace() const {
  return {reinterpret_cast<uint64_t>(table_),
          reinterpret_cast<uint64_t>(pages_),
          page_count_,
          committed_.load(std::memory_order_relaxed),
          limit_,
          high_water_.load(std::memory_order_relaxed)};
}

PageHeap::Span PageHeap::SpanAt(uint32_t page, uint64_t tag, uint64_t link) {
  const Kind kind = IsUsed(tag) || KindOf(tag) == Kind::kFree ? KindOf(tag) : Kind::kNone;
  return {page, ValueOf(tag), kind, Owner::FromWord(link)};
}

PageHeap::Totals PageHeap::GetTotals() {
  Journal::Section section(journal_);
  return {page_count_ - 1, section.Get(committed_), limit_, section.Get(free_committed_),
          section.Get(high_water_)};
}

}  // namespace mp::internal
