// Many processes alive at once, and many threads that start and join them, by each start method.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "mp/queue.h"
#include "mp/start_method.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/mp/footprint.h"
#include "tests/mp/start_methods.h"
#include "tests/support/settings.h"
#include "tests/support/watchdog.h"

namespace mp {
namespace {

using testing::Footprint;
using testing::kSanitized;
using testing::PetWatchdog;
using testing::Stress;

// For each child there are two descriptors here, and two of the fork server.
int Many() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  const int wanted = Stress() ? 1000 : kSanitized ? 16 : 100;
  return static_cast<int>(std::min<rlim_t>((files.rlim_max - 50) / 2, static_cast<rlim_t>(wanted)));
}

class StartManyTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  StartManyTest() : many_(Many()) {
    StartOneAnew();
    before_ = Footprint::Measure();
  }
  ~StartManyTest() override {
    StartOneAnew();
    Footprint after = Footprint::Await(before_);
    // The table has grown, and stays.
    after.slots = before_.slots;
    EXPECT_EQ(after, before_);
    EXPECT_EQ(Check(), absl::OkStatus());
  }
  static ProcessOptions Options() { return {.start_method = GetParam()}; }
  // By a fork server of its own: the pipe of one that was asked for many at once has grown.
  static void StartOneAnew() {
    if (GetParam() == StartMethod::kForkserver) {
      for (const pid_t server : testing::OwnDescendants()) kill(server, SIGKILL);
    }
    Process first(Options(), [] {});
    OrDie(first.Start());
    first.Join();
  }

  const int many_;
  Footprint before_;
};

INSTANTIATE_TEST_SUITE_P(All, StartManyTest, testing::AllStartMethods(), testing::StartMethodName);

void TakeTurnAndStay(const Lock& turn, const RawValue<int>& count, const Queue<pid_t>& here,
                     const Event& end) {
  {
    const LockGuard guard(turn);
    *count = *count + 1;
  }
  OrDie(here.Put(getpid()));
  end.Wait();
}

TEST_P(StartManyTest, AllAreAliveAtOnceAndKnown) {
  const Lock lock;
  const RawValue<int> count(0);
  const Queue<pid_t> here;
  const Event end;
  std::vector<Process> children;
  std::set<pid_t> started;
  for (int i = 0; i < many_; ++i) {
    children.emplace_back(Options(), &TakeTurnAndStay, lock, count, here, end);
    const absl::Status status = children.back().Start();
    ASSERT_TRUE(status.ok()) << i << ": " << status;
    started.insert(children.back().pid());
    PetWatchdog();
  }
  std::set<pid_t> arrived;
  for (int i = 0; i < many_; ++i) {
    arrived.insert(OrDie(here.Get()));
    PetWatchdog();
  }
  EXPECT_EQ(arrived, started);
  EXPECT_EQ(ActiveChildren().size(), static_cast<size_t>(many_));
  std::set<pid_t> known;
  for (const ProcessInfo& process : AllProcesses()) known.insert(process.pid());
  EXPECT_TRUE(std::includes(known.begin(), known.end(), started.begin(), started.end()));
  end.Set();
  for (const Process& child : children) {
    child.Join();
    EXPECT_EQ(child.exitcode(), 0);
    PetWatchdog();
  }
  EXPECT_EQ(*count, many_);
  EXPECT_TRUE(ActiveChildren().empty());
}

TEST_P(StartManyTest, ThreadsStartThemAndJoinOneAnothers) {
  constexpr int kThreads = 8;
  const int each = Stress() ? 100 : kSanitized ? 2 : 4;
  const Lock lock;
  const RawValue<int> count(0);
  const size_t servers = before_.processes;  // one, or none
  // They want a fork server at once, where there is none.
  if (GetParam() == StartMethod::kForkserver) kill(testing::OwnDescendants().front(), SIGKILL);
  std::vector<std::vector<Process>> children(kThreads);
  std::barrier all_here(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      std::vector<Process>& own = children[static_cast<size_t>(i)];
      all_here.arrive_and_wait();
      for (int j = 0; j < each; ++j) {
        own.emplace_back(
            Options(),
            [](const Lock& turn, const RawValue<int>& number, int code) {
              const LockGuard guard(turn);
              *number = *number + 1;
              return code;
            },
            lock, count, i * 16 + j % 16);
        const absl::Status status = own.back().Start();
        ASSERT_TRUE(status.ok()) << status;
        PetWatchdog();
      }
      all_here.arrive_and_wait();
      for (int k = 0; k < kThreads; ++k) {
        // Each begins with another's.
        const auto whose = static_cast<size_t>((i + 1 + k) % kThreads);
        for (size_t j = 0; j < children[whose].size(); ++j) {
          const Process& child = children[whose][j];
          child.Join();
          EXPECT_EQ(child.exitcode(), static_cast<int>(whose * 16 + j % 16));
        }
        PetWatchdog();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(*count, kThreads * each);
  EXPECT_TRUE(ActiveChildren().empty());
  EXPECT_EQ(testing::OwnDescendants().size(), servers);
}

}  // namespace
}  // namespace mp
