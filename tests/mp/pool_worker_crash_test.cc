// A worker of a Pool dies at every instruction between one task and the next, on its way to the
// first and from the last: of its tasks one at most is lost, others are not touched, another worker
// takes its place, and of it nothing is left.

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/pool.h"
#include "mp/start_method.h"
#include "shared/inspect.h"
#include "sync/event.h"
#include "tests/support/bury.h"
#include "tests/support/fuse.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"
#include "tests/support/watchdog.h"

namespace mp {
namespace {

using testing::Fuse;
using testing::Inherited;
using testing::PetWatchdog;
using testing::Settle;
using testing::Stress;
using Reason = TaskFailure::Reason;

// The number of a task, some bytes, and handles.
using Payload = std::tuple<int, std::string, std::vector<Event>>;

Fuse& TheFuse() {
  static const Inherited<Fuse> fuse;
  return *fuse;
}

// What tasks with these numbers do.
enum Number { kLights, kPutsOut, kPlain, kExits, kDies, kMore };

// Where else it is lit: by the next process that is forked, or has come to its initializer.
enum class Site { kNone, kFork, kInitializer };
std::atomic<Site>& LitAt() {
  static const Inherited<std::atomic<Site>> site(Site::kNone);
  return *site;
}
void LightAt(Site site) {
  if (LitAt() == site) TheFuse().Light();
}

Payload Answer(const Payload& asked) {
  Payload answer = asked;
  std::get<std::string>(answer) += "y";
  const int number = std::get<int>(asked);
  if (number == kPutsOut && TheFuse().pid() == getpid()) TheFuse().PutOut();
  if (number == kLights || number == kExits) TheFuse().Light();
  if (number == kExits) exit(3);
  if (number == kDies) raise(SIGKILL);
  return answer;
}

// Whether that is the answer to `asked`.
bool IsAnswer(const absl::StatusOr<Payload>& answer, const Payload& asked) {
  return answer.ok() && std::get<int>(*answer) == std::get<int>(asked) &&
         std::get<std::string>(*answer) == std::get<std::string>(asked) + "y" &&
         std::get<std::vector<Event>>(*answer).size() == std::get<std::vector<Event>>(asked).size();
}

class PoolWorkerCrashTest : public ::testing::Test {
 protected:
  struct Load {
    size_t bytes;
    size_t handles;
  };
  // In line; in a block; in a block that has handles.
  static constexpr Load kLoads[] = {{4, 0}, {1000, 0}, {300, 2}};

  static Payload Ask(int number, const Load& load) {
    return {number, std::string(load.bytes, 'x'), std::vector<Event>(load.handles)};
  }
  static PoolOptions One() {
    PoolOptions options;
    options.workers = 1;
    options.start_method = StartMethod::kFork;
    return options;
  }

  // Runs `scene`, which has one worker light the fuse, with a fuse of every length.
  static void Sweep(const std::string& name, const std::function<void()>& scene) {
    int64_t instructions;
    ASSERT_NO_FATAL_FAILURE(Count(scene, instructions));
    SweepPart(name, scene, 0, instructions, Stress() ? 2000 : 6);
  }
  // The same around the instruction from which on its first task is done.
  static void SweepAroundResult(const std::string& name, const std::function<void()>& scene) {
    int64_t done;
    ASSERT_NO_FATAL_FAILURE(Count(scene, done));
    for (int64_t lost = 0; done - lost > 1;) {
      const int64_t middle = lost + (done - lost) / 2;
      ASSERT_NO_FATAL_FAILURE(RunScene(scene, middle));
      (first_is_lost_ ? lost : done) = middle;
    }
    SweepPart(name, scene, std::max<int64_t>(0, done - 300), done, Stress() ? 300 : 8);
    SweepPart(name, scene, done, done + 150, Stress() ? 150 : 5);
  }

