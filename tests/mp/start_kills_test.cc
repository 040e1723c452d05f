// Children, parents and the fork server are killed at random moments: nothing stays behind, and the
// next start works.

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "mp/on_parent_exit.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "mp/queue.h"
#include "mp/start_method.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/mp/footprint.h"
#include "tests/mp/start_methods.h"
#include "tests/support/bury.h"
#include "tests/support/pause.h"
#include "tests/support/settings.h"
#include "tests/support/watchdog.h"

namespace mp {
namespace {

using testing::Footprint;
using testing::kSanitized;
using testing::PetWatchdog;
using testing::Stress;

int Kills() { return Stress() ? 1000 : kSanitized ? 10 : 40; }

// Random moments, from microseconds to as long as a program takes to begin: all lengths of them
// are as likely.
class Moments {
 public:
  explicit Moments(int longest) : longest_(longest) {}
  void Wait() {
    usleep(static_cast<useconds_t>(random_() % (uint64_t{1} << random_() % longest_)));
  }

 private:
  const uint64_t longest_;  // 2 to the power of this, in microseconds
  std::mt19937_64 random_{testing::Seed(1)};
};

class StartKillsTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  static Process Start(auto&&... target) {
    Process child({.start_method = GetParam()}, std::forward<decltype(target)>(target)...);
    OrDie(child.Start());
    return child;
  }
  // Of what a round of kills leaves, when another one has been before.
  static void ExpectNothingIsLeftBy(const std::function<void(int kills)>& round) {
    Start([] {}).Join();
    round(3);
    testing::Settle();
    const Footprint before = Footprint::Measure();
    round(Kills());
    EXPECT_EQ(Footprint::Await(before), before);
    EXPECT_EQ(Check(), absl::OkStatus());
  }
};

INSTANTIATE_TEST_SUITE_P(All, StartKillsTest, testing::AllStartMethods(), testing::StartMethodName);

// What a child does until it is killed: much that its death has to undo.
void Work(const Lock& turn, const Queue<RawValue<int>>& queue) {
  for (int i = 0;; ++i) {
    const LockGuard guard(turn);
    static_cast<void>(queue.TryPut(RawValue<int>(i)));
  }
}

TEST_P(StartKillsTest, ChildrenLeaveNothing) {
  Moments moments(16);
  ExpectNothingIsLeftBy([&](int kills) {
    const Lock lock;
    const Queue<RawValue<int>> queue(8);
    for (int i = 0; i < kills; ++i) {
      const Process child = Start(&Work, lock, queue);
      moments.Wait();
      child.Kill();
      child.Join();
      ASSERT_EQ(child.exitcode(), -SIGKILL);
      // Whatever it died of, it is the next one's turn.
      const LockGuard guard(lock);
      while (queue.TryGet().ok()) {
      }
      PetWatchdog();
    }
  });
}

// Parents ----------------------------------------------------------------------------------------

// What dies with its parent is not told to end.
void Stay(const Event& end, OnParentExit policy) {
  if (policy == OnParentExit::kKill) testing::PauseForEver();
  end.Wait();
}

void HaveChildren(StartMethod method, const Event& end) {
  std::vector<Process> children;
  for (const OnParentExit policy :
       {OnParentExit::kKill, OnParentExit::kWait, OnParentExit::kDetach}) {
    children.emplace_back(ProcessOptions{.start_method = method, .on_parent_exit = policy}, &Stay,
                          end, policy);
    OrDie(children.back().Start());
  }
  testing::PauseForEver();
}

// Of those whose parents are dead this process is the parent, which so sees whether they end.
// The fork server's are reaped there.
void AwaitOrphans(size_t left) {
  for (;;) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (testing::OwnDescendants().size() <= left) return;
    sched_yield();
  }
}

TEST_P(StartKillsTest, ParentsAndTheirChildrenLeaveNothing) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  Start([] {}).Join();
  const size_t server = testing::OwnDescendants().size();  // one, or none
  Moments moments(GetParam() == StartMethod::kSpawn ? 18 : 15);
  ExpectNothingIsLeftBy([&](int kills) {
    for (int i = 0; i < kills; ++i) {
      const Event end;
      const Process parent = Start(&HaveChildren, GetParam(), end);
      moments.Wait();
      parent.Kill();
      parent.Join();
      ASSERT_EQ(parent.exitcode(), -SIGKILL);
      end.Set();  // for those that live on
      PetWatchdog();
      // All others end, if not at once. Few are left to do so: many need more slots than there
      // were.
      AwaitOrphans(server + 8);
      testing::Settle();
    }
    AwaitOrphans(server);
  });
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

// The fork server --------------------------------------------------------------------------------

// The server, at whatever moment of its life, or of its birth.
void KillServer() {
  const std::vector<pid_t> below = testing::OwnDescendants();
  if (!below.empty()) kill(below.front(), SIGKILL);
}

int Count(const Lock& turn, const RawValue<int>& runs) {
  const LockGuard guard(turn);
  *runs = *runs + 1;
  return 7;
}

TEST(ForkserverKillsTest, AStartWorksOrSaysWhyNotAndTheNextOneWorks) {
  const Lock lock;
  const RawValue<int> runs(0);
  int started = 0;
  int failed = 0;
  std::atomic<int> calls = 0;
  // Whether it was started; it has ended then.
  auto start = [&] {
    Process child({.start_method = StartMethod::kForkserver}, &Count, lock, runs);
    const absl::Status status = child.Start();
    ++calls;
    if (!status.ok()) {
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      EXPECT_EQ(child.pid(), 0);
      ++failed;
      return false;
    }
    ++started;
    child.Join();
    // Nobody knows how it ended if the server was killed meanwhile.
    EXPECT_TRUE(child.exitcode() == 7 || child.exitcode() == 255) << *child.exitcode();
    return child.exitcode() == 7;
  };
  ASSERT_TRUE(start());
  const Footprint before = Footprint::Measure();
  std::atomic<bool> done = false;
  std::thread killer([&] {
    Moments moments(17);
    for (int i = 0; i < Kills(); ++i) {
      // Of every second start the server is killed whenever it is, of the others once at most.
      const int before_kill = calls;
      while (i % 2 == 0 && calls == before_kill) sched_yield();
      moments.Wait();
      KillServer();
      PetWatchdog();
    }
    done = true;
  });
  while (!done) start();
  killer.join();
  EXPECT_TRUE(start());
  printf("%d started, %d not\n", started, failed);
  // Whatever was said to be started has run, once, and nothing else has.
  EXPECT_EQ(*runs, started);
  EXPECT_EQ(Footprint::Await(before), before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
