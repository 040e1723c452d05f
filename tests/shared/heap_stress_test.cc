#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shared/heap.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

constexpr int kWorkers = 8;

// Of the worker at `index` when it was replaced `generation` times.
Owner OwnerOf(int index, uint64_t generation) {
  return Owner::Process(1 + generation * kWorkers + static_cast<uint64_t>(index));
}

// Ends the worker, and so the run, with words.
void Require(bool good, const char* words) {
  if (good) return;
  fprintf(stderr, "heap stress: %s\n", words);
  abort();
}

void Work(const TestHeap& heap, Worker& worker) {
  const Owner self = OwnerOf(worker.index(), worker.generation());
  // Buries those who were here before, and among them the one it replaces.
  for (uint64_t back = 1; back <= 3 && back <= worker.generation(); ++back) {
    heap->FreeOwnedBy(OwnerOf(worker.index(), worker.generation() - back), {}, self);
  }
  struct Block {
    void* address;
    size_t size;
  };
  std::vector<Block> blocks;
  std::mt19937_64 random(self.identity());
  while (!worker.Stopping()) {
    for (int step = 0; step < 20; ++step) {
      if (blocks.size() < 40 && random() % 2 == 0) {
        const uint64_t kind = random() % 100;
        const size_t size = kind < 70   ? random() % 600
                            : kind < 95 ? random() % 9000
                            : kind < 99 ? random() % 200'000
                                        : random() % (3 * kMiB);
        const absl::StatusOr<void*> block = heap->Allocate(size, 16, self);
        Require(block.ok(), "no memory");
        Fill(*block, size, self.identity());
        blocks.push_back({*block, size});
      } else if (!blocks.empty()) {
        std::swap(blocks[random() % blocks.size()], blocks.back());
        const Block& block = blocks.back();
        Require(IsFilled(block.address, block.size, self.identity()), "a block was overwritten");
        Require(heap->Find(block.address).owner == self, "a block is another's");
        heap->Free(block.address, self);
        blocks.pop_back();
      }
    }
    if (random() % 200 == 0) Require(heap.Broken().empty(), heap.Broken().c_str());
    worker.Progress();
  }
  for (const Block& block : blocks) heap->Free(block.address, self);
}

TEST(HeapStressTest, RandomKillsLeaveItWholeAndNothingBehind) {
  const TestHeap heap({.size = 512 * kMiB, .commit_limit = 512 * kMiB, .arenas = 4});
  KillerOptions options;
  options.workers = kWorkers;
  options.kills = Stress() ? 10'000 : kSanitized ? 50 : 500;
  options.longest_life = std::chrono::microseconds(Stress() ? 3000 : 500);
  const KillerReport report = RunKiller([&](Worker& worker) { Work(heap, worker); }, options);
  EXPECT_TRUE(report.Clean()) << report.Summary();

  EXPECT_EQ(heap.Broken(), "");
  // All that is left is of the dead.
  uint64_t last = 0;
  for (const Heap::Block& block : heap.Blocks()) {
    ASSERT_EQ(block.owner.kind(), Owner::Kind::kProcess) << Describe(block);
    last = std::max(last, block.owner.identity());
  }
  EXPECT_LE(last, static_cast<uint64_t>(options.kills + 1) * kWorkers);
  for (uint64_t id = 1; id <= last; ++id) heap->FreeOwnedBy(Owner::Process(id), {}, kAlice);
  EXPECT_EQ(heap.Broken(), "");
  const HeapStats stats = heap->Stats();
  EXPECT_EQ(stats.blocks, 0u);
  EXPECT_LE(stats.free, 8 * kMiB);
  // At most an empty slab a size and arena.
  EXPECT_LE(stats.committed - stats.free, 4 * 32 * 64 * kKiB);
  EXPECT_LE(heap.ResidentPages() * 4096, stats.committed + 4 * kMiB);
}

}  // namespace
}  // namespace mp::testing
