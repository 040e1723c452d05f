// Workers of a pool are killed at random, and so is who has a pool: each task is done, or its loss
// is told; and nobody stays behind.

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/pool.h"
#include "shared/inspect.h"
#include "sync/event.h"
#include "tests/mp/footprint.h"
#include "tests/support/bury.h"
#include "tests/support/fork.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"
#include "tests/support/watchdog.h"

namespace mp {
namespace {

using testing::Footprint;
using testing::Inherited;
using testing::kSanitized;
using testing::PetWatchdog;
using testing::Seed;
using testing::Settle;
using testing::Stress;
using Reason = TaskFailure::Reason;

constexpr int kWorkers = 4;

int Kills() { return Stress() ? 2000 : kSanitized ? 20 : 100; }

// What tasks leave of themselves, in memory that they share with this process. Only what is touched
// takes memory.
struct Record {
  static constexpr size_t kMost = size_t{1} << 24;

  std::atomic<uint64_t> total{0};
  std::atomic<uint8_t> begun[kMost];  // of each task, how often

  std::atomic<uint8_t>& Of(int task) { return begun[static_cast<size_t>(task)]; }
};
Record& TheRecord() {
  static const Inherited<Record> record;
  return *record;
}

// In line, or in a block; each task has its own.
std::string Words(int task) {
  const auto size = static_cast<size_t>(task) * 37 % 300;
  return std::to_string(task) + std::string(task % 16 == 0 ? 20'000 : size, 'a');
}

std::string Work(int task, const std::string& words) {
  Record& record = TheRecord();
  record.Of(task).fetch_add(1);
  record.total.fetch_add(1);
  if (words != Words(task)) return "torn";
  return words + "y";
}
std::string WorkOn(const std::tuple<int, std::string>& item) {
  return Work(std::get<0>(item), std::get<1>(item));
}
bool IsDone(int task, const absl::StatusOr<std::string>& result) {
  return result.ok() && *result == Words(task) + "y";
}

// Kills workers of `pool`, one after the other, each when some task has begun since the last kill.
class Killer {
 public:
  Killer(const Pool& pool, int kills)
      : pool_(pool), left_(kills), thread_([this] {
          while (left_ > 0) Kill();
        }) {}
  ~Killer() { thread_.join(); }
  Killer(const Killer&) = delete;
  Killer& operator=(const Killer&) = delete;

  bool Done() const { return left_ == 0; }
  // Of all that were killed.
  std::set<pid_t> pids() const {
    const std::lock_guard lock(mutex_);
    return pids_;
  }

 private:
  void Kill() {
    constexpr uint64_t kLongestLife = 3000;  // microseconds
    while (TheRecord().total == seen_) sched_yield();
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % kLongestLife));
    const std::vector<pid_t> pids = pool_.worker_pids();
    if (pids.empty()) return;
    seen_ = TheRecord().total;
    const pid_t pid = pids[random_() % pids.size()];
    {
      const std::lock_guard lock(mutex_);
      pids_.insert(pid);
    }
    if (kill(pid, SIGKILL) == 0) --left_;
  }

  const Pool& pool_;
  std::atomic<int> left_;
  std::mt19937_64 random_{Seed(1)};
  uint64_t seen_ = 0;
  mutable std::mutex mutex_;
  std::set<pid_t> pids_;  // under it
  std::thread thread_;
};

class PoolStressTest : public ::testing::Test {
 protected:
  static constexpr int kTasks = 300;  // of a round

  // The next so many tasks.
  static std::vector<std::tuple<int, std::string>> NextItems() {
    static int next = 0;
    std::vector<std::tuple<int, std::string>> items;
    for (int i = 0; i < kTasks; ++i, ++next) items.emplace_back(next, Words(next));
    return items;
  }
  static int TaskOf(const std::tuple<int, std::string>& item) { return std::get<0>(item); }

  static PoolOptions Options(int retries) {
    PoolOptions options;
    options.workers = kWorkers;
    options.retries = retries;
    return options;
  }

