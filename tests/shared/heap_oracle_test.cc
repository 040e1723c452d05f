// Random use of a heap beside an oracle that knows what should be there.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/heap.h"
#include "shared/internal/size_class.h"
#include "shared/internal/slab.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

// One user of the heap: its own blocks, each with a pattern.
class Oracle {
 public:
  Oracle(Heap& heap, Owner owner, uint64_t seed) : heap_(heap), owner_(owner), random_(seed) {}

  void Step() {
    // Grows for a while, then shrinks.
    if (Chance(2000)) growing_ = !growing_;
    if (blocks_.empty() || Uniform(0, 99) < (growing_ ? 55u : 45u)) {
      Allocate();
    } else {
      FreeOne();
    }
  }

  void FreeAll() {
    while (!blocks_.empty()) FreeOne();
  }

  // The blocks of this owner, as the heap has them, are those of the oracle.
  void ExpectSame() {
    std::map<void*, size_t> found;
    heap_.ForEachBlock([&](const Heap::Block& block) {
      if (block.owner == owner_) found[block.address] = block.size;
    });
    ASSERT_EQ(found.size(), blocks_.size());
    for (const auto& [address, block] : blocks_) {
      ASSERT_TRUE(found.contains(address));
      ASSERT_GE(found[address], block.size);
    }
  }

  size_t blocks() const { return blocks_.size(); }
  size_t bytes() const { return bytes_; }
  size_t exhausted() const { return exhausted_; }

 private:
  struct Block {
    size_t size;
    uint64_t seed;
  };

  uint64_t Uniform(uint64_t least, uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(least, most)(random_);
  }
  bool Chance(uint64_t one_in) { return Uniform(1, one_in) == 1; }

  size_t RandomSize() {
    const uint64_t kind = Uniform(0, 99);
    if (kind < 60) return Uniform(0, 512);
    if (kind < 85) return Uniform(0, 9000);
    if (kind < 97) return Uniform(8193, 200'000);
    if (kind < 99) return Uniform(1, 500) * 4096;
    return Uniform(kMiB, 12 * kMiB);
  }

  void Allocate() {
    const size_t size = RandomSize();
    const size_t alignment = size_t{1} << Uniform(0, Chance(10) ? 12 : 6);
    const absl::StatusOr<void*> block = heap_.Allocate(size, alignment, owner_);
    if (!block.ok()) {
      ASSERT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted) << block.status();
      ++exhausted_;
      return;
    }
    ASSERT_EQ(reinterpret_cast<uintptr_t>(*block) % alignment, 0u);
    // No overlap with what is this user's; with others' the patterns tell.
    const auto next = blocks_.lower_bound(*block);
    const auto* begin = static_cast<std::byte*>(*block);
    if (next != blocks_.end()) {
      ASSERT_LE(begin + size, next->first);
    }
    if (next != blocks_.begin()) {
      const auto& [address, previous] = *std::prev(next);
      ASSERT_LE(static_cast<std::byte*>(address) + previous.size, begin);
    }
    const uint64_t seed = random_();
    Fill(*block, size, seed);
    blocks_[*block] = {size, seed};
    bytes_ += size;
  }

  void FreeOne() {
    // Some block near a random address.
    auto block = blocks_.begin();
    if (blocks_.size() > 1) {
      const auto low = reinterpret_cast<uintptr_t>(blocks_.begin()->first);
      const auto high = reinterpret_cast<uintptr_t>(blocks_.rbegin()->first);
      block = blocks_.lower_bound(reinterpret_cast<void*>(Uniform(low, high)));
    }
    ASSERT_TRUE(IsFilled(block->first, block->second.size, block->second.seed))
        << block->second.size << " bytes were overwritten";
    ASSERT_EQ(heap_.Find(block->first).owner, owner_);
    heap_.Free(block->first, owner_);
    bytes_ -= block->second.size;
    blocks_.erase(block);
  }

  Heap& heap_;
  const Owner owner_;
  std::mt19937_64 random_;
  std::map<void*, Block> blocks_;
  size_t bytes_ = 0;
  size_t exhausted_ = 0;
  bool growing_ = true;
};

// What every heap says of itself.
void ExpectConsistent(const TestHeap& heap, size_t blocks, size_t bytes) {
  ASSERT_EQ(heap.Broken(), "");
  const HeapStats stats = heap->Stats();
  EXPECT_EQ(stats.blocks, blocks);
  EXPECT_GE(stats.in_use, bytes);
  EXPECT_LE(stats.in_use + stats.free, stats.committed);
  EXPECT_LE(stats.committed, stats.commit_limit);
}

