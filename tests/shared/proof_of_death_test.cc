// What proves a death, and what does not.

#include "shared/internal/proof_of_death.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "shared/domain.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/settings.h"

namespace mp::internal {
namespace {

using mp::testing::Child;
using mp::testing::ForkMortal;
using mp::testing::kSanitized;

uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

const DomainHeader& Header() { return (*Domain::Get())->header(); }

bool Quick(pid_t pid, uint64_t started) { return IsDead(pid, started, Header(), Evidence::kQuick); }
bool Thorough(pid_t pid, uint64_t started) {
  return IsDead(pid, started, Header(), Evidence::kThorough);
}

void WaitUntilItEnded(pid_t pid) {
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
}

class ProofOfDeathTest : public ::testing::Test {
 protected:
  ProofOfDeathTest() { (void)Header(); }
};

TEST_F(ProofOfDeathTest, ThisProcessLives) {
  EXPECT_FALSE(Quick(getpid(), Now()));
  EXPECT_FALSE(Thorough(getpid(), Now()));
}

TEST_F(ProofOfDeathTest, WhoSleepsOrIsStoppedLives) {
  Child child([](auto& step) { step("here"); });
  ASSERT_TRUE(child.RunTo("here"));
  const uint64_t started = Now();
  EXPECT_FALSE(Thorough(child.pid(), started));
  child.Stop();
  EXPECT_FALSE(Quick(child.pid(), started));
  EXPECT_FALSE(Thorough(child.pid(), started));
  child.Continue();
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(ProofOfDeathTest, WhoIsKilledIsDeadBeforeItIsReaped) {
  const pid_t pid = ForkMortal([] { pause(); });
  const uint64_t started = Now();
  kill(pid, SIGKILL);
  WaitUntilItEnded(pid);
  EXPECT_EQ(kill(pid, 0), 0);  // which proves nothing
  EXPECT_TRUE(Quick(pid, started));
  EXPECT_TRUE(Thorough(pid, started));
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_TRUE(Quick(pid, started));
  EXPECT_TRUE(Thorough(pid, started));
}

TEST_F(ProofOfDeathTest, WhoseMainThreadEndedLives) {
  Child child([](auto& step) {
    std::thread other([&step] {
      std::string state;
      while (state != "Z") {
        std::string pid, name;
        std::ifstream("/proc/self/stat") >> pid >> name >> state;
      }
      step("alone");
      _exit(0);
    });
    syscall(SYS_exit, 0);  // this thread alone
  });
  const uint64_t started = Now();
  ASSERT_TRUE(child.RunTo("alone"));
  EXPECT_FALSE(Quick(child.pid(), started));
  EXPECT_FALSE(Thorough(child.pid(), started));
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(ProofOfDeathTest, WhoCalledExecveIsDead) {
  const pid_t pid = ForkMortal([] {
    execl("/bin/sleep", "sleep", "1000", nullptr);
    _exit(1);
  });
  const uint64_t started = Now();
  // Its map is gone some time before the call is over.
  while (!Thorough(pid, started)) std::this_thread::yield();
  EXPECT_FALSE(Quick(pid, started));
  mp::testing::KillAndReap(pid);
}

TEST_F(ProofOfDeathTest, APidThatIsAnothersNowProvesIt) {
  Child child([](auto& step) { step("here"); });
  ASSERT_TRUE(child.RunTo("here"));
  // Long before there was this one.
  const uint64_t started = Now() - 1'000'000'000;
  EXPECT_FALSE(Quick(child.pid(), started));
  EXPECT_TRUE(Thorough(child.pid(), started));
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(ProofOfDeathTest, AThreadsIdIsNoProcess) {
  Child child([](auto& step) { step("here"); });
  ASSERT_TRUE(child.RunTo("here"));
  std::thread([] { EXPECT_TRUE(Quick(gettid(), Now())); }).join();
  EXPECT_EQ(child.Finish(), 0);
}

// Gigabytes take the kernel a while to give back; nothing of the program runs meanwhile.
TEST_F(ProofOfDeathTest, WhoStillGivesItsMemoryBackIsDead) {
  constexpr size_t kSize = kSanitized ? size_t{64} << 20 : size_t{1} << 30;
  Child child([](auto& step) {
    void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    std::memset(memory, 1, kSize);
    step("grown");
    pause();
  });
  ASSERT_TRUE(child.RunTo("grown"));
  const uint64_t started = Now();
  EXPECT_FALSE(Thorough(child.pid(), started));
  kill(child.pid(), SIGKILL);
  // At the latest when it can be reaped, which the quick evidence waits for.
  while (!Thorough(child.pid(), started)) std::this_thread::yield();
  child.Kill();
}

TEST_F(ProofOfDeathTest, WithoutDescriptorsNobodyIsDead) {
  Child child([](auto& step) { step("here"); });
  ASSERT_TRUE(child.RunTo("here"));
  const uint64_t started = Now();
  const pid_t ended = ForkMortal([] {});
  ASSERT_EQ(waitpid(ended, nullptr, 0), ended);
  Child starved([&] {
    const rlimit none = {0, 0};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_FALSE(Quick(child.pid(), started));
    EXPECT_FALSE(Thorough(child.pid(), started));
    EXPECT_TRUE(Quick(ended, started));  // there is no process of this pid at all
    EXPECT_TRUE(AnyUnknownMaps(Header(), started, [](pid_t) { return false; }));
  });
  EXPECT_EQ(starved.Finish(), 0);
  EXPECT_EQ(child.Finish(), 0);
}

// A root that has no /proc, or that of another PID namespace, tells nothing.
TEST_F(ProofOfDeathTest, WhoIsNotShownLives) {
  const std::string root = std::filesystem::path(::testing::TempDir()) / "empty_root";
  std::filesystem::create_directories(root);
  const pid_t living = getpid();
  const uint64_t since = Now();
  Child child([&] {
    if (chroot(root.c_str()) != 0) return;  // not permitted
    EXPECT_FALSE(Thorough(living, since));
    EXPECT_TRUE(AnyUnknownMaps(Header(), 0, [](pid_t) { return true; }));
    EXPECT_TRUE(CanProveDeaths());
  });
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(ProofOfDeathTest, FindsWhoMapsTheDomain) {
  const uint64_t since = Now();
  // Who is there before the child; among them what watches this test.
  std::set<pid_t> known;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    known.insert(static_cast<pid_t>(atoi(entry.path().filename().c_str())));
  }
  auto is_known = [&](pid_t pid) { return known.contains(pid); };
  EXPECT_FALSE(AnyUnknownMaps(Header(), since, is_known));
  Child child([](auto& step) { step("here"); });
  ASSERT_TRUE(child.RunTo("here"));
  EXPECT_TRUE(AnyUnknownMaps(Header(), since, is_known));
  known.insert(child.pid());
  EXPECT_FALSE(AnyUnknownMaps(Header(), since, is_known));
  known.erase(child.pid());
  // Not one that was there before.
  EXPECT_FALSE(AnyUnknownMaps(Header(), Now() + 1'000'000'000, is_known));
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_FALSE(AnyUnknownMaps(Header(), since, is_known));
}

}  // namespace
}  // namespace mp::internal
