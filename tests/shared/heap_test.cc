#include "shared/heap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/internal/size_class.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr size_t kPage = 4096;

// What a block of `size` bytes may at most be rounded up to.
size_t MostFor(size_t size, size_t alignment) {
  if (size > internal::kLargestSmallSize) return (size + kPage - 1) / kPage * kPage;
  return internal::SizeOfClass(internal::ClassOf(std::max<size_t>(size, 1), alignment));
}

TEST(HeapTest, ANewHeapIsEmptyAndWhole) {
  const TestHeap heap;
  EXPECT_EQ(heap.Broken(), "");
  EXPECT_THAT(heap.Blocks(), IsEmpty());
  const HeapStats stats = heap->Stats();
  EXPECT_EQ(stats.committed, 0u);
  EXPECT_EQ(stats.blocks, 0u);
  EXPECT_EQ(stats.commit_limit, 256 * kMiB);
  EXPECT_GT(stats.reserved, 254 * kMiB);
}

TEST(HeapTest, ABlockHoldsItsSizeWhateverTheSizeAndAlignment) {
  std::vector<size_t> sizes = {0, 1, 2, 15, 16, 17};
  for (uint32_t i = 0; i < internal::kSizeClassCount; ++i) {
    const size_t size = internal::SizeOfClass(i);
    for (const size_t near : {size - 1, size, size + 1}) sizes.push_back(near);
  }
  for (const size_t pages : {1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 256, 1000}) {
    for (const size_t near : {pages * kPage - 1, pages * kPage, pages * kPage + 1}) {
      sizes.push_back(near);
    }
  }
  const TestHeap heap;
  std::vector<std::pair<void*, size_t>> blocks;
  for (const size_t size : sizes) {
    for (size_t alignment = 1; alignment <= Heap::kMaxAlignment; alignment *= 2) {
      void* block = heap.Get(size, alignment);
      ASSERT_NE(block, nullptr) << size << " aligned to " << alignment;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u) << size;
      const Heap::Block found = heap->Find(block);
      EXPECT_EQ(found.address, block);
      EXPECT_EQ(found.owner, kAlice);
      EXPECT_GE(found.size, size);
      EXPECT_EQ(found.size, MostFor(size, alignment)) << size << " aligned to " << alignment;
      Fill(block, size, blocks.size());
      blocks.emplace_back(block, size);
    }
    // Not all at once, or it is a test of memory.
    if (blocks.size() < 500 && size < 300'000) continue;
    for (size_t i = 0; i < blocks.size(); ++i) {
      EXPECT_TRUE(IsFilled(blocks[i].first, blocks[i].second, i)) << blocks[i].second;
      heap->Free(blocks[i].first, kBob);
    }
    blocks.clear();
    ASSERT_EQ(heap.Broken(), "");
  }
  for (const auto& [block, size] : blocks) heap->Free(block, kBob);
  EXPECT_EQ(heap.Broken(), "");
  EXPECT_EQ(heap->Stats().blocks, 0u);
}

TEST(HeapTest, TwoBlocksOfNoBytesAreTwoBlocks) {
  const TestHeap heap;
  EXPECT_NE(heap.Get(0), heap.Get(0));
}

TEST(HeapTest, FreeOfNullDoesNothing) {
  const TestHeap heap;
  heap->Free(nullptr, kAlice);
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapTest, RefusesWhatIsNoAlignment) {
  const TestHeap heap;
  for (const size_t alignment : {size_t{0}, size_t{3}, size_t{24}, 2 * kPage, size_t{1} << 63}) {
    for (const size_t size : {size_t{1}, kMiB}) {
      const absl::StatusOr<void*> block = heap->Allocate(size, alignment, kAlice);
      EXPECT_EQ(block.status().code(), absl::StatusCode::kInvalidArgument) << alignment;
    }
  }
  EXPECT_EQ(heap->Stats().blocks, 0u);
}

