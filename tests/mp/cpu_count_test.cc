#include "mp/cpu_count.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "mp/process.h"

namespace mp {
namespace {

// Files of a machine that is not this one.
class FakeRoot : public ::testing::Test {
 protected:
  FakeRoot() : root_(std::filesystem::path(::testing::TempDir()) / "root") {
    std::filesystem::remove_all(root_);
  }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_.string() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  void MountV1() {
    Write("/proc/self/mountinfo",
          "30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
          "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct");
  }
  void MountV2() {
    Write("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
  }
  int Usable(int allowed) { return internal::UsableCpuCount(allowed, root_.string()); }

  const std::filesystem::path root_;
};

using CpuCountTest = FakeRoot;

TEST_F(CpuCountTest, ThereIsAtLeastOneAndNoMoreAreUsable) {
  EXPECT_GE(CpuCount(), 1);
  EXPECT_GE(UsableCpuCount(), 1);
  EXPECT_LE(UsableCpuCount(), CpuCount());
}

TEST_F(CpuCountTest, HeedsTheAffinity) {
  Process child([] {
    cpu_set_t one;
    if (sched_getaffinity(0, sizeof(one), &one) != 0) return 0;
    int first = 0;
    while (!CPU_ISSET(first, &one)) ++first;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0) return 0;
    return UsableCpuCount();
  });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), 1);
}

TEST_F(CpuCountTest, WithoutCgroupsAllThatAreAllowedAreUsable) { EXPECT_EQ(Usable(6), 6); }

TEST_F(CpuCountTest, HeedsAQuotaOfV2RoundedUp) {
  MountV2();
  Write("/proc/self/cgroup", "0::/app");
  Write("/sys/fs/cgroup/app/cpu.max", "200000 100000");
  EXPECT_EQ(Usable(8), 2);
  EXPECT_EQ(Usable(1), 1);
  Write("/sys/fs/cgroup/app/cpu.max", "200001 100000");
  EXPECT_EQ(Usable(8), 3);
  Write("/sys/fs/cgroup/app/cpu.max", "1000 100000");
  EXPECT_EQ(Usable(8), 1);
}

TEST_F(CpuCountTest, HeedsTheLeastQuotaOnTheWayUp) {
  MountV2();
  Write("/proc/self/cgroup", "0::/outer/inner");
  Write("/sys/fs/cgroup/outer/inner/cpu.max", "500000 100000");
  Write("/sys/fs/cgroup/outer/cpu.max", "300000 100000");
  EXPECT_EQ(Usable(8), 3);
}

TEST_F(CpuCountTest, HeedsAQuotaOfV1) {
  MountV1();
  Write("/proc/self/cgroup", "4:memory:/m\n5:cpu,cpuacct:/app\n0::/");
  Write("/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us", "150000");
  Write("/sys/fs/cgroup/cpu/app/cpu.cfs_period_us", "50000");
  EXPECT_EQ(Usable(8), 3);
}

TEST_F(CpuCountTest, NoQuotaIsNoLimit) {
  MountV2();
  Write("/proc/self/cgroup", "0::/app");
  Write("/sys/fs/cgroup/app/cpu.max", "max 100000");
  EXPECT_EQ(Usable(8), 8);
  MountV1();
  Write("/proc/self/cgroup", "5:cpu,cpuacct:/app");
  Write("/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us", "-1");
  Write("/sys/fs/cgroup/cpu/app/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Usable(8), 8);
}

TEST_F(CpuCountTest, FilesThatMakeNoSenseAreNoLimit) {
  MountV2();
  Write("/proc/self/cgroup", "0::/app");
  for (const char* text : {"", "100000", "x y", "100000 0", "0 100000", "100000 100000 1"}) {
    Write("/sys/fs/cgroup/app/cpu.max", text);
    EXPECT_EQ(Usable(8), 8) << text;
  }
}

}  // namespace
}  // namespace mp
