#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/heap.h"
#include "shared/internal/size_class.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/crash.h"

namespace mp::testing {
namespace {

// The one who is killed; Alice and Bob live on.
constexpr Owner kVictim = Owner::Process(1000);

// The seed of what stands in the blocks of the living.
constexpr uint64_t kContents = 3;

using BlockMap = std::map<void*, Heap::Block>;

BlockMap MapOf(const TestHeap& heap) {
  BlockMap blocks;
  for (const Heap::Block& block : heap.Blocks()) blocks.emplace(block.address, block);
  return blocks;
}

// One operation of the victim's on a heap that `arrange` has brought into some state.
struct HeapCase {
  const char* name = "";
  std::function<void(const TestHeap&)> arrange = {};
  std::function<void(Heap&)> operate = {};
  // Blocks of the living that the operation frees, or not.
  std::vector<void*> freed = {};
};

// The heap is whole; all that was in use by the living is, with what stood in it, and
// nothing else but what is the victim's; `freed` may be gone.
std::string CompareWith(const BlockMap& before, const std::vector<void*>& freed,
                        const TestHeap& heap, bool victim_is_buried) {
  if (std::string broken = heap.Broken(); !broken.empty()) return broken;
  BlockMap missing = before;
  for (const auto& [address, block] : MapOf(heap)) {
    const auto old = before.find(address);
    missing.erase(address);
    if (block.owner == kVictim) {
      if (victim_is_buried) return "left by the victim: " + Describe(block);
      continue;
    }
    if (old == before.end()) return "new, and nobody's: " + Describe(block);
    if (old->second.size != block.size || old->second.owner != block.owner) {
      return "changed: " + Describe(block) + ", was " + Describe(old->second);
    }
    if (!IsFilled(address, block.size, kContents)) return "overwritten: " + Describe(block);
  }
  for (void* block : freed) missing.erase(block);
  for (const auto& [address, block] : missing) {
    if (block.owner != kVictim) return "lost: " + Describe(block);
  }
  return "";
}

// Others can allocate, what they get is memory that nobody has, and free it again.
std::string UseByOthers(const TestHeap& heap) {
  const BlockMap before = MapOf(heap);
  std::vector<std::pair<void*, size_t>> blocks;
  for (const size_t size : {size_t{64}, size_t{8192}, size_t{3000}, 70 * kKiB, 300 * kKiB}) {
    for (int i = 0; i < 12; ++i) {
      const absl::StatusOr<void*> block = heap->Allocate(size, 16, kBob);
      if (!block.ok()) return absl::StrCat("others cannot allocate: ", block.status().ToString());
      const auto begin = reinterpret_cast<uintptr_t>(*block);
      auto next = before.lower_bound(*block);
      if (next != before.end() && reinterpret_cast<uintptr_t>(next->first) < begin + size) {
        return "handed out twice: " + Describe(next->second);
      }
      if (next != before.begin()) {
        const Heap::Block& previous = (--next)->second;
        if (reinterpret_cast<uintptr_t>(previous.address) + previous.size > begin) {
          return "handed out twice: " + Describe(previous);
        }
      }
      if (ResidentPages(*block, size) != (size + begin % 4096 + 4095) / 4096) {
        return absl::StrCat("handed out ", size, " bytes without their memory");
      }
      Fill(*block, size, blocks.size());
      blocks.emplace_back(*block, size);
    }
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!IsFilled(blocks[i].first, blocks[i].second, i)) return "overlapping blocks";
    heap->Free(blocks[i].first, kBob);
  }
  return heap.Broken();
}

void ExpectClean(const CrashCase& c) {
  CrashOptions options;
  // There are many cases; each has all its points under MP_STRESS.
  if (options.sample != 0) options.sample /= 2;
  const CrashReport report = RunCrashSweep(c, options);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

void Sweep(const TestHeap& heap, HeapCase& heap_case) {
  BlockMap before;
  CrashCase c;
  c.name = heap_case.name;
  c.set_up = [&] {
    heap.Renew();
    heap_case.freed.clear();
    heap_case.arrange(heap);
    before = MapOf(heap);
  };
  c.operation = [&] { heap_case.operate(*heap); };
  c.check = [&]() -> std::string {
    std::string bad = CompareWith(before, heap_case.freed, heap, /*victim_is_buried=*/false);
    if (!bad.empty()) return "at once: " + bad;
    bad = UseByOthers(heap);
    if (!bad.empty()) return "before the burial: " + bad;
    heap->FreeOwnedBy(kVictim, {}, kAlice);
    bad = CompareWith(before, heap_case.freed, heap, /*victim_is_buried=*/true);
    if (!bad.empty()) return "after the burial: " + bad;
    bad = UseByOthers(heap);
    if (!bad.empty()) return "after the burial: " + bad;
    return CompareWith(before, heap_case.freed, heap, /*victim_is_buried=*/true);
  };
  ExpectClean(c);
}

void Sweep(HeapCase heap_case) {
  const TestHeap heap({.size = 64 * kMiB, .commit_limit = 64 * kMiB});
  Sweep(heap, heap_case);
}

size_t BlocksOfSlab(const TestHeap& heap, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(heap.Get(size));
  size_t blocks = 1;
  while (reinterpret_cast<uintptr_t>(heap.Get(size)) - first < 64 * kKiB - size) ++blocks;
  heap.Renew();
  return blocks;
}

std::vector<void*> Many(const TestHeap& heap, size_t size, size_t count, Owner owner = kAlice) {
  std::vector<void*> blocks;
  for (size_t i = 0; i < count; ++i) {
    blocks.push_back(heap.Get(size, 16, owner));
    Fill(blocks.back(), heap->Find(blocks.back()).size, kContents);
  }
  return blocks;
}

constexpr size_t kSmall = 8192;  // seven in a slab
constexpr size_t kInSlab = 7;
constexpr size_t kLarge = 100 * kKiB;

TEST(HeapCrashTest, ASlabOf8KiBHasSevenBlocks) {
  EXPECT_EQ(BlocksOfSlab(TestHeap(), kSmall), kInSlab);
}

TEST(HeapCrashTest, SmallBlocksAreAllOrNothing) {
  Sweep({.name = "allocate the first block of its size",
         .arrange = [](const TestHeap&) {},
         .operate = [](Heap& heap) { (void)heap.Allocate(kSmall, 16, kVictim); }});
  Sweep({.name = "allocate",
         .arrange = [](const TestHeap& heap) { Many(heap, kSmall, 2); },
         .operate = [](Heap& heap) { (void)heap.Allocate(kSmall, 16, kVictim); }});
  Sweep({.name = "allocate the last block of a slab",
         .arrange = [](const TestHeap& heap) { Many(heap, kSmall, 2 * kInSlab - 1); },
         .operate = [](Heap& heap) { (void)heap.Allocate(kSmall, 16, kVictim); }});
  Sweep({.name = "allocate when all slabs are full",
         .arrange = [](const TestHeap& heap) { Many(heap, kSmall, 2 * kInSlab); },
         .operate = [](Heap& heap) { (void)heap.Allocate(kSmall, 16, kVictim); }});
  Sweep({.name = "allocate a cell",
         .arrange = [](const TestHeap&) {},
         .operate = [](Heap& heap) { (void)heap.AllocateCell(kSmall, 16, kVictim); }});
}

TEST(HeapCrashTest, SmallBlocksForAnObjectAreAllOrNothing) {
  // Its owner may outlive the victim: the object that the victim builds, say. Then the
  // block is there, in that name.
  const TestHeap heap({.size = 64 * kMiB, .commit_limit = 64 * kMiB});
  const Owner object = Owner::Object(&heap);
  for (const size_t size : {kSmall, kLarge}) {
    for (const size_t others : {0, 1}) {
      BlockMap before;
      CrashCase c;
      c.name = absl::StrCat("allocate ", size, " bytes for an object");
      c.set_up = [&] {
        heap.Renew();
        Many(heap, size, others);
        before = MapOf(heap);
      };
      c.operation = [&] { (void)heap->Allocate(size, 16, object, kVictim); };
      c.check = [&]() -> std::string {
        heap->FreeOwnedBy(kVictim, {}, kAlice);
        if (std::string broken = heap.Broken(); !broken.empty()) return broken;
        const size_t blocks = heap.Blocks().size();
        heap->FreeOwnedBy(object, {}, kAlice);
        if (blocks != heap.Blocks().size() && blocks != heap.Blocks().size() + 1) {
          return "more than one block";
        }
        std::string bad = CompareWith(before, {}, heap, /*victim_is_buried=*/true);
        return bad.empty() ? UseByOthers(heap) : bad;
      };
      ExpectClean(c);
    }
  }
}

// Of the block that `arrange` returns: Alice's, which only the victim still has.
void SweepFree(const TestHeap& heap, const char* name,
               const std::function<void*(const TestHeap&)>& arrange) {
  void* block = nullptr;
  HeapCase free{.name = name, .operate = [&block](Heap& h) { h.Free(block, kVictim); }};
  free.arrange = [&](const TestHeap& h) {
    block = arrange(h);
    free.freed = {block};
  };
  Sweep(heap, free);
}

TEST(HeapCrashTest, FreeOfSmallBlocksIsAllOrNothing) {
  const TestHeap heap({.size = 64 * kMiB, .commit_limit = 64 * kMiB});
  auto run = [&](const char* name, auto arrange) { SweepFree(heap, name, arrange); };
  run("free", [](const TestHeap& h) { return Many(h, kSmall, 3)[1]; });
  run("free in a full slab", [](const TestHeap& h) { return Many(h, kSmall, 2 * kInSlab)[3]; });
  run("free the only block", [](const TestHeap& h) { return Many(h, kSmall, 1)[0]; });
  run("free the last block of one slab among others",
      [](const TestHeap& h) { return Many(h, kSmall, 2 * kInSlab + 1).back(); });
  run("free the last block of a slab, another having room", [](const TestHeap& h) {
    const std::vector<void*> blocks = Many(h, kSmall, 2 * kInSlab);
    for (size_t i = 0; i < kInSlab + 1; ++i) {
      if (i != 3) h->Free(blocks[i], kAlice);
    }
    return blocks[3];
  });
  run("free the last block of a slab, whose memory then goes back", [](const TestHeap& h) {
    const std::vector<void*> blocks = Many(h, kSmall, 2 * kInSlab);
    h->Free(h.Get(8 * kMiB), kAlice);
    for (size_t i = 0; i < kInSlab + 1; ++i) {
      if (i != 3) h->Free(blocks[i], kAlice);
    }
    return blocks[3];
  });
}

TEST(HeapCrashTest, LargeBlocksAreAllOrNothing) {
  Sweep({.name = "allocate the first large block",
         .arrange = [](const TestHeap&) {},
         .operate = [](Heap& heap) { (void)heap.Allocate(kLarge, 16, kVictim); }});
  Sweep({.name = "allocate more than the next step",
         .arrange = [](const TestHeap& heap) { Many(heap, kLarge, 2); },
         .operate = [](Heap& heap) { (void)heap.Allocate(kMiB, 16, kVictim); }});
  Sweep({.name = "allocate a part of what is kept",
         .arrange =
             [](const TestHeap& heap) {
               const std::vector<void*> blocks = Many(heap, 2 * kLarge, 3);
               heap->Free(blocks[1], kAlice);
             },
         .operate = [](Heap& heap) { (void)heap.Allocate(kLarge, 16, kVictim); }});
  Sweep({.name = "allocate all of what is kept",
         .arrange =
             [](const TestHeap& heap) {
               const std::vector<void*> blocks = Many(heap, kLarge, 5);
               heap->Free(blocks[1], kAlice);
               heap->Free(blocks[3], kAlice);
             },
         .operate = [](Heap& heap) { (void)heap.Allocate(kLarge, 16, kVictim); }});
}

TEST(HeapCrashTest, AllocatingWhatIsKeptInPiecesIsAllOrNothing) {
  // 8 MiB are kept in pieces, and the limit leaves half a MiB: they have to go back first.
  HeapCase pieces{.name = "allocate past what is kept",
                  .arrange =
                      [](const TestHeap& h) {
                        const std::vector<void*> blocks = Many(h, kMiB, 20);
                        for (size_t i = 0; i < 16; i += 2) h->Free(blocks[i], kAlice);
                      },
                  .operate = [](Heap& h) { (void)h.Allocate(2 * kMiB, 16, kVictim); }};
  const TestHeap heap({.size = 64 * kMiB, .commit_limit = 20 * kMiB + 512 * kKiB});
  Sweep(heap, pieces);
}

TEST(HeapCrashTest, FreeOfLargeBlocksIsAllOrNothing) {
  const TestHeap heap({.size = 64 * kMiB, .commit_limit = 64 * kMiB});
  auto run = [&](const char* name, auto arrange) { SweepFree(heap, name, arrange); };
  run("free between blocks", [](const TestHeap& h) { return Many(h, kLarge, 3)[1]; });
  run("free between free ones", [](const TestHeap& h) {
    const std::vector<void*> blocks = Many(h, kLarge, 5);
    h->Free(blocks[1], kAlice);
    h->Free(blocks[3], kAlice);
    return blocks[2];
  });
  run("free the only block", [](const TestHeap& h) { return Many(h, kLarge, 1)[0]; });
  run("free of much, which goes back", [](const TestHeap& h) { return Many(h, 9 * kMiB, 1)[0]; });
  run("free when enough is kept", [](const TestHeap& h) {
    const std::vector<void*> blocks = Many(h, kMiB, 20);
    for (size_t i = 0; i < 16; i += 2) h->Free(blocks[i], kAlice);
    return blocks[1];
  });
  run("free beside memory that is gone", [](const TestHeap& h) {
    const std::vector<void*> blocks = Many(h, kMiB, 24);
    for (size_t i = 0; i < 8; ++i) h->Free(blocks[2 * i], kAlice);
    for (const size_t i : {17, 19}) h->Free(blocks[i], kAlice);
    return blocks[18];
  });
}

TEST(HeapCrashTest, AnUndertakerMayDieToo) {
  // The victim frees what Bob has left, and is buried itself: whoever comes next finishes
  // the work on both.
  const TestHeap heap({.size = 64 * kMiB, .commit_limit = 64 * kMiB});
  BlockMap before;
  CrashCase c;
  c.name = "free all of an owner's";
  c.set_up = [&] {
    heap.Renew();
    Many(heap, kSmall, 10, kBob);
    Many(heap, kSmall, 3);
    Many(heap, kSmall, 10, kBob);
    Many(heap, 1000, 3, kBob);
    Many(heap, kLarge, 2, kBob);
    Many(heap, kLarge, 1);
    Many(heap, 9 * kMiB, 1, kBob);
    // Two objects that he was making: one has a block already.
    for (int i = 0; i < 2; ++i) {
      void* cell = *heap->AllocateCell(100, 16, kBob);
      Fill(cell, heap->Find(cell).size, kContents);
      if (i == 1) Many(heap, 50, 1, Owner::Object(cell));
    }
    before = MapOf(heap);
    std::erase_if(before, [](const auto& entry) { return entry.second.owner != kAlice; });
  };
  c.operation = [&] { heap->FreeOwnedBy(kBob, {}, kVictim); };
  c.check = [&]() -> std::string {
    if (std::string broken = heap.Broken(); !broken.empty()) return broken;
    heap->FreeOwnedBy(kBob, {}, kAlice);
    heap->FreeOwnedBy(kVictim, {}, kAlice);
    std::string bad = CompareWith(before, {}, heap, /*victim_is_buried=*/true);
    return bad.empty() ? UseByOthers(heap) : bad;
  };
  ExpectClean(c);
}

TEST(HeapCrashTest, ACheckThatDiesLeavesTheHeapToOthers) {
  Sweep({.name = "check and stats",
         .arrange =
             [](const TestHeap& heap) {
               Many(heap, kSmall, 3);
               Many(heap, kLarge, 2);
             },
         .operate =
             [](Heap& heap) {
               (void)heap.Check();
               (void)heap.Stats();
             }});
}

}  // namespace
}  // namespace mp::testing
