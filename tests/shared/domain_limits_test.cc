// Domains made under limits that were set before: in children, one each.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "tests/shared/test_heap.h"
#include "tests/support/child.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

using ::testing::HasSubstr;

void ExpectInChild(const std::function<void()>& body) {
  Child child(body);
  EXPECT_EQ(child.Finish(), 0);
}

void SetLimit(int resource, rlim_t value) {
  rlimit limit;
  ASSERT_EQ(getrlimit(resource, &limit), 0);
  limit.rlim_cur = value;
  ASSERT_EQ(setrlimit(resource, &limit), 0);
}

// Can be used up, and goes on.
void ExpectWorks(Domain& domain) {
  std::vector<void*> blocks;
  absl::Status status;
  while (blocks.size() < 100) {
    const absl::StatusOr<void*> block = domain.Allocate(kMiB);
    if (!block.ok()) {
      EXPECT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted) << block.status();
      break;
    }
    Fill(*block, kMiB, blocks.size());
    blocks.push_back(*block);
  }
  EXPECT_FALSE(blocks.empty());
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_TRUE(IsFilled(blocks[i], kMiB, i));
    domain.Free(blocks[i]);
  }
  EXPECT_EQ(domain.heap().Check(), absl::OkStatus());
  EXPECT_TRUE(domain.Allocate(100).ok());
}

TEST(DomainLimitsTest, ALimitForFilesCapsTheReserve) {
  ExpectInChild([] {
    SetLimit(RLIMIT_FSIZE, 16 * kMiB);
    const absl::StatusOr<Domain*> domain = Domain::Get();
    ASSERT_TRUE(domain.ok()) << domain.status();
    EXPECT_EQ((*domain)->header().size, 16 * kMiB);
    ExpectWorks(**domain);
  });
}

TEST(DomainLimitsTest, ALimitForFilesThatIsTooSmallIsTold) {
  ExpectInChild([] {
    SetLimit(RLIMIT_FSIZE, 100 * kKiB);
    const absl::Status status = Domain::Get().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("ulimit -f"));
    EXPECT_EQ(Domain::Current(), nullptr);
    SetLimit(RLIMIT_FSIZE, 64 * kMiB);
    EXPECT_TRUE(Domain::Get().ok()) << "it does not try again";
  });
}

TEST(DomainLimitsTest, AForbiddenFileSizeOfNothingIsToldToo) {
  ExpectInChild([] {
    SetLimit(RLIMIT_FSIZE, 0);
    EXPECT_EQ(Domain::Get().status().code(), absl::StatusCode::kResourceExhausted);
  });
}

TEST(DomainLimitsTest, ALimitForFilesThatIsSetLaterDoesNoHarm) {
  ExpectInChild([] {
    const absl::StatusOr<Domain*> domain = Domain::Get();
    ASSERT_TRUE(domain.ok()) << domain.status();
    SetLimit(RLIMIT_FSIZE, 4096);
    ExpectWorks(**domain);
  });
}

uint64_t AddressSpaceInUse() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * 4096;
}

TEST(DomainLimitsTest, ALimitForTheAddressSpaceCapsTheReserveAndLeavesTheUserHalf) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs terabytes of address space";
  ExpectInChild([] {
    SetLimit(RLIMIT_AS, AddressSpaceInUse() + kGiB);
    const absl::StatusOr<Domain*> domain = Domain::Get();
    ASSERT_TRUE(domain.ok()) << domain.status();
    EXPECT_LE((*domain)->header().size, kGiB / 2);
    EXPECT_GE((*domain)->header().size, kGiB / 4);
    ExpectWorks(**domain);
    void* users = mmap(nullptr, 400 * kMiB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(users, MAP_FAILED);
  });
}

TEST(DomainLimitsTest, ALimitForTheAddressSpaceThatIsTooSmallIsTold) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs terabytes of address space";
  ExpectInChild([] {
    SetLimit(RLIMIT_AS, AddressSpaceInUse() + kMiB);
    const absl::Status status = Domain::Get().status();
    SetLimit(RLIMIT_AS, AddressSpaceInUse() + kGiB);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("ulimit -v"));
    EXPECT_TRUE(Domain::Get().ok());
  });
}