  static void Count(const std::function<void()>& scene, int64_t& instructions) {
    TheFuse().Lay(Fuse::kEndless);
    scene();
    instructions = TheFuse().burnt();
    ASSERT_GT(instructions, 0);
    testing::SettleUntilAlone();
    in_use_ = Stats().in_use;
  }
  static void SweepPart(const std::string& name, const std::function<void()>& scene, int64_t begin,
                        int64_t end, int64_t most) {
    std::cout << "worker crash sweep \"" << name << "\": " << std::flush;
    const int64_t points = std::min(end - begin, most);
    std::mt19937_64 random(testing::Seed(1));
    for (int64_t point = 0; point < points; ++point) {
      const int64_t first = begin + point * (end - begin) / points;
      const int64_t next = begin + (point + 1) * (end - begin) / points;
      const auto length =
          first + static_cast<int64_t>(random() % static_cast<uint64_t>(next - first));
      SCOPED_TRACE(name);
      ASSERT_NO_FATAL_FAILURE(RunScene(scene, length));
    }
    std::cout << "instructions " << begin << " to " << end << ", " << points << " kills\n";
  }
  static void RunScene(const std::function<void()>& scene, int64_t length) {
    SCOPED_TRACE(::testing::Message() << "killed after " << length << " instructions");
    PetWatchdog();
    TheFuse().Lay(length);
    scene();
    testing::SettleUntilAlone();
    EXPECT_EQ(Stats().in_use, in_use_);
    ASSERT_FALSE(::testing::Test::HasFailure());
  }

  // All are answered, but, if a worker died that had it, one that says so.
  static void ExpectOneIsLostAtMost(const std::vector<Future<Payload>>& futures,
                                    const std::vector<Payload>& asked) {
    int lost = 0;
    first_is_lost_ = !futures[0].Get().ok();
    for (size_t i = 0; i < futures.size(); ++i) {
      const absl::StatusOr<Payload> answer = futures[i].Get();
      if (answer.ok()) {
        EXPECT_TRUE(IsAnswer(answer, asked[i])) << i;
        continue;
      }
      ++lost;
      EXPECT_TRUE(absl::IsAborted(answer.status())) << answer.status();
      const std::optional<TaskFailure> failure = GetTaskFailure(answer.status());
      ASSERT_TRUE(failure.has_value());
      EXPECT_EQ(failure->pid, TheFuse().pid());
      EXPECT_EQ(failure->attempt, 1);
      EXPECT_TRUE(failure->reason == Reason::kKilled || failure->reason == Reason::kExited);
      // Burnt down; or where signals were blocked; or it came to its end.
      const std::set<int> exitcodes = {-SIGKILL, -SIGTRAP, 3};
      EXPECT_EQ(exitcodes.count(failure->exitcode), 1u) << failure->exitcode;
    }
    EXPECT_LE(lost, 1);
  }
  // With tasks that nobody disturbs; in the end all its workers are there.
  static void ExpectItWorks(Pool& pool) {
    do {
      for (const Load& load : kLoads) {
        const Payload asked = Ask(kPlain, load);
        EXPECT_TRUE(IsAnswer(pool.Apply(&Answer, asked), asked));
      }
    } while (pool.worker_pids().size() != static_cast<size_t>(pool.workers()));
  }
  // When its only worker, which stays, is at rest; nullopt: it has others. (What workers keep for
  // themselves depends on what they have done.)
  static std::optional<size_t> InUse(const Pool& pool, const PoolOptions& options) {
    if (options.workers != 1 || options.max_tasks_per_child != 0) return std::nullopt;
    while (testing::AllIds().size() != 2) Settle();
    EXPECT_TRUE(testing::WaitUntilAsleepInFutex(pool.worker_pids().at(0)));
    return Stats().in_use;
  }
  // It works on, and nothing is left of who died: if not before it has seen the death.
  static void ExpectAllIsAsBefore(Pool& pool, const PoolOptions& options,
                                  std::optional<size_t> in_use) {
    TheFuse().PutOut();
    ExpectItWorks(pool);
    Settle();
    ExpectItWorks(pool);
    EXPECT_EQ(InUse(pool, options), in_use);
    EXPECT_EQ(Check(), absl::OkStatus());
  }
  static inline size_t in_use_ = 0;  // when a scene is over
  static inline bool first_is_lost_ = false;

