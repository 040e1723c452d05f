// Check() on heaps of which one word was overwritten: it says so, names the invariant, and
// neither hangs nor crashes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "shared/heap.h"
#include "shared/internal/arena.h"
#include "shared/internal/atomic.h"
#include "shared/internal/page_heap.h"
#include "shared/internal/slab.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"

namespace mp::internal {

struct HeapTestPeer {
  static PageHeap& Pages(Heap& heap) { return heap.pages_; }
  static Arena& FirstArena(Heap& heap) { return heap.arenas_[0]; }

  static uint32_t PageOf(Heap& heap, const void* address) {
    return static_cast<uint32_t>((static_cast<const std::byte*>(address) - heap.pages_.pages_) /
                                 static_cast<std::ptrdiff_t>(PageHeap::kPageSize));
  }
  static Word& Tag(Heap& heap, uint32_t page) { return heap.pages_.table_[page].tag; }
  static Word& Link(Heap& heap, uint32_t page) { return heap.pages_.table_[page].link; }
  static uint32_t LengthAt(Heap& heap, uint32_t page) {
    return PageHeap::ValueOf(Tag(heap, page).load());
  }
  static Slab& SlabOf(Heap& heap, const void* block) {
    return *reinterpret_cast<Slab*>(heap.pages_.AddressOf(heap.pages_.SpanOf(block).page));
  }
  static Word& Committed(Heap& heap) { return heap.pages_.committed_; }
  static Word& FreeCommitted(Heap& heap) { return heap.pages_.free_committed_; }
  static Word& HighWater(Heap& heap) { return heap.pages_.high_water_; }
  static Word& BinHead(Heap& heap, bool committed, uint32_t length) {
    return heap.pages_.bins_[committed].heads[PageHeap::BinOf(length)];
  }
  static Word& EmptyBinHead(Heap& heap) { return heap.pages_.bins_[1].heads[PageHeap::kBins - 1]; }
  static Word& Nonempty(Heap& heap, bool committed, uint32_t length) {
    return heap.pages_.bins_[committed].nonempty[PageHeap::BinOf(length) / 64];
  }
  static Word& Partial(Heap& heap, Use use, uint32_t size_class) {
    return heap.arenas_[0].partial_[static_cast<uint32_t>(use)][size_class];
  }
  static Word& Full(Heap& heap) { return heap.arenas_[0].full_; }
  static uint32_t& ArenaCount(Heap& heap) { return heap.arena_count_; }
};

namespace {

using Peer = HeapTestPeer;
using ::mp::testing::kAlice;
using ::mp::testing::kKiB;
using ::mp::testing::TestHeap;
using ::testing::HasSubstr;

// A heap with something of everything.
class HeapCheckTest : public ::testing::Test {
 protected:
  static constexpr size_t kSize = 4096;  // 15 in a slab

  HeapCheckTest() {
    for (int i = 0; i < 5; ++i) large_[i] = test_heap_.Get(100 * kKiB);
    for (int i = 0; i < 15; ++i) full_[i] = test_heap_.Get(kSize);
    for (int i = 0; i < 15; ++i) other_full_[i] = test_heap_.Get(kSize);
    for (int i = 0; i < 15 + 3; ++i) partial_[i] = test_heap_.Get(kSize);
    cell_ = *test_heap_->AllocateCell(kSize, 16, kAlice);
    // A second slab with room, and holes between the large ones.
    test_heap_->Free(partial_[2], kAlice);
    test_heap_->Free(partial_[5], kAlice);
    test_heap_->Free(large_[1], kAlice);
    test_heap_->Free(large_[3], kAlice);
    hole_ = Peer::PageOf(heap_, large_[1]);
    EXPECT_EQ(test_heap_.Broken(), "");
  }