  // Rounds of tasks in which so many workers are killed. Then the pool is whole, and gone without a
  // trace.
  static void Run(int retries, const std::function<void(Pool&, const Killer&)>& round) {
    TheRecord();  // before there are workers
    Pool(kWorkers).Map(&WorkOn, NextItems(), 1).value();
    testing::SettleUntilAlone();
    const DomainStats before = Stats();
    {
      Pool pool(Options(retries));
      {
        const Killer killer(pool, Kills());
        while (!killer.Done()) {
          PetWatchdog();
          round(pool, killer);
          if (HasFailure()) ADD_FAILURE() << "seed " << Seed(1);
        }
      }
      const auto items = NextItems();
      // The last deaths may be noticed in this one.
      static_cast<void>(pool.Map(&WorkOn, items, 1));
      Settle();
      const auto more = NextItems();
      const auto results = pool.Map(&WorkOn, more, 1);
      ASSERT_TRUE(results.ok()) << results.status();
      for (size_t i = 0; i < more.size(); ++i) EXPECT_TRUE(IsDone(TaskOf(more[i]), (*results)[i]));
      // Those that have died are replaced by who waits.
      while (pool.worker_pids().size() != static_cast<size_t>(kWorkers)) {
        EXPECT_TRUE(pool.Map(&WorkOn, NextItems(), 1).ok());
      }
    }
    testing::SettleUntilAlone();
    EXPECT_EQ(Stats().in_use, before.in_use);
    EXPECT_EQ(Check(), absl::OkStatus());
  }

  // Of a task without retries: it is done, and was begun once; or its loss is that of a worker
  // which was killed, and has lost no other.
  static void ExpectDoneOrLost(int task, const absl::StatusOr<std::string>& result,
                               const Killer& killer, std::set<pid_t>& told) {
    const int begun = TheRecord().Of(task);
    if (result.ok()) {
      EXPECT_TRUE(IsDone(task, result)) << task;
      EXPECT_EQ(begun, 1) << task;
      return;
    }
    EXPECT_LE(begun, 1) << task;
    EXPECT_TRUE(absl::IsAborted(result.status())) << result.status();
    const std::optional<TaskFailure> failure = GetTaskFailure(result.status());
    ASSERT_TRUE(failure.has_value());
    EXPECT_EQ(failure->reason, Reason::kKilled);
    EXPECT_EQ(failure->exitcode, -SIGKILL);
    EXPECT_EQ(failure->attempt, 1);
    EXPECT_EQ(killer.pids().count(failure->pid), 1u) << failure->pid;
    EXPECT_TRUE(told.insert(failure->pid).second) << failure->pid << " has lost two";
  }
};

constexpr int kManyRetries = 1000;

TEST_F(PoolStressTest, MapDoesAllThatIsRetried) {
  Run(kManyRetries, [](Pool& pool, const Killer&) {
    const auto items = NextItems();
    const auto results = pool.Map(&WorkOn, items, 3);
    ASSERT_TRUE(results.ok()) << results.status();
    ASSERT_EQ(results->size(), items.size());
    for (size_t i = 0; i < items.size(); ++i) EXPECT_TRUE(IsDone(TaskOf(items[i]), (*results)[i]));
  });
}

TEST_F(PoolStressTest, ImapUnorderedGivesEachOnce) {
  Run(kManyRetries, [](Pool& pool, const Killer&) {
    const auto items = NextItems();
    std::vector<int> given(items.size());
    PoolResults<std::string> results = pool.ImapUnordered(&WorkOn, items);
    while (!results.ended()) {
      const absl::StatusOr<std::string> result = results.Next();
      ASSERT_LT(results.index(), items.size());
      EXPECT_TRUE(IsDone(TaskOf(items[results.index()]), result)) << result.status();
      ++given[results.index()];
    }
    EXPECT_EQ(given, std::vector<int>(items.size(), 1));
  });
}

TEST_F(PoolStressTest, ApplyAsyncDoesAllThatIsRetried) {
  Run(kManyRetries, [](Pool& pool, const Killer&) {
    const auto items = NextItems();
    std::vector<Future<std::string>> futures;
    for (const auto& [task, words] : items) futures.push_back(pool.ApplyAsync(&Work, task, words));
    for (size_t i = 0; i < items.size(); ++i) {
      const absl::StatusOr<std::string> result = futures[i].Get();
      EXPECT_TRUE(IsDone(TaskOf(items[i]), result)) << result.status();
    }
  });
}

TEST_F(PoolStressTest, ImapUnorderedTellsWhichAreLost) {
  std::set<pid_t> told;
  Run(/*retries=*/0, [&](Pool& pool, const Killer& killer) {
    const auto items = NextItems();
    std::vector<int> given(items.size());
    PoolResults<std::string> results = pool.ImapUnordered(&WorkOn, items);
    while (!results.ended()) {
      const absl::StatusOr<std::string> result = results.Next();
      ASSERT_LT(results.index(), items.size());
      ExpectDoneOrLost(TaskOf(items[results.index()]), result, killer, told);
      ++given[results.index()];
    }
    EXPECT_EQ(given, std::vector<int>(items.size(), 1));
  });
  std::cout << told.size() << " tasks were lost\n";
}

TEST_F(PoolStressTest, ApplyAsyncTellsWhichAreLost) {
  std::set<pid_t> told;
  Run(/*retries=*/0, [&](Pool& pool, const Killer& killer) {
    const auto items = NextItems();
    std::vector<Future<std::string>> futures;
    for (const auto& [task, words] : items) futures.push_back(pool.ApplyAsync(&Work, task, words));
    for (size_t i = 0; i < items.size(); ++i) {
      ExpectDoneOrLost(TaskOf(items[i]), futures[i].Get(), killer, told);
    }
  });
  std::cout << told.size() << " tasks were lost\n";
}

// What a pool leaves ---------------------------------------------------------------------------

// Of those whose parents are dead this process is the parent, which so sees whether they end.
void AwaitOrphans() {
  while (!testing::OwnDescendants().empty()) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    sched_yield();
  }
}

