// A kernel that refuses to commit memory, or to take it back: simulated by a filter of
// system calls in a child.

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/heap.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/child.h"

namespace mp::testing {
namespace {

constexpr int kNoSeccomp = 77;
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// From here on madvise() with this advice fails.
bool FailMadvise(int advice, int error) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(advice), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

class HeapKernelTest : public ::testing::Test {
 protected:
  // Runs `body` in a child whose kernel refuses that.
  void RunWhere(int advice, int error, const std::function<void()>& body) {
    Child child([&] {
      if (!FailMadvise(advice, error)) return kNoSeccomp;
      body();
      return 0;
    });
    const int code = child.Finish();
    if (code == kNoSeccomp) GTEST_SKIP() << "no seccomp here";
    EXPECT_EQ(code, 0);
  }

  const TestHeap heap_;
};

TEST_F(HeapKernelTest, WithoutMemoryForABlockThereIsNone) {
  RunWhere(MADV_POPULATE_WRITE, ENOMEM, [&] {
    for (const size_t size : {size_t{100}, 100 * kKiB, 9 * kMiB}) {
      const absl::StatusOr<void*> block = heap_->Allocate(size, 1, kAlice);
      EXPECT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted) << size;
      EXPECT_EQ(heap_.Broken(), "");
      EXPECT_EQ(heap_->Stats().committed, 0u);
    }
  });
  EXPECT_NE(heap_.Get(9 * kMiB), nullptr);
}

TEST_F(HeapKernelTest, WhatACommitGotBeforeItFailedGoesBack) {
  void* block = heap_.Get(9 * kMiB);
  heap_->Free(block, kAlice);
  ASSERT_EQ(ResidentPages(block, 9 * kMiB), 0u);
  // As if the kernel had given the half of it.
  std::memset(block, 1, 4 * kMiB);
  RunWhere(MADV_POPULATE_WRITE, ENOMEM, [&] {
    EXPECT_FALSE(heap_->Allocate(9 * kMiB, 1, kAlice).ok());
    EXPECT_EQ(ResidentPages(block, 9 * kMiB), 0u);
    EXPECT_EQ(heap_->Stats().committed, 0u);
  });
}

TEST_F(HeapKernelTest, AKernelThatCannotCommitAheadCommitsAtTheFirstTouch) {
  RunWhere(MADV_POPULATE_WRITE, EINVAL, [&] {
    for (const size_t size : {size_t{100}, 100 * kKiB, 9 * kMiB}) {
      void* block = heap_.Get(size);
      Fill(block, size, 1);
      EXPECT_TRUE(IsFilled(block, size, 1));
      heap_->Free(block, kAlice);
    }
    EXPECT_EQ(heap_.Broken(), "");
  });
}

TEST_F(HeapKernelTest, MemoryThatDoesNotGoBackIsCountedAndUsedAgain) {
  RunWhere(MADV_REMOVE, EINVAL, [&] {
    void* block = heap_.Get(20 * kMiB);
    heap_->Free(block, kAlice);
    EXPECT_EQ(heap_->Stats().committed, 20 * kMiB);
    EXPECT_EQ(heap_->Stats().free, 20 * kMiB);
    EXPECT_EQ(heap_.Get(20 * kMiB), block);
    EXPECT_EQ(heap_.Broken(), "");
    // And it ends when what is kept should make room.
    heap_->Free(block, kAlice);
    EXPECT_EQ(heap_->Allocate(240 * kMiB, 1, kAlice).status().code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(heap_.Broken(), "");
  });
}

}  // namespace
}  // namespace mp::testing