// Freed by all: what is left are a few empty slabs, and 8 MiB of pages.
void ExpectEmpty(const TestHeap& heap, int arenas) {
  ExpectConsistent(heap, 0, 0);
  const HeapStats stats = heap->Stats();
  EXPECT_EQ(stats.in_use, 0u);
  EXPECT_LE(stats.free, 8 * kMiB);
  EXPECT_LE(stats.committed - stats.free,
            size_t{internal::kSizeClassCount} * arenas * internal::Slab::kBytes);
}

void UseAndCheck(const TestHeap& heap, uint64_t seed, int steps) {
  SCOPED_TRACE("MP_SEED=" + std::to_string(seed));
  Oracle oracle(*heap, kAlice, seed);
  for (int step = 0; step < steps && !::testing::Test::HasFatalFailure(); ++step) {
    oracle.Step();
    if (step % 1000 == 0) {
      ExpectConsistent(heap, oracle.blocks(), oracle.bytes());
      oracle.ExpectSame();
    }
  }
  oracle.FreeAll();
}

int Steps() { return (Stress() ? 1'000'000 : 20'000) / kSlowness; }

// CPython's test_heap.
TEST(HeapOracleTest, RandomUseAgreesWithTheOracle) {
  const TestHeap heap({.size = 2 * kGiB, .commit_limit = kGiB});
  const uint64_t seed = Seed(1);
  for (uint64_t round = 0; round < 3; ++round) {
    UseAndCheck(heap, seed + round, Steps());
    ExpectEmpty(heap, 1);
  }
}

TEST(HeapOracleTest, RandomUseNearTheCommitLimitAgreesWithTheOracle) {
  const TestHeap heap({.size = 256 * kMiB, .commit_limit = 12 * kMiB});
  UseAndCheck(heap, Seed(2), Steps());
  ExpectEmpty(heap, 1);
}

TEST(HeapOracleTest, RandomUseNearTheEndOfTheReserveAgreesWithTheOracle) {
  const TestHeap heap({.size = 12 * kMiB});
  UseAndCheck(heap, Seed(3), Steps());
  ExpectEmpty(heap, 1);
}

TEST(HeapOracleTest, ThreadsInParallelAgreeEachWithItsOracle) {
  constexpr int kThreads = 4;
  for (const int arenas : {1, 4}) {
    const TestHeap heap({.size = 2 * kGiB, .commit_limit = kGiB, .arenas = arenas});
    const uint64_t seed = Seed(4);
    SCOPED_TRACE("MP_SEED=" + std::to_string(seed));
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        Oracle oracle(*heap, Owner::Process(static_cast<uint64_t>(i) + 1), seed + i);
        for (int step = 0; step < Steps() && !::testing::Test::HasFatalFailure(); ++step) {
          oracle.Step();
          if (step % 2000 == 1000) oracle.ExpectSame();
          if (step % 2000 == 0) {
            EXPECT_EQ(heap.Broken(), "");
          }
        }
        oracle.FreeAll();
      });
    }
    for (std::thread& thread : threads) thread.join();
    ExpectEmpty(heap, arenas);
  }
}

TEST(HeapOracleTest, BlocksFreedByAnotherThreadAgreeToo) {
  // Each thread frees what the next one has allocated.
  constexpr int kThreads = 4;
  const int rounds = 200 / kSlowness;
  const TestHeap heap({.arenas = 4});
  std::vector<std::vector<void*>> blocks(kThreads);
  std::mt19937_64 random(Seed(5));
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::thread> threads;
    std::vector<std::vector<void*>> next(kThreads);
    const uint64_t seed = random();
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        std::mt19937_64 mine(seed + i);
        for (void* block : blocks[(i + 1) % kThreads]) {
          EXPECT_EQ(*static_cast<void**>(block), block);
          heap->Free(block, kAlice);
        }
        for (int j = 0; j < 100; ++j) {
          void* block = heap.Get(mine() % 20'000 + 8);
          *static_cast<void**>(block) = block;
          next[i].push_back(block);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    blocks = std::move(next);
  }
  EXPECT_EQ(heap.Broken(), "");
  EXPECT_EQ(heap->Stats().blocks, kThreads * 100u);
}

}  // namespace
}  // namespace mp::testing