  // What is asked while a worker dies, in a pool that has worked before, and works on. `sleeps`: it
  // sleeps, or has died, before there is more to do than the first.
  static void Scene(const PoolOptions& options, const std::vector<Payload>& asked,
                    bool sleeps = false) {
    Pool pool(options);
    ExpectItWorks(pool);
    const std::optional<size_t> before = InUse(pool, options);
    {
      std::vector<Future<Payload>> futures;
      for (const Payload& payload : asked) {
        futures.push_back(pool.ApplyAsync(&Answer, payload));
        if (!sleeps || futures.size() > 1) continue;
        while (TheFuse().pid() == 0) sched_yield();
        static_cast<void>(testing::WaitUntilAsleepInFutex(TheFuse().pid()));
      }
      ExpectOneIsLostAtMost(futures, asked);
    }
    ExpectAllIsAsBefore(pool, options, before);
  }
  // The same; it is one that has taken the place of one that died.
  static void SceneOfBirth(const PoolOptions& options, Site site) {
    const Load& load = kLoads[1];
    const std::vector<Payload> asked = {Ask(kPutsOut, load), Ask(kMore, load)};
    Pool pool(options);
    ExpectItWorks(pool);
    const std::optional<size_t> before = InUse(pool, options);
    LitAt() = site;
    {
      EXPECT_TRUE(absl::IsAborted(pool.Apply(&Answer, Ask(kDies, load)).status()));
      std::vector<Future<Payload>> futures;
      for (const Payload& payload : asked) futures.push_back(pool.ApplyAsync(&Answer, payload));
      ExpectOneIsLostAtMost(futures, asked);
    }
    LitAt() = Site::kNone;
    ExpectAllIsAsBefore(pool, options, before);
  }
};

std::string Words(const char* what, size_t bytes, size_t handles) {
  return absl::StrCat(what, ", ", bytes, " bytes, ", handles, " handles");
}

// It hands in what came of one, and takes the next.
TEST_F(PoolWorkerCrashTest, BetweenTwoTasks) {
  for (const Load& load : kLoads) {
    Sweep(Words("between two tasks", load.bytes, load.handles), [&] {
      Scene(One(), {Ask(kLights, load), Ask(kPutsOut, load), Ask(kMore, load)});
    });
  }
}

// It is lost, and then done, without anything between.
TEST_F(PoolWorkerCrashTest, WhileItHandsInAResult) {
  for (const Load& load : {kLoads[1]}) {
    SweepAroundResult(Words("a result", load.bytes, load.handles), [&] {
      Scene(One(), {Ask(kLights, load), Ask(kPutsOut, load), Ask(kMore, load)});
    });
  }
}

// It hands in what came of one, and sleeps until there is the next.
TEST_F(PoolWorkerCrashTest, WhileItWaits) {
  const Load load = kLoads[1];
  Sweep(Words("while it waits", load.bytes, load.handles), [&] {
    Scene(One(), {Ask(kLights, load), Ask(kPutsOut, load), Ask(kMore, load)}, /*sleeps=*/true);
  });
}

// Two sleep; what is put is for the one of them that lives.
TEST_F(PoolWorkerCrashTest, WhileAnotherWaitsToo) {
  PoolOptions options = One();
  options.workers = 2;
  const Load load = kLoads[0];
  Sweep(Words("while two wait", load.bytes, load.handles), [&] {
    // The one that has lit it may get none of these, and is put out by nobody.
    Scene(options, {Ask(kLights, load), Ask(kPutsOut, load), Ask(kPutsOut, load)}, /*sleeps=*/true);
  });
}

// It leaves with its last task.
TEST_F(PoolWorkerCrashTest, WhileItLeaves) {
  PoolOptions options = One();
  options.max_tasks_per_child = 1;
  for (const Load& load : {kLoads[0], kLoads[2]}) {
    Sweep(Words("while it leaves", load.bytes, load.handles), [&] {
      Scene(options, {Ask(kLights, load), Ask(kMore, load), Ask(kMore, load)});
    });
  }
}

TEST_F(PoolWorkerCrashTest, WhileATaskExits) {
  const Load load = kLoads[1];
  Sweep(Words("while a task exits", load.bytes, load.handles), [&] {
    Scene(One(), {Ask(kExits, load), Ask(kMore, load), Ask(kMore, load)});
  });
}

TEST_F(PoolWorkerCrashTest, OnItsWayFromItsBirth) {
  // Of all processes that are forked here.
  static const int registered = pthread_atfork(nullptr, nullptr, [] { LightAt(Site::kFork); });
  ASSERT_EQ(registered, 0);
  Sweep("from birth to its first task", [] { SceneOfBirth(One(), Site::kFork); });
}

TEST_F(PoolWorkerCrashTest, OnItsWayFromItsInitializer) {
  PoolOptions options = One();
  options.initializer = {[] { LightAt(Site::kInitializer); }};
  Sweep("from its initializer to its first task",
        [&] { SceneOfBirth(options, Site::kInitializer); });
}

}  // namespace
}  // namespace mp
