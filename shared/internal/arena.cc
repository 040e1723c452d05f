#include "shared/internal/arena.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "shared/internal/deadline.h"

namespace mp::internal {
namespace {

// Lists hold slabs by their first page; 0 ends them.
constexpr uint64_t Links(uint64_t next, uint64_t previous) { return next | (previous << 32); }
constexpr uint32_t Next(uint64_t links) { return static_cast<uint32_t>(links); }
constexpr uint32_t Previous(uint64_t links) { return static_cast<uint32_t>(links >> 32); }

Slab* SlabAt(PageHeap& pages, uint64_t page) {
  return reinterpret_cast<Slab*>(pages.AddressOf(static_cast<uint32_t>(page)));
}
uint32_t PageOf(PageHeap& pages, const Slab* slab) {
  return static_cast<uint32_t>((reinterpret_cast<const std::byte*>(slab) - pages.AddressOf(0)) /
                               static_cast<std::ptrdiff_t>(PageHeap::kPageSize));
}

}  // namespace

void Arena::Format(uint32_t index) {
  journal_.Init();
  index_ = index;
}

void Arena::Unlink(Journal::Section& section, PageHeap& pages, Slab* slab, Word& head) {
  const uint64_t links = section.Get(slab->links);
  if (Next(links) != 0) {
    Word& next = SlabAt(pages, Next(links))->links;
    section.Set(next, Links(Next(section.Get(next)), Previous(links)));
  }
  if (Previous(links) != 0) {
    Word& previous = SlabAt(pages, Previous(links))->links;
    section.Set(previous, Links(Next(links), Previous(section.Get(previous))));
  } else {
    section.Set(head, Next(links));
  }
}

void Arena::Link(Journal::Section& section, PageHeap& pages, Slab* slab, Word& head) {
  const uint64_t first = section.Get(head);
  const uint32_t page = PageOf(pages, slab);
  section.Set(slab->links, Links(first, 0));
  section.Set(head, page);
  if (first != 0) {
    Word& next = SlabAt(pages, first)->links;
    section.Set(next, Links(Next(section.Get(next)), page));
  }
}

void* Arena::Allocate(Journal::Section& section, PageHeap& pages, Use use, uint32_t size_class,
                      Owner owner) {
  Word& head = partial_[static_cast<uint32_t>(use)][size_class];
  const uint64_t page = section.Get(head);
  if (page == 0) return nullptr;
  Slab* slab = SlabAt(pages, page);
  const uint32_t index = slab->Take(section, owner);
  if (Slab::FirstFree(section.Get(slab->state)) == Slab::kNoBlock) {
    Unlink(section, pages, slab, head);
    Link(section, pages, slab, full_);
  }
  // Before: the block is free.
  // After:  it is the owner's, though the caller may never have learned of it: then it
  //         comes back with what else the owner leaves.
  // Test:   HeapCrashTest.SmallBlocksAreAllOrNothing
  section.Commit();
  return slab->BlockAt(index);
}

absl::Status Arena::AddSlab(Journal::Section& section, PageHeap& pages, Use use,
                            uint32_t size_class, Owner holder) {
  const absl::StatusOr<uint32_t> page = pages.Allocate(Slab::kPages, holder, holder);
  if (!page.ok()) return page.status();
  pages.MarkInside(*page, Slab::kPages, 1);
  Slab* slab = SlabAt(pages, *page);
  // What a block has left there would pass for the last object's state.
  if (use == Use::kCells) std::memset(static_cast<void*>(slab), 0, Slab::kBytes);
  slab->Format(index_, use, size_class);
  section.Set(pages.TagWord(*page), PageHeap::SlabTag(Slab::kPages));
  section.Set(pages.LinkWord(*page), Owner::Heap().word());
  Link(section, pages, slab, PartialOf(*slab));
  // Before: a span of the holder's.
  // After:  a slab of free blocks.
  // Test:   HeapCrashTest.SmallBlocksAreAllOrNothing
  section.Commit();
  return absl::OkStatus();
}

void Arena::Free(Journal::Section& section, PageHeap& pages, Slab* slab, uint32_t index,
                 Owner holder, const timespec* deadline) {
  const bool was_full = Slab::FirstFree(section.Get(slab->state)) == Slab::kNoBlock;
  slab->Give(section, index);
  Word& partial = PartialOf(*slab);
  if (was_full) {
    Unlink(section, pages, slab, full_);
    Link(section, pages, slab, partial);
  }
  const bool empty = Slab::Used(section.Get(slab->state)) == 0;
  const bool alone = section.Get(slab->links) == 0;
  const bool release = empty && !alone && slab->use == Use::kBlocks;
  const uint32_t page = PageOf(pages, slab);
  if (release) {
    Unlink(section, pages, slab, partial);
    section.Set(pages.TagWord(page), PageHeap::UsedTag(Slab::kPages));
    section.Set(pages.LinkWord(page), holder.word());
  }
  // Before: the block is in use, and its owner's.
  // After:  it is free. A slab taken out of its list is the holder's span.
  // Test:   HeapCrashTest.FreeOfSmallBlocksIsAllOrNothing
  section.Commit();
  if (release) {
    // What is given up stays the holder's.
    timespec second;
    (void)pages.Free(page, holder, DeadlineOfWhoHasBegun(deadline, second));
  }
}

void Arena::FreeIf(Journal::Section& section, PageHeap& pages,
                   absl::FunctionRef<bool(const Slab&, const void*, Owner)> doomed, Owner holder,
                   const timespec* deadline) {
  ForEachSlab(section, pages, [&](Slab& slab) {
    const uint32_t count = slab.count;
    uint32_t left = Slab::Used(section.Get(slab.state));
    for (uint32_t i = 0; i < count && left > 0; ++i) {
      const Owner owner = Owner::FromWord(section.Get(slab.owners[i]));
      if (owner.kind() == Owner::Kind::kNone) continue;
      --left;
      if (doomed(slab, slab.BlockAt(i), owner)) Free(section, pages, &slab, i, holder, deadline);
    }
  });
}

void Arena::ForEachSlab(const Journal::Section& section, PageHeap& pages,
                        absl::FunctionRef<void(Slab&)> visit) const {
  // The next is read first: a visit may move its slab to another list or free it. Full
  // slabs come first: what becomes partial on the way is seen twice, never missed.
  auto walk = [&](const Word& head) {
    for (uint64_t page = section.Get(head); page != 0;) {
      Slab* slab = SlabAt(pages, page);
      page = Next(section.Get(slab->links));
      visit(*slab);
    }
  };
  walk(full_);
  for (const auto& by_class : partial_) {
    for (const Word& head : by_class) walk(head);
  }
}

absl::Status Arena::Check(const Journal::Section& section, PageHeap& pages, uint64_t& slabs) const {
  if (!journal_.Settled()) return absl::InternalError("heap: arena: a commit is not applied");
  auto check_list = [&](const Word& head, const char* list) {
    const bool full = &head == &full_;
    auto broken = [&](const char* what) {
      return absl::InternalError(
          absl::StrCat("heap: arena ", index_, ": list of ", list, " slabs: ", what));
    };
    uint64_t before = 0;
    for (uint64_t page = section.Get(head); page != 0;) {
      const PageHeap::Span span = pages.SpanOf(pages.AddressOf(static_cast<uint32_t>(page)));
      if (span.kind != PageHeap::Kind::kSlab || span.page != page || span.length != Slab::kPages) {
        return broken("A1: a link leads to no slab");
      }
      Slab* slab = SlabAt(pages, page);
      if (slab->arena != index_) return broken("A1: a slab of another arena");
      if (absl::Status status = slab->Check(section); !status.ok()) return status;
      if (!full && &head != &partial_[static_cast<uint32_t>(slab->use)][slab->size_class]) {
        return broken("A1: a slab of another use or size");
      }
      const uint64_t links = section.Get(slab->links);
      if (Previous(links) != before) return broken("A1: the links disagree");
      if ((Slab::FirstFree(section.Get(slab->state)) == Slab::kNoBlock) != full) {
        return broken("A1: a slab in the wrong list");
      }
      // The previous link, checked above, keeps a list from running in a circle.
      ++slabs;
      before = page;
      page = Next(links);
    }
    return absl::OkStatus();
  };
  if (absl::Status status = check_list(full_, "full"); !status.ok()) return status;
  for (const auto& by_class : partial_) {
    for (const Word& head : by_class) {
      if (absl::Status status = check_list(head, "partial"); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace mp::internal
