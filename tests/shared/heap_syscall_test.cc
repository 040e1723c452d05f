// Small blocks without a system call: in a child that any system call kills.

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "shared/heap.h"
#include "shared/internal/size_class.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/fork.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

// From here on the process may only end.
void ForbidSystemCalls() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(77);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(77);
}

// How a child ends that runs `body` without system calls.
int EndWithoutSystemCalls(const std::function<void()>& prepare, const std::function<void()>& body) {
  const pid_t pid = ForkMortal([&] {
    prepare();
    ForbidSystemCalls();
    body();
    syscall(SYS_exit_group, 0);
  });
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

bool Killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS; }

class HeapSyscallTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer makes calls of its own";
    const int status = EndWithoutSystemCalls([] {}, [] {});
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no seccomp here";
    ASSERT_EQ(status, 0);
    ASSERT_TRUE(Killed(EndWithoutSystemCalls([] {}, [] { syscall(SYS_getppid); })));
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
  EXPECT_EQ(status, 0) << (Killed(status) ? "killed for a system call" : "");
}

TEST_F(HeapSyscallTest, CellsOwnersAndFindNeedNone) {
  const int status = EndWithoutSystemCalls([&] { Warm(); },
                                           [&] {
                                             void* cell = *heap_->AllocateCell(100, 16, kAlice);
                                             heap_->SetOwner(cell, Owner::Object(cell));
                                             if (heap_->Find(cell).address != cell) abort();
                                             heap_->Free(cell, kAlice);
                                           });
  EXPECT_EQ(status, 0) << (Killed(status) ? "killed for a system call" : "");
}

TEST_F(HeapSyscallTest, LargeBlocksThatAreKeptNeedNone) {
  const int status =
      EndWithoutSystemCalls([&] { heap_->Free(heap_.Get(kMiB), kAlice); },
                            [&] {
                              for (int i = 0; i < 10; ++i) {
                                heap_->Free(*heap_->Allocate(kMiB, 1, kAlice), kAlice);
                              }
                            });
  EXPECT_EQ(status, 0) << (Killed(status) ? "killed for a system call" : "");
}

TEST_F(HeapSyscallTest, FreshMemoryNeedsOne) {
  // That it would be seen.
  EXPECT_TRUE(
      Killed(EndWithoutSystemCalls([] {}, [&] { (void)heap_->Allocate(kMiB, 1, kAlice); })));
}

}  // namespace
}  // namespace mp::testing