// For ever: tasks with and without blocks and handles, at work, and that wait.
[[noreturn]] void UsePools() {
  for (;;) {
    Pool pool({.workers = 3, .max_tasks_per_child = 50, .retries = 1});
    for (int round = 0; round < 10; ++round) {
      std::vector<std::tuple<int, std::string, std::vector<Event>>> items;
      for (int i = 0; i < 40; ++i) {
        items.emplace_back(i, Words(i), std::vector<Event>(static_cast<size_t>(i % 3)));
      }
      pool.Map(
              [](const auto& item) {
                if (std::get<int>(item) == 13) raise(SIGKILL);
                return item;
              },
              items, 1)
          .IgnoreError();
    }
  }
}

TEST(PoolEndTest, WhoIsKilledTakesItsPoolsAlong) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  std::mt19937_64 random(Seed(1));
  std::optional<size_t> before;
  std::optional<size_t> objects;
  for (int i = 0; i < (Stress() ? 200 : 20); ++i) {
    PetWatchdog();
    // It has a domain from the first.
    const Event here;
    const pid_t pid = testing::ForkMortal([&] {
      here.Set();
      UsePools();
    });
    here.Wait();
    // All lengths are as likely.
    std::this_thread::sleep_for(
        std::chrono::microseconds(random() % (uint64_t{1} << random() % 19)));
    testing::KillAndReap(pid);
    AwaitOrphans();
    testing::SettleUntilAlone();
    const size_t in_use = Stats().in_use;
    const size_t count = ListObjects().size();
    EXPECT_EQ(in_use, before.value_or(in_use)) << Stats().ToString();
    EXPECT_EQ(count, objects.value_or(count));
    before = before.value_or(in_use);
    objects = objects.value_or(count);
    ASSERT_EQ(Check(), absl::OkStatus());
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(PoolEndTest, WorkersThatComeAndGoLeaveNothing) {
  // With a helper, which replaces who leaves at any time.
  Pool pool({.workers = 2, .max_tasks_per_child = 1, .retries = 1});
  const auto work = [&](int tasks) {
    std::vector<int> items(static_cast<size_t>(tasks));
    std::iota(items.begin(), items.end(), 0);
    const auto pids = pool.Map([](int) { return getpid(); }, items, 1);
    ASSERT_TRUE(pids.ok()) << pids.status();
    EXPECT_EQ(std::set<pid_t>(pids->begin(), pids->end()).size(), items.size());
  };
  // When all that have left are gone, and have successors, which are at rest.
  const auto measure = [&] {
    for (;; sched_yield()) {
      Settle();
      const std::vector<pid_t> pids = pool.worker_pids();
      if (!std::all_of(pids.begin(), pids.end(), &testing::WaitUntilAsleepInFutex)) continue;
      Footprint now = Footprint::Measure();
      // It was forked while another thread looked through a folder, or not.
      now.server_descriptors = 0;
      if (now.processes == 2 && now.members == 3) return now;
    }
  };
  const int tasks = Stress() ? 5000 : kSanitized ? 100 : 300;
  work(tasks);
  const Footprint before = measure();
  work(tasks);
  EXPECT_EQ(measure(), before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(PoolEndTest, ManyWorkersComeAndGo) {
  const int workers = Stress() ? 1000 : kSanitized ? 40 : 200;
  rlimit descriptors;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  descriptors.rlim_cur = descriptors.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
  std::vector<int> items(static_cast<size_t>(5 * workers));
  std::iota(items.begin(), items.end(), 0);
  const auto work = [&] {
    PetWatchdog();
    Pool pool(workers);
    const auto results = pool.Map([](int x) { return x + 1; }, items, 1);
    ASSERT_TRUE(results.ok()) << results.status();
    for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ((*results)[i], items[i] + 1);
    EXPECT_EQ(pool.worker_pids().size(), static_cast<size_t>(workers));
  };
  work();
  testing::SettleUntilAlone();
  const Footprint before = Footprint::Measure();
  work();
  EXPECT_EQ(Footprint::Await(before), before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