TEST(DomainLimitsTest, WithoutADescriptorThereIsNoneAndLaterThereIs) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs descriptors to look at memory";
  ExpectInChild([] {
    SetLimit(RLIMIT_NOFILE, 64);
    std::vector<int> taken;
    for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
    const absl::Status status = Domain::Get().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("memfd_create"));
    for (const int fd : taken) close(fd);
    const absl::StatusOr<Domain*> domain = Domain::Get();
    ASSERT_TRUE(domain.ok()) << domain.status();
    ExpectWorks(**domain);
  });
}

TEST(DomainLimitsTest, WithADescriptorButNoneAboveTheStandardStreamsThereIsNone) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs descriptors to look at memory";
  ExpectInChild([] {
    // Only 0 is free: the domain does not take it.
    SetLimit(RLIMIT_NOFILE, 64);
    std::vector<int> taken;
    for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
    close(0);
    const absl::Status status = Domain::Get().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(fcntl(0, F_GETFD), -1) << "it kept the descriptor";
    for (const int fd : taken) close(fd);
  });
}

TEST(DomainLimitsTest, MemoryThatMayNotBeLockedIsUsedWithoutLocking) {
  ExpectInChild([] {
    const absl::StatusOr<Domain*> domain = Domain::Get();
    ASSERT_TRUE(domain.ok()) << domain.status();
    void* block = *(*domain)->Allocate(16 * kMiB);
    // Not mlock(): the sanitizers leave that out.
    if (syscall(SYS_mlock, block, 16 * kMiB) != 0) return;
    // It cannot be given back, so it is kept, and counted.
    (*domain)->Free(block);
    EXPECT_EQ((*domain)->heap().Check(), absl::OkStatus());
    EXPECT_GE((*domain)->heap().Stats().committed, 16 * kMiB);
    EXPECT_EQ(*(*domain)->Allocate(16 * kMiB), block);
    syscall(SYS_munlock, block, 16 * kMiB);
  });
}

// ---- A memory cgroup -----------------------------------------------------------

// A cgroup of its own with a limit, where this machine lets us make one.
class MemoryCgroup {
 public:
  explicit MemoryCgroup(uint64_t limit) {
    struct Version {
      const char* root;
      const char* file;
    };
    constexpr Version kVersions[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                                     {"/sys/fs/cgroup", "memory.max"}};
    for (const auto& [root, file] : kVersions) {
      const std::string folder = absl::StrCat(root, "/mp-test-", getpid());
      if (mkdir(folder.c_str(), 0700) != 0) continue;
      std::ofstream(absl::StrCat(folder, "/", file)) << limit;
      uint64_t set = 0;
      std::ifstream(absl::StrCat(folder, "/", file)) >> set;
      if (set == limit) {
        folder_ = folder;
        return;
      }
      rmdir(folder.c_str());
    }
  }
  ~MemoryCgroup() {
    if (made()) rmdir(folder_.c_str());
  }
  bool made() const { return !folder_.empty(); }

  // The calling process becomes a member.
  bool Enter() const {
    std::ofstream file(folder_ + "/cgroup.procs");
    file << getpid() << std::endl;
    return file.good();
  }

 private:
  std::string folder_;
};

TEST(DomainLimitsTest, AMemoryCgroupLimitsWhatIsCommitted) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts, too";
  const MemoryCgroup cgroup(256 * kMiB);
  if (!cgroup.made()) GTEST_SKIP() << "no memory cgroup can be made here";
  Child child([&] {
    if (!cgroup.Enter()) return 77;
    const absl::StatusOr<Domain*> domain = Domain::Get();
    EXPECT_TRUE(domain.ok()) << domain.status();
    if (!domain.ok()) return 1;
    EXPECT_EQ((*domain)->heap().Stats().commit_limit, 192 * kMiB);
    // Past the limit of the cgroup the kernel would kill.
    std::vector<void*> blocks;
    for (;;) {
      const absl::StatusOr<void*> block = (*domain)->Allocate(8 * kMiB);
      if (!block.ok()) {
        EXPECT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted);
        break;
      }
      Fill(*block, 8 * kMiB, 1);
      blocks.push_back(*block);
    }
    EXPECT_GE(blocks.size(), 20u);
    for (void* block : blocks) (*domain)->Free(block);
    EXPECT_TRUE((*domain)->Allocate(100 * kMiB).ok());
    EXPECT_EQ((*domain)->heap().Check(), absl::OkStatus());
    return 0;
  });
  const int code = child.Finish();
  if (code == 77) GTEST_SKIP() << "this process may not enter a memory cgroup";
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace mp::testing