TEST(HeapTest, RefusesToAllocateForNobody) {
  const TestHeap heap;
  for (const size_t size : {size_t{1}, kMiB}) {
    for (const Owner owner : {Owner(), Owner::Heap()}) {
      EXPECT_EQ(heap->Allocate(size, 1, owner, kAlice).status().code(),
                absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(heap->Allocate(size, 1, kAlice, owner).status().code(),
                absl::StatusCode::kInvalidArgument);
    }
  }
}

TEST(HeapTest, RefusesACellOfMoreThan8KiB) {
  const TestHeap heap;
  EXPECT_TRUE(heap->AllocateCell(8192, 4096, kAlice).ok());
  EXPECT_EQ(heap->AllocateCell(8193, 1, kAlice).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(HeapTest, SizesPastAnyMemoryAreExhausted) {
  const TestHeap heap;
  for (const size_t size : {300 * kMiB, size_t{1} << 44, (size_t{1} << 47) + 1, ~size_t{0}}) {
    EXPECT_EQ(heap->Allocate(size, 1, kAlice).status().code(), absl::StatusCode::kResourceExhausted)
        << size;
  }
  EXPECT_EQ(heap.Broken(), "");
  EXPECT_NE(heap.Get(100), nullptr);
}

TEST(HeapTest, ABlockOfGigabytesIsThereAndGoesBack) {
  const size_t size = kSanitized ? 256 * kMiB : 2 * kGiB;
  const TestHeap heap({.size = size + 64 * kMiB, .commit_limit = size + 64 * kMiB});
  const size_t before = heap.ResidentPages();
  void* block = heap.Get(size);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(ResidentPages(block, size), size / kPage);
  Fill(block, size, 1);
  EXPECT_TRUE(IsFilled(block, size, 1));
  EXPECT_EQ(heap->Stats().in_use, size);
  heap->Free(block, kAlice);
  EXPECT_EQ(ResidentPages(block, size), 0u);
  // The table of pages stays.
  EXPECT_LE(heap.ResidentPages() - before, 2 * 64u);
  EXPECT_EQ(heap.Broken(), "");
}

// ---- Memory from the kernel, and back ------------------------------------------

TEST(HeapTest, ABlockHasItsMemoryBeforeItIsTouched) {
  const TestHeap heap;
  for (const size_t size : {9 * kKiB, 64 * kKiB, kMiB, 20 * kMiB}) {
    const void* block = heap.Get(size);
    EXPECT_EQ(ResidentPages(block, size), (size + kPage - 1) / kPage) << size;
  }
  const void* small = heap.Get(5000);
  EXPECT_EQ(ResidentPages(small, 5000), 2u);
}

TEST(HeapTest, CountsNoLessThanTheKernelGave) {
  const TestHeap heap;
  const size_t own = heap.ResidentPages();
  std::vector<void*> blocks;
  for (size_t size = 1; size <= 8 * kMiB; size = size * 3 + 1) {
    blocks.push_back(heap.Get(size));
    // The table of pages, which is not counted, is one page for a MiB.
    EXPECT_LE((heap.ResidentPages() - own) * kPage, heap->Stats().committed + 32 * kPage);
  }
  while (!blocks.empty()) {
    heap->Free(blocks.back(), kAlice);
    blocks.pop_back();
    EXPECT_LE((heap.ResidentPages() - own) * kPage, heap->Stats().committed + 32 * kPage);
  }
}

TEST(HeapTest, KeepsAtMost8MiBOfWhatIsFreed) {
  const TestHeap heap;
  std::vector<void*> blocks;
  for (int i = 0; i < 64; ++i) blocks.push_back(heap.Get(kMiB));
  for (void* block : blocks) {
    heap->Free(block, kAlice);
    EXPECT_LE(heap->Stats().free, 8 * kMiB);
  }
  EXPECT_EQ(heap->Stats().free, 8 * kMiB);
  EXPECT_EQ(heap->Stats().committed, 8 * kMiB);
  EXPECT_LE(heap.ResidentPages() * kPage, 9 * kMiB);
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapTest, WhatIsKeptIsUsedAgainFirst) {
  const TestHeap heap;
  void* block = heap.Get(kMiB);
  heap->Free(block, kAlice);
  const size_t committed = heap->Stats().committed;
  for (int i = 0; i < 10; ++i) {
    void* again = heap.Get(kMiB);
    EXPECT_EQ(again, block);
    heap->Free(again, kAlice);
  }
  EXPECT_EQ(heap->Stats().committed, committed);
}

TEST(HeapTest, SlabsThatAreEmptyGoBack) {
  const TestHeap heap;
  std::vector<void*> blocks;
  for (int i = 0; i < 20'000; ++i) blocks.push_back(heap.Get(1024));
  EXPECT_GE(heap->Stats().committed, 20 * kMiB);
  for (void* block : blocks) heap->Free(block, kAlice);
  const HeapStats stats = heap->Stats();
  EXPECT_EQ(stats.blocks, 0u);
  // One slab is kept for the next block of this size.
  EXPECT_EQ(stats.committed - stats.free, 64 * kKiB);
  EXPECT_LE(heap.ResidentPages() * kPage, 9 * kMiB);
  EXPECT_EQ(heap.Broken(), "");
}

// ---- Out of memory -------------------------------------------------------------

// Allocates until it cannot; returns why not.
absl::Status UseUp(const TestHeap& heap, size_t size, std::vector<void*>& blocks) {
  for (;;) {
    const absl::StatusOr<void*> block = heap->Allocate(size, 16, kAlice);
    if (!block.ok()) return block.status();
    blocks.push_back(*block);
  }
}

class HeapExhaustionTest : public ::testing::TestWithParam<size_t> {};

INSTANTIATE_TEST_SUITE_P(Sizes, HeapExhaustionTest,
                         ::testing::Values(100, 1000, 8192, 40 * kKiB, kMiB));

TEST_P(HeapExhaustionTest, AReserveThatIsUsedUpSaysWhatToSetAndGoesOn) {
  const TestHeap heap({.size = 8 * kMiB});
  std::vector<void*> blocks;
  for (int round = 0; round < 3; ++round) {
    const absl::Status status = UseUp(heap, GetParam(), blocks);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("MP_RESERVE"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("DomainOptions::reserve"));
    EXPECT_EQ(heap.Broken(), "");
    EXPECT_GE(blocks.size() * GetParam(), 5 * kMiB);
    for (void* block : blocks) heap->Free(block, kAlice);
    blocks.clear();
    EXPECT_EQ(heap.Broken(), "");
  }
}

TEST_P(HeapExhaustionTest, ACommitLimitThatIsReachedSaysWhatToSetAndGoesOn) {
  const TestHeap heap({.commit_limit = 16 * kMiB});
  std::vector<void*> blocks;
  for (int round = 0; round < 3; ++round) {
    const absl::Status status = UseUp(heap, GetParam(), blocks);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("MP_COMMIT_LIMIT"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("DomainOptions::commit_limit"));
    EXPECT_LE(heap->Stats().committed, 16 * kMiB);
    EXPECT_LE(heap.ResidentPages() * kPage, 17 * kMiB);
    EXPECT_EQ(heap.Broken(), "");
    EXPECT_GE(blocks.size() * GetParam(), 10 * kMiB);
    // One freed is one to be had again.
    if (GetParam() > 8192 || round == 0) {
      heap->Free(blocks.back(), kAlice);
      blocks.back() = heap.Get(GetParam());
    }
    for (void* block : blocks) heap->Free(block, kAlice);
    blocks.clear();
    EXPECT_EQ(heap.Broken(), "");
  }
}

TEST(HeapTest, ALimitOfNothingGivesNothing) {
  const TestHeap heap({.commit_limit = 0});
  for (const size_t size : {size_t{1}, kMiB}) {
    EXPECT_EQ(heap->Allocate(size, 1, kAlice).status().code(),
              absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapTest, FreePiecesMakeALargeBlock) {
  const TestHeap heap({.size = 9 * kMiB});
  std::vector<void*> blocks;
  UseUp(heap, 32 * kKiB, blocks).IgnoreError();
  // Holes first, then what lies between.
  for (size_t i = 0; i < blocks.size(); i += 2) heap->Free(blocks[i], kAlice);
  EXPECT_EQ(heap.Broken(), "");
  EXPECT_FALSE(heap->Allocate(kMiB, 1, kAlice).ok());
  for (size_t i = 1; i < blocks.size(); i += 2) heap->Free(blocks[i], kAlice);
  void* block = heap.Get(8 * kMiB);
  ASSERT_NE(block, nullptr);
  Fill(block, 8 * kMiB, 1);
  EXPECT_TRUE(IsFilled(block, 8 * kMiB, 1));
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapTest, WhatIsKeptFreeDoesNotStandInTheWayOfALargeBlock) {
  // Of the reserve: kept pieces and pieces without memory alternate.
  const TestHeap heap({.size = 40 * kMiB});
  std::vector<void*> blocks;
  UseUp(heap, 512 * kKiB, blocks).IgnoreError();
  for (void* block : blocks) heap->Free(block, kAlice);
  EXPECT_NE(heap.Get(38 * kMiB), nullptr);
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapTest, WhatIsKeptFreeDoesNotCountAgainstALargeBlock) {
  // Of the limit: 4 MiB are free in holes of 64 KiB.
  const TestHeap heap({.commit_limit = 16 * kMiB});
  std::vector<void*> blocks;
  for (int i = 0; i < 128; ++i) blocks.push_back(heap.Get(64 * kKiB));
  for (size_t i = 0; i < blocks.size(); i += 2) {
    heap->Free(blocks[i], kAlice);
    blocks[i] = nullptr;
  }
  EXPECT_EQ(heap->Stats().free, 4 * kMiB);
  EXPECT_NE(heap.Get(12 * kMiB), nullptr);
  EXPECT_EQ(heap->Stats().committed, 16 * kMiB);
  EXPECT_EQ(heap.Broken(), "");
}

// ---- Owners --------------------------------------------------------------------

TEST(HeapTest, EachBlockHasItsOwner) {
  const TestHeap heap;
  int cell;
  int message;
  for (const size_t size : {size_t{10}, size_t{5000}, kMiB}) {
    for (const Owner owner : {kBob, Owner::Object(&cell), Owner::Message(&message)}) {
      void* block = heap.Get(size, 16, owner);
      EXPECT_EQ(heap->Find(block).owner, owner);
      EXPECT_FALSE(heap->Find(block).cell);
      heap->SetOwner(block, kAlice);
      EXPECT_EQ(heap->Find(block).owner, kAlice);
      EXPECT_EQ(heap.Broken(), "");
    }
  }
}

TEST(HeapTest, FindsABlockFromEachOfItsBytes) {
  const TestHeap heap;
  for (const size_t size : {size_t{1}, size_t{48}, size_t{5000}, 9 * kKiB, kMiB}) {
    auto* block = static_cast<std::byte*>(heap.Get(size));
    const size_t rounded = heap->Find(block).size;
    for (size_t offset = 0; offset < rounded; offset += offset < 4096 ? 1 : 509) {
      const Heap::Block found = heap->Find(block + offset);
      ASSERT_EQ(found.address, block) << size << " bytes, at " << offset;
      ASSERT_EQ(found.size, rounded);
    }
    EXPECT_NE(heap->Find(block - 1).address, block);
    EXPECT_NE(heap->Find(block + rounded).address, block);
  }
}

TEST(HeapTest, FindsALargeBlockWhereSmallerOnesHaveBeen) {
  // Their ends have left stale entries in its middle.
  const TestHeap heap;
  std::vector<void*> pieces;
  for (int i = 0; i < 100; ++i) pieces.push_back(heap.Get(12 * kKiB + 4 * kKiB * (i % 5)));
  void* small = heap.Get(100);
  for (void* piece : pieces) heap->Free(piece, kAlice);
  void* tail = heap.Get(16 * kKiB);
  auto* block = static_cast<std::byte*>(heap.Get(kMiB));
  auto* other = static_cast<std::byte*>(heap.Get(200 * kKiB));
  for (size_t offset = 0; offset < kMiB; offset += kPage) {
    ASSERT_EQ(heap->Find(block + offset + 8).address, block) << offset;
  }
  for (size_t offset = 0; offset < 200 * kKiB; offset += kPage) {
    ASSERT_EQ(heap->Find(other + offset + 8).address, other) << offset;
  }
  heap->Free(block, kAlice);
  for (size_t offset = 0; offset < kMiB; offset += kPage) {
    ASSERT_EQ(heap->Find(block + offset + 8).address, nullptr) << offset;
  }
  EXPECT_EQ(heap->Find(small).address, small);
  EXPECT_EQ(heap->Find(tail).address, tail);
}

TEST(HeapTest, FindsNothingWhereThereIsNoBlock) {
  const TestHeap heap;
  void* small = heap.Get(64);
  void* large = heap.Get(kMiB);
  heap->Free(small, kAlice);
  heap->Free(large, kAlice);
  int local = 0;
  for (const void* address : {small, large, static_cast<void*>(&*heap), static_cast<void*>(&local),
                              static_cast<void*>(nullptr)}) {
    EXPECT_EQ(heap->Find(address).address, nullptr) << address;
  }
  // The header of a slab is not a block's either.
  void* block = heap.Get(8192, 4096);
  void* slab = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(block) - kPage);
  EXPECT_EQ(heap->Find(slab).address, nullptr);
}

TEST(HeapTest, FreeOwnedByFreesTheOwnersBlocksAndNothingElse) {
  const TestHeap heap;
  std::set<void*> others;
  std::vector<const void*> keep;
  for (const size_t size : {size_t{1}, size_t{64}, size_t{3000}, size_t{8192}, 9 * kKiB, kMiB}) {
    for (int i = 0; i < 50; ++i) {
      void* block = heap.Get(size, 16, kBob);
      if (i % 10 == 3) {
        keep.push_back(block);
        others.insert(block);
      }
      others.insert(heap.Get(size, 16, kAlice));
      if (size > kMiB / 2 && i == 10) break;
    }
  }
  heap->FreeOwnedBy(kBob, keep, kAlice);
  EXPECT_EQ(heap.Broken(), "");
  const std::vector<Heap::Block> left = heap.Blocks();
  EXPECT_THAT(left, SizeIs(others.size()));
  for (const Heap::Block& block : left) EXPECT_TRUE(others.contains(block.address));
  for (const void* block : keep) EXPECT_EQ(heap->Find(block).owner, kBob);
  heap->FreeOwnedBy(kBob, {}, kAlice);
  heap->FreeOwnedBy(kAlice, {}, kAlice);
  EXPECT_THAT(heap.Blocks(), IsEmpty());
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapTest, FreeOwnedByGivesMemoryBack) {
  const TestHeap heap;
  for (int i = 0; i < 20; ++i) heap.Get(2 * kMiB, 16, kBob);
  for (int i = 0; i < 20'000; ++i) heap.Get(1024, 16, kBob);
  heap->FreeOwnedBy(kBob, {}, kAlice);
  const HeapStats stats = heap->Stats();
  EXPECT_EQ(stats.blocks, 0u);
  EXPECT_LE(stats.committed, 8 * kMiB + 64 * kKiB);
}

TEST(HeapTest, FreeOwnedByLeavesCells) {
  const TestHeap heap;
  void* cell = *heap->AllocateCell(100, 16, kBob);
  const Owner object = Owner::Object(cell);
  heap->SetOwner(cell, object);
  void* block = heap.Get(100, 16, object);
  heap->FreeOwnedBy(object, {}, kAlice);
  EXPECT_EQ(heap->Find(cell).address, cell);
  EXPECT_TRUE(heap->Find(cell).cell);
  EXPECT_EQ(heap->Find(block).address, nullptr);
}

TEST(HeapTest, FreeOwnedByFreesTheObjectsThatAProcessWasMaking) {
  const TestHeap heap;
  void* cell = *heap->AllocateCell(100, 16, kBob);
  heap.Get(100, 16, Owner::Object(cell));
  heap.Get(kMiB, 16, Owner::Object(cell));
  void* made = *heap->AllocateCell(100, 16, kBob);
  heap->SetOwner(made, Owner::Object(made));
  void* of_made = heap.Get(100, 16, Owner::Object(made));
  heap->FreeOwnedBy(kBob, {}, kAlice);
  const std::vector<Heap::Block> left = heap.Blocks();
  EXPECT_THAT(left, SizeIs(2));
  EXPECT_EQ(heap->Find(made).address, made);
  EXPECT_EQ(heap->Find(of_made).address, of_made);
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapTest, ForEachBlockVisitsEachOnce) {
  const TestHeap heap({.arenas = 4});
  std::set<void*> blocks;
  for (int i = 0; i < 3000; ++i) {
    blocks.insert(heap.Get(static_cast<size_t>(i) * 7 % 12'000));
    if (i % 3 == 0) blocks.insert(*heap->AllocateCell(i % 1000 + 1, 1, kAlice));
  }
  std::set<void*> visited;
  heap->ForEachBlock(
      [&](const Heap::Block& block) { EXPECT_TRUE(visited.insert(block.address).second); });
  EXPECT_EQ(visited, blocks);
}

// ---- Cells ---------------------------------------------------------------------

TEST(HeapTest, CellsAreNeverUsedForBlocks) {
  const TestHeap heap;
  constexpr size_t kSize = 96;
  std::set<void*> cells;
  for (int i = 0; i < 3000; ++i) cells.insert(*heap->AllocateCell(kSize, 16, kAlice));
  for (void* cell : cells) EXPECT_TRUE(heap->Find(cell).cell);
  const size_t free = heap->Stats().free;
  for (void* cell : cells) heap->Free(cell, kAlice);
  EXPECT_EQ(heap->Stats().free, free) << "a slab of cells was given back";

  auto first = reinterpret_cast<uintptr_t>(*cells.begin());
  auto last = reinterpret_cast<uintptr_t>(*cells.rbegin()) + kSize;
  for (const size_t size : {kSize, size_t{16}, size_t{4000}, 64 * kKiB}) {
    for (int i = 0; i < 1000; ++i) {
      const auto block = reinterpret_cast<uintptr_t>(heap.Get(size));
      const bool apart = block + size <= first || block >= last;
      ASSERT_TRUE(apart || !cells.contains(reinterpret_cast<void*>(block)));
      ASSERT_FALSE(heap->Find(reinterpret_cast<void*>(block)).cell);
    }
  }
  // Again and again the same ones.
  std::set<void*> again;
  for (int i = 0; i < 3000; ++i) again.insert(*heap->AllocateCell(kSize, 16, kAlice));
  EXPECT_EQ(again, cells);
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapTest, ACellKeepsItsContentsWhileItIsFree) {
  // The generation of an object lives there.
  const TestHeap heap;
  auto* cell = static_cast<uint64_t*>(*heap->AllocateCell(64, 16, kAlice));
  *cell = 42;
  heap->Free(cell, kAlice);
  EXPECT_EQ(*cell, 42u);
  EXPECT_EQ(*heap->AllocateCell(64, 16, kAlice), cell);
  EXPECT_EQ(*cell, 42u);
}

TEST(HeapTest, ANewCellIsZero) {
  // Else its generation would be what a block has left there.
  const TestHeap heap;
  std::vector<void*> blocks;
  for (int i = 0; i < 64; ++i) {
    blocks.push_back(heap.Get(64 * kKiB));
    memset(blocks.back(), 0xab, 64 * kKiB);
  }
  for (void* block : blocks) heap->Free(block, kAlice);
  const auto* cell = static_cast<const unsigned char*>(*heap->AllocateCell(256, 16, kAlice));
  EXPECT_THAT(std::vector<unsigned char>(cell, cell + 256), Each(0));
}

}  // namespace
}  // namespace mp::testing
