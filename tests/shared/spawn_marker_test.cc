// What a process learns from its environment about how it came to be: only what is meant for it.

#include "shared/internal/spawn_marker.h"

#include <gtest/gtest.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/child.h"

namespace mp::internal {
namespace {

using testing::Child;

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

class SpawnMarkerTest : public ::testing::Test {
 protected:
  ~SpawnMarkerTest() override { SpawnMarker::RemoveFromEnvironment(); }

  // In nanoseconds of CLOCK_BOOTTIME.
  static uint64_t Now() {
    timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
  }
  // Of a process `pid`, as it writes it down.
  static std::string Variable(const SpawnMarker& marker, pid_t pid, uint64_t time = Now()) {
    std::string variable = marker.ToVariable();
    SpawnMarker::SetProcess(variable.data(), pid, time);
    return variable;
  }
  // What this process learns, in whose environment that is.
  static std::optional<SpawnMarker> Learned(const std::string& variable) {
    const size_t equals = variable.find('=');
    setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1);
    return SpawnMarker::FromEnvironment();
  }
  static std::string Name() {
    const std::string variable = kMarker.ToVariable();
    return variable.substr(0, variable.find('=') + 1);
  }

  static constexpr uint64_t kSecond = 1'000'000'000;
  static constexpr SpawnMarker kMarker = {.fd = 3, .id = 4, .payload = 5, .family = 6};
};

TEST_F(SpawnMarkerTest, ItsProcessLearnsAllOfIt) {
  for (const SpawnMarker& marker :
       {kMarker, SpawnMarker{0, 0, 0, 0},
        SpawnMarker{std::numeric_limits<int>::max(), kMost, kMost, kMost},
        SpawnMarker{1023, uint64_t{1} << 63, 0x550000011000, 0xf00d}}) {
    const std::optional<SpawnMarker> learned = Learned(Variable(marker, getpid()));
    ASSERT_TRUE(learned.has_value()) << marker.ToVariable();
    EXPECT_EQ(learned->fd, marker.fd);
    EXPECT_EQ(learned->id, marker.id);
    EXPECT_EQ(learned->payload, marker.payload);
    EXPECT_EQ(learned->family, marker.family);
  }
}

TEST_F(SpawnMarkerTest, AnotherProcessLearnsNothing) {
  for (const pid_t pid : {getpid() + 1, getpid() - 1, getpid() * 10, getppid(), 1,
                          std::numeric_limits<pid_t>::max()}) {
    EXPECT_FALSE(Learned(Variable(kMarker, pid)).has_value()) << pid;
  }
  // Nor does who has one that its process has not completed.
  EXPECT_FALSE(Learned(kMarker.ToVariable()).has_value());
}

TEST_F(SpawnMarkerTest, AnotherProcessWithTheSamePidLearnsNothing) {
  // That it ran longer ago than this one.
  for (const uint64_t time : {uint64_t{0}, uint64_t{1}, kSecond}) {
    EXPECT_FALSE(Learned(Variable(kMarker, getpid(), time)).has_value()) << time;
  }
  // A child that has just begun, of what its pid's last process has written two ticks before.
  const uint64_t before = Now();
  while (Now() < before + kSecond / 50) {
  }
  Child child([before] {
    EXPECT_FALSE(Learned(Variable(kMarker, getpid(), before)).has_value());
    EXPECT_TRUE(Learned(Variable(kMarker, getpid())).has_value());
  });
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(SpawnMarkerTest, TheSameVariableIsWrittenAnewForEachProcess) {
  std::string variable = kMarker.ToVariable();
  SpawnMarker::SetProcess(variable.data(), std::numeric_limits<pid_t>::max(), kMost);
  EXPECT_FALSE(Learned(variable).has_value());
  SpawnMarker::SetProcess(variable.data(), getpid(), Now());
  EXPECT_TRUE(Learned(variable).has_value());
  EXPECT_EQ(variable.size(), kMarker.ToVariable().size());
}

TEST_F(SpawnMarkerTest, OnceRemovedItIsGone) {
  EXPECT_TRUE(Learned(Variable(kMarker, getpid())).has_value());
  SpawnMarker::RemoveFromEnvironment();
  EXPECT_FALSE(SpawnMarker::FromEnvironment().has_value());
  SpawnMarker::RemoveFromEnvironment();
}

TEST_F(SpawnMarkerTest, OnlyItsOwnNameIsIt) {
  EXPECT_TRUE(SpawnMarker::IsVariable(kMarker.ToVariable()));
  EXPECT_TRUE(SpawnMarker::IsVariable(Name()));
  EXPECT_FALSE(SpawnMarker::IsVariable(""));
  EXPECT_FALSE(SpawnMarker::IsVariable("MP_SPAWNED"));
  EXPECT_FALSE(SpawnMarker::IsVariable("MP_SPAWNED_BY=me"));
  EXPECT_FALSE(SpawnMarker::IsVariable("OLD_MP_SPAWNED=1"));
}

TEST_F(SpawnMarkerTest, WhatSomebodyElseHasWrittenSaysNothing) {
  const std::string pid = absl::StrCat(getpid(), ":");
  const std::string self = absl::StrCat(pid, Now(), ":");
  ASSERT_TRUE(Learned(absl::StrCat(Name(), self, "3:4:5:6")).has_value());
  for (const std::string& value : {
           std::string(),
           std::string("1"),
           std::string("yes"),
           std::to_string(getpid()),
           pid,
           pid + "3:4:5:6",  // as if there were no time
           self,
           self + "3",
           self + "3:4:5",
           self + "3:4:5:",
           self + "3:4:5:x",
           self + "x:4:5:6",
           self + ":4:5:6",
           self + "3:4:5:6:7",
           self + "3:4:5:6 ",
           self + "3:4:5:6\n",
           self + "3,4,5,6",
           self + "-1:4:5:6",
           self + "99999999999:4:5:6",
           self + "3:4:5:10000000000000000",
           self + "3:10000000000000000:5:6",
           self + "3:4:-5:6",
           self + "3:0x4:5:6",
           self + " 3:4:5:6",
           " " + self + "3:4:5:6",
           "+" + self + "3:4:5:6",
           "-" + self + "3:4:5:6",
           pid + "-1:3:4:5:6",
           pid + "99999999999999999999:3:4:5:6",
           std::string(100000, '9') + ":3:4:5:6",
           std::string(100000, ':'),
           std::string("%s%n%s%n"),
       }) {
    EXPECT_FALSE(Learned(Name() + value).has_value()) << value.substr(0, 100);
  }
}

}  // namespace
}  // namespace mp::internal
