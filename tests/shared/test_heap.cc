#include "tests/shared/test_heap.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace mp::testing {
namespace {

constexpr size_t kPage = 4096;

// The byte of the pattern at `offset`.
unsigned char PatternAt(size_t offset, uint64_t seed) {
  uint64_t x = (offset + 1) * 0x9e3779b97f4a7c15 ^ seed * 0xbf58476d1ce4e5b9;
  x ^= x >> 29;
  return static_cast<unsigned char>(x * 0x94d049bb133111eb >> 56);
}

// Calls `each(offset)` for the bytes that carry the pattern, until it returns false.
template <typename Each>
bool ForEachOffset(size_t size, Each each) {
  constexpr size_t kEnds = 64;
  if (size <= kPage) {
    for (size_t i = 0; i < size; ++i) {
      if (!each(i)) return false;
    }
    return true;
  }
  for (size_t page = 0; page < size; page += kPage) {
    const size_t end = std::min(size, page + 8);
    for (size_t i = page; i < end; ++i) {
      if (!each(i)) return false;
    }
  }
  for (size_t i = size - kEnds; i < size; ++i) {
    if (!each(i)) return false;
  }
  return true;
}

}  // namespace

TestHeap::TestHeap(TestHeapOptions options) : options_(options) {
  memory_ = mmap(nullptr, options_.size, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory_ == MAP_FAILED) {
    perror("test heap: mmap");
    abort();
  }
  heap_ = Heap::Format(memory_, options_.size, options_.commit_limit, options_.arenas);
}

TestHeap::~TestHeap() { munmap(memory_, options_.size); }

void TestHeap::Renew() const {
  if (madvise(memory_, options_.size, MADV_REMOVE) != 0) {
    perror("test heap: madvise");
    abort();
  }
  Heap::Format(memory_, options_.size, options_.commit_limit, options_.arenas);
}

void* TestHeap::Get(size_t size, size_t alignment, Owner owner) const {
  const Owner holder = owner.kind() == Owner::Kind::kProcess ? owner : kAlice;
  const absl::StatusOr<void*> block = heap_->Allocate(size, alignment, owner, holder);
  EXPECT_TRUE(block.ok()) << size << " bytes: " << block.status();
  return block.value_or(nullptr);
}

std::string TestHeap::Broken() const {
  const absl::Status status = heap_->Check();
  return status.ok() ? "" : status.ToString();
}

std::vector<Heap::Block> TestHeap::Blocks() const {
  std::vector<Heap::Block> blocks;
  heap_->ForEachBlock([&](const Heap::Block& block) { blocks.push_back(block); });
  std::sort(blocks.begin(), blocks.end(),
            [](const Heap::Block& a, const Heap::Block& b) { return a.address < b.address; });
  return blocks;
}

size_t TestHeap::ResidentPages() const {
  return mp::testing::ResidentPages(memory_, options_.size);
}

size_t ResidentPages(const void* address, size_t size) {
  const auto begin = reinterpret_cast<uintptr_t>(address) / kPage * kPage;
  const auto end = reinterpret_cast<uintptr_t>(address) + size;
  std::vector<unsigned char> pages((end - begin + kPage - 1) / kPage);
  if (mincore(reinterpret_cast<void*>(begin), end - begin, pages.data()) != 0) {
    perror("mincore");
    abort();
  }
  return static_cast<size_t>(
      std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; }));
}

void Fill(void* block, size_t size, uint64_t seed) {
  auto* bytes = static_cast<unsigned char*>(block);
  ForEachOffset(size, [&](size_t i) {
    bytes[i] = PatternAt(i, seed);
    return true;
  });
}

bool IsFilled(const void* block, size_t size, uint64_t seed) {
  const auto* bytes = static_cast<const unsigned char*>(block);
  return ForEachOffset(size, [&](size_t i) { return bytes[i] == PatternAt(i, seed); });
}

std::string Describe(const Heap::Block& block) {
  return absl::StrCat("0x", absl::Hex(reinterpret_cast<uintptr_t>(block.address)), " (", block.size,
                      " bytes, owner word ", block.owner.word(), ")");
}

}  // namespace mp::testing
