// Small blocks without a system call: in a child that any system call kills.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstdlib>

#include "shared/heap.h"
#include "shared/internal/size_class.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/no_system_calls.h"

namespace mp::testing {
namespace {

class HeapSyscallTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!SystemCallsCanBeForbidden()) GTEST_SKIP() << "system calls cannot be forbidden here";
  }

  void Warm() const {
    for (uint32_t i = 0; i < internal::kSizeClassCount; ++i) {
      heap_.Get(internal::SizeOfClass(i));
      (void)heap_->AllocateCell(internal::SizeOfClass(i), 1, kAlice);
    }
  }

  const TestHeap heap_;
};

TEST_F(HeapSyscallTest, SmallBlocksNeedNoneOnceThereIsASlab) {
  const int status = EndWithoutSystemCalls(
      [&] { Warm(); },
      [&] {
        for (int round = 0; round < 100; ++round) {
          std::array<void*, internal::kSizeClassCount> blocks;
          for (uint32_t i = 0; i < internal::kSizeClassCount; ++i) {
            blocks[i] = *heap_->Allocate(internal::SizeOfClass(i) - 1, 8, kAlice);
          }
          for (void* block : blocks) heap_->Free(block, kBob);
        }
      });
  EXPECT_EQ(status, 0) << (KilledForSystemCall(status) ? "killed for a system call" : "");
}

TEST_F(HeapSyscallTest, CellsOwnersAndFindNeedNone) {
  const int status = EndWithoutSystemCalls([&] { Warm(); },
                                           [&] {
                                             void* cell = *heap_->AllocateCell(100, 16, kAlice);
                                             heap_->SetOwner(cell, Owner::Object(cell));
                                             if (heap_->Find(cell).address != cell) abort();
                                             heap_->Free(cell, kAlice);
                                           });
  EXPECT_EQ(status, 0) << (KilledForSystemCall(status) ? "killed for a system call" : "");
}

TEST_F(HeapSyscallTest, LargeBlocksThatAreKeptNeedNone) {
  const int status =
      EndWithoutSystemCalls([&] { heap_->Free(heap_.Get(kMiB), kAlice); },
                            [&] {
                              for (int i = 0; i < 10; ++i) {
                                heap_->Free(*heap_->Allocate(kMiB, 1, kAlice), kAlice);
                              }
                            });
  EXPECT_EQ(status, 0) << (KilledForSystemCall(status) ? "killed for a system call" : "");
}

TEST_F(HeapSyscallTest, FreshMemoryNeedsOne) {
  // That it would be seen.
  EXPECT_TRUE(KilledForSystemCall(
      EndWithoutSystemCalls([] {}, [&] { (void)heap_->Allocate(kMiB, 1, kAlice); })));
}

}  // namespace
}  // namespace mp::testing