  // Of one word, each value in turn: Check() fails and says `words`.
  void ExpectNoticed(Word& word, const std::vector<uint64_t>& values, const std::string& words) {
    const uint64_t right = word.load();
    for (const uint64_t wrong : values) {
      ASSERT_NE(wrong, right);
      word.store(wrong);
      EXPECT_THAT(test_heap_.Broken(), HasSubstr(words)) << "value " << wrong;
      word.store(right);
    }
    ASSERT_EQ(test_heap_.Broken(), "");
  }
  // The same for each of its bits: any words will do.
  void ExpectEachBitNoticed(Word& word) {
    const uint64_t right = word.load();
    for (int bit = 0; bit < 64; ++bit) {
      word.store(right ^ (uint64_t{1} << bit));
      EXPECT_NE(test_heap_.Broken(), "") << "bit " << bit;
      word.store(right);
    }
    ASSERT_EQ(test_heap_.Broken(), "");
  }

  uint32_t PageOf(const void* block) { return Peer::PageOf(heap_, block); }
  uint32_t SlabPage(const void* block) { return PageOf(&Peer::SlabOf(heap_, block)); }

  TestHeap test_heap_;
  Heap& heap_ = *test_heap_;
  void* large_[5];
  void* full_[15];
  void* other_full_[15];
  void* partial_[18];
  void* cell_;
  uint32_t hole_;
};

TEST_F(HeapCheckTest, NoticesATagThatIsNone) {
  const uint32_t page = PageOf(large_[0]);
  ExpectNoticed(Peer::Tag(heap_, page), {0, 1, 3, 6, 7}, "P1: no span starts");
  ExpectNoticed(Peer::Tag(heap_, hole_), {0, 1, 3, 6, 7}, "P1: no span starts");
}

TEST_F(HeapCheckTest, NoticesEachBitOfATag) {
  // But the one that says whether a used span has its memory: both are possible.
  for (const uint32_t page :
       {hole_, hole_ + Peer::LengthAt(heap_, hole_) - 1, PageOf(large_[2]) + 24}) {
    ExpectEachBitNoticed(Peer::Tag(heap_, page));
  }
}

TEST_F(HeapCheckTest, NoticesASpanWithoutLength) {
  ExpectNoticed(Peer::Tag(heap_, PageOf(large_[0])), {4}, "P1: impossible length");
}

TEST_F(HeapCheckTest, NoticesASpanPastTheEnd) {
  ExpectNoticed(Peer::Tag(heap_, PageOf(large_[0])), {4 | (uint64_t{0xffffffff} << 8)},
                "P1: impossible length");
}

TEST_F(HeapCheckTest, NoticesEndsThatDisagree) {
  const uint32_t length = Peer::LengthAt(heap_, hole_);
  ExpectNoticed(Peer::Tag(heap_, hole_ + length - 1), {0, 3, 3 | (uint64_t{length - 1} << 8)},
                "P1: the ends of a free span disagree");
  ExpectNoticed(Peer::Tag(heap_, PageOf(large_[2]) + 24), {0, 1},
                "P1: the ends of a used span disagree");
}

TEST_F(HeapCheckTest, NoticesASpanInsideAnother) {
  ExpectNoticed(Peer::Tag(heap_, PageOf(large_[2]) + 7), {2 | (3 << 8), 4 | (3 << 8), 5 | (3 << 8)},
                "P2: a span starts inside another");
  ExpectNoticed(Peer::Tag(heap_, hole_ + 7), {2 | (3 << 8), 4 | (3 << 8)}, "P2");
}

TEST_F(HeapCheckTest, NoticesAPageOfASlabThatDoesNotLeadToIt) {
  const uint32_t page = SlabPage(full_[0]);
  ExpectNoticed(Peer::Tag(heap_, page + 5), {0, 1, 1 | (4 << 8)},
                "P2: a page of a slab does not lead to it");
}

TEST_F(HeapCheckTest, NoticesTwoFreeNeighbours) {
  // As a free that did not join would leave them.
  Word& length = Peer::Tag(heap_, PageOf(large_[2]));
  const uint64_t used = length.load();
  length.store(2 | 8 | (used >> 8 << 8));
  Word& last = Peer::Tag(heap_, PageOf(large_[2]) + 24);
  const uint64_t inside = last.load();
  last.store(3 | (used >> 8 << 8));
  EXPECT_THAT(test_heap_.Broken(), HasSubstr("P3: two free neighbours"));
  length.store(used);
  last.store(inside);
  EXPECT_EQ(test_heap_.Broken(), "");
}

TEST_F(HeapCheckTest, NoticesCountsThatAreWrong) {
  for (Word* word : {&Peer::FreeCommitted(heap_)}) {
    ExpectNoticed(*word, {0, word->load() + 1}, "the count of committed free pages is wrong");
    ExpectEachBitNoticed(*word);
  }
  Word& committed = Peer::Committed(heap_);
  ExpectNoticed(committed, {0, committed.load() + 1, committed.load() - 1},
                "P4: the count of committed pages is wrong");
  ExpectEachBitNoticed(committed);
  ExpectNoticed(Peer::HighWater(heap_), {0, 1, 100}, "used past high water");
}

TEST_F(HeapCheckTest, NoticesABinThatIsWrong) {
  const uint32_t length = Peer::LengthAt(heap_, hole_);
  Word& head = Peer::BinHead(heap_, true, length);
  ASSERT_NE(head.load(), 0u);
  ExpectNoticed(head, {0}, "its bit is wrong");
  ExpectNoticed(head, {uint64_t{1} << 31, head.load() | (uint64_t{1} << 32)},
                "a link leads nowhere");
  ExpectNoticed(head, {PageOf(large_[0]), hole_ + 1}, "not at home in bin");
  ExpectEachBitNoticed(head);
  ExpectNoticed(Peer::EmptyBinHead(heap_), {hole_}, "its bit is wrong");
  ExpectEachBitNoticed(Peer::Nonempty(heap_, true, length));
  ExpectEachBitNoticed(Peer::Nonempty(heap_, false, length));
}

TEST_F(HeapCheckTest, NoticesABinThatLeavesOneOutOrRunsInACircle) {
  // Two holes of one length are in one bin.
  const uint32_t length = Peer::LengthAt(heap_, hole_);
  const auto first = static_cast<uint32_t>(Peer::BinHead(heap_, true, length).load());
  Word& link = Peer::Link(heap_, first);
  ASSERT_NE(static_cast<uint32_t>(link.load()), 0u);
  ExpectNoticed(link, {0}, "the bins do not hold the free spans, each once");
  ExpectNoticed(link, {first}, "not at home in bin");
  ExpectEachBitNoticed(link);
  ExpectEachBitNoticed(Peer::Link(heap_, static_cast<uint32_t>(link.load())));
}

TEST_F(HeapCheckTest, NoticesAnOwnerThatIsNone) {
  const std::vector<uint64_t> wrong = {0, Owner::Heap().word(), 5, 6, 7};
  ExpectNoticed(Peer::Link(heap_, PageOf(large_[0])), wrong, "a wrong owner");
  ExpectNoticed(Peer::Link(heap_, SlabPage(full_[0])), {0, kAlice.word()}, "a wrong owner");
}

TEST_F(HeapCheckTest, NoticesASlabThatIsNone) {
  ExpectNoticed(Peer::Tag(heap_, SlabPage(full_[0])), {PageHeap::UsedTag(16)},
                "A1: a link leads to no slab");
  ExpectNoticed(Peer::Full(heap_), {PageOf(large_[0]), SlabPage(full_[0]) + 1, uint64_t{1} << 40},
                "A1: a link leads to no slab");
}

TEST_F(HeapCheckTest, NoticesASlabInAWrongListOrInNone) {
  const uint32_t of_size = ClassOf(kSize, 1);
  Word& partial = Peer::Partial(heap_, Use::kBlocks, of_size);
  const uint64_t page = partial.load();
  ASSERT_NE(page, 0u);
  ExpectNoticed(partial, {0}, "A1: a slab that is in no list");
  ExpectNoticed(Peer::Full(heap_), {0}, "A1: a slab that is in no list");
  ExpectNoticed(partial, {SlabPage(full_[0])}, "A1");
  ExpectNoticed(Peer::Full(heap_), {page}, "A1");
  ExpectNoticed(Peer::Partial(heap_, Use::kBlocks, of_size + 1), {page},
                "A1: a slab of another use or size");
  ExpectNoticed(Peer::Partial(heap_, Use::kCells, 0), {page}, "A1: a slab of another use or size");
  ExpectEachBitNoticed(partial);
  ExpectEachBitNoticed(Peer::Full(heap_));
}

TEST_F(HeapCheckTest, NoticesLinksThatDisagree) {
  for (const void* block : {full_[0], other_full_[0], partial_[0], cell_}) {
    ExpectEachBitNoticed(Peer::SlabOf(heap_, block).links);
  }
  Slab& slab = Peer::SlabOf(heap_, full_[0]);
  ExpectNoticed(slab.links, {slab.links.load() ^ (uint64_t{1} << 33)}, "A1: the links disagree");
}

TEST_F(HeapCheckTest, NoticesASlabsHeaderThatIsOverwritten) {
  Slab& slab = Peer::SlabOf(heap_, partial_[0]);
  const auto expect = [&](uint32_t& field, const char* words) {
    const uint32_t right = field;
    for (const uint32_t wrong : {right + 1, right - 1, ~right, right ^ 0x1000}) {
      field = wrong;
      EXPECT_THAT(test_heap_.Broken(), HasSubstr(words)) << wrong;
    }
    field = right;
    ASSERT_EQ(test_heap_.Broken(), "");
  };
  expect(slab.arena, "A1: a slab of another arena");
  expect(slab.size_class, "its header is overwritten");
  expect(slab.count, "its header is overwritten");
  expect(slab.first, "its header is overwritten");
  expect(slab.size, "its header is overwritten");
  slab.use = static_cast<Use>(7);
  EXPECT_THAT(test_heap_.Broken(), HasSubstr("its header is overwritten"));
  slab.use = Use::kCells;
  EXPECT_NE(test_heap_.Broken(), "");
}

TEST_F(HeapCheckTest, NoticesAFreeListThatIsWrong) {
  Slab& slab = Peer::SlabOf(heap_, partial_[0]);
  const uint64_t state = slab.state.load();
  const uint32_t first = Slab::FirstFree(state);
  const uint32_t used = Slab::Used(state);
  ASSERT_EQ(used, 13u);
  ExpectEachBitNoticed(slab.state);
  ExpectNoticed(slab.state, {Slab::State(first, used + 1), Slab::State(first, 0)}, "S2");
  ExpectNoticed(slab.state, {Slab::State(Slab::kNoBlock, used)}, "S1: a free block is not on");
  ExpectNoticed(slab.state, {Slab::State(100, used)}, "S1: the free list leads nowhere");
  ExpectNoticed(slab.state, {Slab::State(slab.IndexOf(partial_[0]), used)},
                "S1: a block in use is on the free list");
  ExpectNoticed(slab.owners[first], {uint64_t{first} << 8}, "S1: the free list runs in a circle");
  ExpectNoticed(slab.owners[first], {uint64_t{Slab::kNoBlock} << 8}, "S1: a free block is not on");
  ExpectNoticed(slab.owners[first], {kAlice.word()}, "S2");
  ExpectNoticed(slab.owners[slab.IndexOf(partial_[0])], {0}, "S2");
  ExpectNoticed(slab.owners[slab.IndexOf(partial_[0])], {4, 5, 6, 7},
                "S3: an owner word of no kind");
  ExpectEachBitNoticed(slab.owners[first]);
}

TEST_F(HeapCheckTest, NoticesAHeaderThatIsOverwritten) {
  uint32_t& arenas = Peer::ArenaCount(heap_);
  const uint32_t right = arenas;
  for (const uint32_t wrong : {0u, 65u, ~0u}) {
    arenas = wrong;
    EXPECT_THAT(test_heap_.Broken(), HasSubstr("its header is overwritten"));
  }
  arenas = right;
}

}  // namespace
}  // namespace mp::internal
