#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

constexpr std::array<size_t, 5> kSizes = {1, 64, 8192, 100 * kKiB, 9 * kMiB};

TEST(HeapProcessTest, ABlockMadeByOneProcessIsFreedByAnother) {
  const TestHeap heap;
  Inherited<std::array<void*, kSizes.size()>> blocks;
  Child maker([&] {
    for (size_t i = 0; i < kSizes.size(); ++i) {
      (*blocks)[i] = heap.Get(kSizes[i], 16, kBob);
      Fill((*blocks)[i], kSizes[i], i);
    }
  });
  EXPECT_EQ(maker.Finish(), 0);
  Child user([&] {
    for (size_t i = 0; i < kSizes.size(); ++i) {
      EXPECT_TRUE(IsFilled((*blocks)[i], kSizes[i], i)) << kSizes[i];
      EXPECT_EQ(heap->Find((*blocks)[i]).owner, kBob);
      heap->Free((*blocks)[i], kAlice);
    }
  });
  EXPECT_EQ(user.Finish(), 0);
  EXPECT_EQ(heap.Broken(), "");
  EXPECT_EQ(heap->Stats().blocks, 0u);
}

TEST(HeapProcessTest, BlocksOfAKilledProcessStayUntilTheyAreFreedByOwner) {
  const TestHeap heap;
  Child maker([&](Steps& step) {
    for (const size_t size : kSizes) heap.Get(size, 16, kBob);
    step("made");
  });
  ASSERT_TRUE(maker.RunTo("made"));
  maker.Kill();
  EXPECT_EQ(heap->Stats().blocks, kSizes.size());
  heap->FreeOwnedBy(kBob, {}, kAlice);
  EXPECT_EQ(heap->Stats().blocks, 0u);
  EXPECT_EQ(heap.Broken(), "");
}

// Allocates and frees, each block with a pattern; what is in the hands of the process at
// the end is freed.
void UseAtRandom(Heap& heap, Owner owner, uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  struct Block {
    void* address;
    size_t size;
    uint64_t seed;
  };
  std::vector<Block> blocks;
  for (int step = 0; step < steps; ++step) {
    if (blocks.size() < 50 && random() % 2 == 0) {
      const size_t size = random() % (random() % 10 == 0 ? 300'000 : 3000);
      const absl::StatusOr<void*> block = heap.Allocate(size, 16, owner);
      ASSERT_TRUE(block.ok()) << block.status();
      blocks.push_back({*block, size, random()});
      Fill(*block, size, blocks.back().seed);
    } else if (!blocks.empty()) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      const Block& block = blocks.back();
      ASSERT_TRUE(IsFilled(block.address, block.size, block.seed)) << "overwritten by another";
      heap.Free(block.address, owner);
      blocks.pop_back();
    }
  }
  for (const Block& block : blocks) heap.Free(block.address, owner);
}

TEST(HeapProcessTest, SeveralProcessesUseItAtOnce) {
  for (const int arenas : {1, 3}) {
    const TestHeap heap({.arenas = arenas});
    const uint64_t seed = Seed(1);
    SCOPED_TRACE("MP_SEED=" + std::to_string(seed));
    std::vector<std::unique_ptr<Child>> children;
    for (uint64_t i = 0; i < 4; ++i) {
      children.push_back(std::make_unique<Child>(
          [&, i] { UseAtRandom(*heap, Owner::Process(i + 1), seed + i, 20'000 / kSlowness); }));
    }
    for (int i = 0; i < 20; ++i) EXPECT_EQ(heap.Broken(), "");
    for (auto& child : children) EXPECT_EQ(child->Finish(), 0);
    EXPECT_EQ(heap.Broken(), "");
    EXPECT_EQ(heap->Stats().blocks, 0u);
    EXPECT_LE(heap->Stats().free, 8 * kMiB);
  }
}

TEST(HeapProcessTest, ChildrenOfAProgramWithThreadsUseIt) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's allocator may stay locked in a fork's child";
  // The threads are in the middle of the heap, with its locks in hand, at each fork.
  Child program([] {
    const absl::StatusOr<Domain*> made = Domain::Get();
    ASSERT_TRUE(made.ok()) << made.status();
    Domain& domain = **made;
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        for (uint64_t round = 0; !stop; ++round) {
          UseAtRandom(domain.heap(), domain.ThisProcess(), i * 1000 + round, 100);
        }
      });
    }
    for (uint64_t i = 0; i < 50; ++i) {
      const pid_t pid = ForkMortal([&, i] {
        UseAtRandom(domain.heap(), domain.ThisProcess(), i, 200);
        std::thread thread([&] { UseAtRandom(domain.heap(), domain.ThisProcess(), i + 1, 200); });
        thread.join();
        if (::testing::Test::HasFailure()) _exit(1);
        if (!domain.heap().Check().ok()) _exit(2);
      });
      int status = 0;
      ASSERT_EQ(waitpid(pid, &status, 0), pid);
      ASSERT_EQ(status, 0);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(domain.heap().Check(), absl::OkStatus());
    EXPECT_EQ(domain.heap().Stats().blocks, 0u);
  });
  EXPECT_EQ(program.Finish(), 0);
}

TEST(HeapProcessTest, AProcessKilledWithALockInHandHoldsNobodyUp) {
  const TestHeap heap;
  for (int round = 0; round < 20; ++round) {
    Child user([&](Steps& step) {
      step("begin");
      for (;;) {
        heap->Free(heap.Get(100, 16, kBob), kBob);
        heap->Free(heap.Get(100 * kKiB, 16, kBob), kBob);
      }
    });
    ASSERT_TRUE(user.RunTo("begin"));
    user.Go();
    void* block = heap.Get(100);
    user.Kill();
    heap->Free(block, kAlice);
    EXPECT_EQ(heap.Broken(), "");
    heap->FreeOwnedBy(kBob, {}, kAlice);
  }
  EXPECT_EQ(heap->Stats().blocks, 0u);
}

}  // namespace
}  // namespace mp::testing
