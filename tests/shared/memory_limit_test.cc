// CgroupMemoryLimit() over trees of files like those that kernels and containers show.

#include "shared/internal/memory_limit.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>

namespace mp::internal {
namespace {

namespace fs = std::filesystem;

// "/proc" and "/sys/fs/cgroup" of some machine.
class MemoryLimitTest : public ::testing::Test {
 protected:
  MemoryLimitTest()
      : root_(::testing::TempDir() + "memory_limit_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(root_);
  }
  ~MemoryLimitTest() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  // This process's cgroups, and where the hierarchies are mounted.
  void Proc(const std::string& cgroup, const std::string& mountinfo) {
    Write("/proc/self/cgroup", cgroup);
    Write("/proc/self/mountinfo", "25 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n" + mountinfo);
  }
  std::optional<uint64_t> Limit() { return CgroupMemoryLimit(root_); }

  const std::string root_;
};

constexpr char kV2[] = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr char kV1[] =
    "31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

TEST_F(MemoryLimitTest, WithoutProcThereIsNone) { EXPECT_EQ(Limit(), std::nullopt); }

TEST_F(MemoryLimitTest, WithoutCgroupsThereIsNone) {
  Proc("", "");
  EXPECT_EQ(Limit(), std::nullopt);
}

TEST_F(MemoryLimitTest, ReadsV2) {
  Proc("0::/user.slice\n", kV2);
  Write("/sys/fs/cgroup/user.slice/memory.max", "104857600\n");
  EXPECT_EQ(Limit(), 104857600u);
}

TEST_F(MemoryLimitTest, MaxIsNone) {
  Proc("0::/user.slice\n", kV2);
  Write("/sys/fs/cgroup/user.slice/memory.max", "max\n");
  EXPECT_EQ(Limit(), std::nullopt);
}

TEST_F(MemoryLimitTest, TheLeastOfNestedOnesCounts) {
  Proc("0::/a/b/c\n", kV2);
  Write("/sys/fs/cgroup/a/b/c/memory.max", "300\n");
  Write("/sys/fs/cgroup/a/b/memory.max", "200\n");
  Write("/sys/fs/cgroup/a/memory.max", "max\n");
  EXPECT_EQ(Limit(), 200u);
  Write("/sys/fs/cgroup/a/memory.max", "100\n");
  EXPECT_EQ(Limit(), 100u);
  Write("/sys/fs/cgroup/a/b/c/memory.max", "50\n");
  EXPECT_EQ(Limit(), 50u);
}

TEST_F(MemoryLimitTest, TheRootsOwnLimitCounts) {
  Proc("0::/\n", kV2);
  Write("/sys/fs/cgroup/memory.max", "1000\n");
  EXPECT_EQ(Limit(), 1000u);
}

TEST_F(MemoryLimitTest, ReadsV1) {
  Proc("5:cpu,cpuacct:/x\n4:memory:/jobs/17\n1:name=systemd:/x\n", kV1);
  Write("/sys/fs/cgroup/memory/jobs/17/memory.limit_in_bytes", "2000\n");
  Write("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "1500\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/cpu/x/memory.limit_in_bytes", "7\n");
  EXPECT_EQ(Limit(), 1500u);
}

TEST_F(MemoryLimitTest, TheNumberThatV1HasForNoneIsNone) {
  Proc("4:memory:/\n", kV1);
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Limit(), std::nullopt);
}

TEST_F(MemoryLimitTest, ReadsBothVersionsOfAHybridMachine) {
  Proc("4:memory:/job\n0::/job\n",
       std::string(kV1) + "33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4096\n");
  EXPECT_EQ(Limit(), 4096u);
  Write("/sys/fs/cgroup/unified/job/memory.max", "2048\n");
  EXPECT_EQ(Limit(), 2048u);
}

TEST_F(MemoryLimitTest, AContainersMountShowsOnlyItsPart) {
  // A container of v1 without a namespace for cgroups: the path is the host's, what is
  // mounted is the container's part.
  Proc("4:memory:/docker/abc\n",
       "32 25 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "777\n");
  EXPECT_EQ(Limit(), 777u);
}

TEST_F(MemoryLimitTest, AGroupBelowAContainersMountIsFoundUnderIt) {
  Proc("4:memory:/docker/abc/child\n",
       "32 25 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "777\n");
  Write("/sys/fs/cgroup/memory/child/memory.limit_in_bytes", "555\n");
  EXPECT_EQ(Limit(), 555u);
}

TEST_F(MemoryLimitTest, AGroupWhoseNameOnlyBeginsLikeTheMountIsNotBelowIt) {
  Proc("4:memory:/docker/abcdef\n",
       "32 25 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "777\n");
  Write("/sys/fs/cgroup/memorydef/memory.limit_in_bytes", "5\n");
  EXPECT_EQ(Limit(), 777u);
}

TEST_F(MemoryLimitTest, ANamespaceForCgroupsShowsItsTop) {
  Proc("0::/\n", kV2);
  Write("/sys/fs/cgroup/memory.max", "123456\n");
  EXPECT_EQ(Limit(), 123456u);
}

TEST_F(MemoryLimitTest, AGroupOutsideOfTheNamespaceFallsBackToItsTop) {
  Proc("0::/../other\n", kV2);
  Write("/sys/fs/cgroup/memory.max", "99\n");
  EXPECT_EQ(Limit(), 99u);
}

TEST_F(MemoryLimitTest, GarbageIsNoLimit) {
  Proc("0::/a\nno colons\n::\n:memory\n0:\n", std::string("short\n- - -\n") + kV2);
  for (const char* text : {"", "\n", "x\n", "-5\n", "12x\n", "99999999999999999999999\n"}) {
    Write("/sys/fs/cgroup/a/memory.max", text);
    EXPECT_EQ(Limit(), std::nullopt) << text;
  }
}

TEST_F(MemoryLimitTest, MountOptionsDoNotConfuse) {
  // Optional fields stand before the dash, and a path may contain one.
  Proc("0::/a - b\n", "30 25 0:26 / /sys/fs/cgroup rw shared:9 master:1 - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/a - b/memory.max", "31\n");
  EXPECT_EQ(Limit(), 31u);
}

TEST(MachineMemoryTest, IsWhatTheKernelSays) {
  std::ifstream file("/proc/meminfo");
  std::string name;
  uint64_t kib = 0;
  file >> name >> kib;
  ASSERT_EQ(name, "MemTotal:");
  EXPECT_EQ(MachineMemory(), kib * 1024);
}

}  // namespace
}  // namespace mp::internal
