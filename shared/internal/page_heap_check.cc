// The invariants of page_heap.h, looked at one by one.

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/internal/journal.h"
#include "shared/internal/page_heap.h"

namespace mp::internal {

absl::Status PageHeap::Check() {
  const Journal::Section section(journal_);
  if (!journal_.Settled()) return absl::InternalError("heap: pages: a commit is not applied");
  auto broken = [](uint64_t page, const char* what) {
    return absl::InternalError(absl::StrCat("heap: page ", page, ": ", what));
  };
  uint64_t used = 0;
  uint64_t free[2] = {0, 0};
  uint64_t previous = 0;  // tag of the span before
  uint64_t page = 1;
  while (page < page_count_) {
    const uint64_t tag = section.Get(table_[page].tag);
    const Kind kind = KindOf(tag);
    const uint32_t length = ValueOf(tag);
    if ((kind != Kind::kFree && !IsUsed(tag)) || tag != Tag(kind, length, IsCommitted(tag))) {
      return broken(page, "P1: no span starts where the last one ends");
    }
    if (length == 0 || length > page_count_ - page) return broken(page, "P1: impossible length");
    const uint64_t last = section.Get(table_[page + length - 1].tag);
    if (kind == Kind::kFree) {
      if (length > 1 && last != Tag(Kind::kFreeLast, length)) {
        return broken(page, "P1: the ends of a free span disagree");
      }
      if (KindOf(previous) == Kind::kFree && IsCommitted(previous) == IsCommitted(tag)) {
        return broken(page, "P3: two free neighbours");
      }
      free[IsCommitted(tag)] += length;
    } else {
      if (length > 1 && last != Tag(Kind::kInside, length - 1)) {
        return broken(page, "P1: the ends of a used span disagree");
      }
      if (page + length > section.Get(high_water_)) return broken(page, "used past high water");
      used += length;
    }
    // Past high water nothing was ever written, and looking would take memory.
    const uint64_t end = std::min<uint64_t>(page + length, section.Get(high_water_));
    for (uint64_t inside = page + 1; inside < end; ++inside) {
      const uint64_t other = section.Get(table_[inside].tag);
      if (KindOf(other) == Kind::kFree || IsUsed(other)) {
        return broken(inside, "P2: a span starts inside another");
      }
      if (kind == Kind::kSlab && other != Tag(Kind::kInside, inside - page)) {
        return broken(inside, "P2: a page of a slab does not lead to it");
      }
    }
    previous = tag;
    page += length;
  }
  if (page != page_count_) return broken(page, "P1: the spans do not end where the pages do");
  if (free[true] != section.Get(free_committed_)) {
    return broken(0, "the count of committed free pages is wrong");
  }
  if (used + free[true] != section.Get(committed_)) {
    return broken(0, "P4: the count of committed pages is wrong");
  }
  for (const bool committed : {false, true}) {
    if (absl::Status status = CheckLists(section, committed, free[committed]); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status PageHeap::CheckLists(const Journal::Section& section, bool committed,
                                  uint64_t pages) const {
  const Bins& bins = bins_[committed];
  uint64_t listed = 0;
  for (int bin = 0; bin < kBins; ++bin) {
    uint64_t page = section.Get(bins.heads[bin]);
    const bool nonempty = ((section.Get(bins.nonempty[bin / 64]) >> (bin % 64)) & 1) != 0;
    if (nonempty != (page != 0)) {
      return absl::InternalError(absl::StrCat("heap: bin ", bin, ": its bit is wrong"));
    }
    for (uint64_t before = 0; page != 0;) {
      if (page >= page_count_) {
        return absl::InternalError(absl::StrCat("heap: bin ", bin, ": a link leads nowhere"));
      }
      const uint64_t tag = section.Get(table_[page].tag);
      const uint64_t links = section.Get(table_[page].link);
      if (KindOf(tag) != Kind::kFree || IsCommitted(tag) != committed ||
          BinOf(ValueOf(tag)) != bin || Previous(links) != before) {
        return absl::InternalError(absl::StrCat("heap: page ", page, ": not at home in bin ", bin));
      }
      // Also ends a list that runs in a circle.
      listed += ValueOf(tag);
      if (listed > pages) break;
      before = page;
      page = Next(links);
    }
  }
  if (listed != pages) {
    return absl::InternalError("heap: the bins do not hold the free spans, each once");
  }
  return absl::OkStatus();
}

}  // namespace mp::internal
