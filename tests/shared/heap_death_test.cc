#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>

#include "shared/heap.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"

namespace mp::testing {
namespace {

std::byte* BytesOf(void* block) { return static_cast<std::byte*>(block); }

TEST(HeapDeathTest, FreeingTwiceEndsTheProcess) {
  const TestHeap heap;
  for (const size_t size : {size_t{1}, size_t{100}, size_t{8192}, 10 * kKiB, kMiB, 10 * kMiB}) {
    void* block = heap.Get(size);
    void* other = heap.Get(size);
    heap->Free(block, kAlice);
    EXPECT_DEATH(heap->Free(block, kAlice), "mp: heap: free of 0x.*freed twice") << size;
    heap->Free(other, kAlice);
  }
  EXPECT_EQ(heap.Broken(), "");
}

TEST(HeapDeathTest, FreeingInsideABlockEndsTheProcess) {
  const TestHeap heap;
  for (const size_t size : {size_t{32}, size_t{8192}, 10 * kKiB, kMiB}) {
    std::byte* block = BytesOf(heap.Get(size));
    for (const size_t offset : {size_t{1}, size_t{16}, size / 2, size - 1}) {
      EXPECT_DEATH(heap->Free(block + offset, kAlice), "mp: heap: free of .* inside a block")
          << size;
    }
  }
}

TEST(HeapDeathTest, FreeingWhatIsNotTheHeapsEndsTheProcess) {
  const TestHeap heap;
  heap.Get(100);
  int local = 0;
  void* allocated = std::malloc(100);
  EXPECT_DEATH(heap->Free(&local, kAlice), "mp: heap: free of .* no block in use");
  EXPECT_DEATH(heap->Free(allocated, kAlice), "mp: heap: free of .* no block in use");
  EXPECT_DEATH(heap->Free(&*heap, kAlice), "mp: heap: free of .* no block in use");
  EXPECT_DEATH(heap->Free(reinterpret_cast<void*>(16), kAlice), "mp: heap: free of 0x10,");
  std::free(allocated);
}

TEST(HeapDeathTest, AnOwnerForWhatIsNoBlockEndsTheProcess) {
  const TestHeap heap;
  for (const size_t size : {size_t{100}, kMiB}) {
    void* block = heap.Get(size);
    EXPECT_DEATH(heap->SetOwner(block, Owner()), "mp: heap: .* for nobody");
    EXPECT_DEATH(heap->SetOwner(block, Owner::Heap()), "mp: heap: .* for nobody");
    EXPECT_DEATH(heap->SetOwner(BytesOf(block) + 1, kBob),
                 "mp: heap: an owner for what is no block");
    heap->Free(block, kAlice);
    EXPECT_DEATH(heap->SetOwner(block, kBob), "mp: heap: an owner for what is no block");
  }
}

TEST(HeapDeathTest, TheOthersGoOnAfterAProcessThatMisused) {
  const TestHeap heap;
  void* block = heap.Get(64);
  void* freed = heap.Get(64);
  heap->Free(freed, kAlice);
  // It dies with the lock of the arena in hand.
  EXPECT_DEATH(heap->Free(freed, kAlice), "freed twice");
  EXPECT_EQ(heap.Broken(), "");
  heap->Free(block, kAlice);
  EXPECT_NE(heap.Get(64), nullptr);
}

}  // namespace
}  // namespace mp::testing
