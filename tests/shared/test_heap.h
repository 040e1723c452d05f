// tests/shared/test_heap.h
//
// TestHeap: a heap of its own in memory that forked children share, without a domain.
//
//   TestHeap heap;
//   void* block = heap.Get(100);              // or the test fails
//   EXPECT_EQ(heap.Broken(), "");
//   heap.Renew();                             // as new

#ifndef MP_TESTS_SHARED_TEST_HEAP_H_
#define MP_TESTS_SHARED_TEST_HEAP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "shared/heap.h"
#include "shared/owner.h"

namespace mp::testing {

// Processes of a family, as owners.
inline constexpr Owner kAlice = Owner::Process(1);
inline constexpr Owner kBob = Owner::Process(2);

inline constexpr size_t kKiB = 1024;
inline constexpr size_t kMiB = 1024 * kKiB;
inline constexpr size_t kGiB = 1024 * kMiB;

struct TestHeapOptions {
  size_t size = 256 * kMiB;
  size_t commit_limit = 256 * kMiB;
  int arenas = 1;
};

class TestHeap {
 public:
  explicit TestHeap(TestHeapOptions options = {});
  ~TestHeap();
  TestHeap(const TestHeap&) = delete;
  TestHeap& operator=(const TestHeap&) = delete;

  Heap& operator*() const { return *heap_; }
  Heap* operator->() const { return heap_; }

  // Formats it anew.
  void Renew() const;

  // Alice's block, or what process `owner` allocates for itself, or Alice for another owner;
  // or nullptr, and the test fails.
  void* Get(size_t size, size_t alignment = 16, Owner owner = kAlice) const;

  // What Check() says; "" when all is well.
  std::string Broken() const;

  // All blocks in use, in order of address.
  std::vector<Heap::Block> Blocks() const;

  // Pages of the heap that have memory, the heap's own included.
  size_t ResidentPages() const;

 private:
  TestHeapOptions options_;
  void* memory_;
  Heap* heap_;
};

// How many of the pages that `size` bytes at `address` touch have memory.
size_t ResidentPages(const void* address, size_t size);

// Writes a pattern all over a block, different for each `seed`, and looks whether it is
// still there. Of more than a page only the ends, and a few bytes of each page.
void Fill(void* block, size_t size, uint64_t seed);
bool IsFilled(const void* block, size_t size, uint64_t seed);

// "0x5512 (64 bytes, owner 9)", for messages.
std::string Describe(const Heap::Block& block);

}  // namespace mp::testing

#endif  // MP_TESTS_SHARED_TEST_HEAP_H_
