// A process is killed at every instruction of what can be done with a JoinableQueue, and at random.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/joinable_queue.h"
#include "mp/or_die.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/inherited.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashReport;
using testing::Inherited;
using testing::KillerOptions;
using testing::KillerReport;
using testing::kSanitized;
using testing::RunCrashSweep;
using testing::RunKiller;
using testing::Settle;
using testing::Stress;
using testing::Worker;

constexpr size_t kShort = 40;
constexpr size_t kLong = 20'000;  // in a block
constexpr absl::Duration kLongEnough = absl::Seconds(100);

using Item = std::string;
using Queue = JoinableQueue<Item>;

Item MakeItem(int number, size_t size) {
  Item item = absl::StrCat(number, " ");
  item.resize(size, 'x');
  return item;
}
int NumberOf(const Item& item) { return std::stoi(item); }

// How far the victim came.
struct Seen {
  volatile int begun = 0;
  volatile int done = 0;
};

class JoinableQueueCrashTest : public ::testing::Test {
 protected:
  // Items 0, 1 ... of `size` that are in it.
  void SetUpPoint(int items, size_t size, size_t maxsize) {
    queue_.reset();
    lease_.reset();
    Settle();
    internal::LaneForNotes();
    // What a victim left, whoever looked after it, is gone with its queue.
    const size_t in_use = Stats().in_use;
    if (before_.has_value()) {
      EXPECT_EQ(in_use, *before_);
    }
    before_ = in_use;
    queue_.emplace(maxsize, JoinableQueueOptions{.max_deliveries = max_deliveries_});
    for (int i = 0; i < items; ++i) OrDie(queue_->Put(MakeItem(i, size)));
    *seen_ = Seen();
  }
  CrashCase Case(const std::string& name, int items, size_t size, size_t maxsize = 0) {
    CrashCase crash;
    crash.name = absl::StrCat("joinable queue: ", name, ", ", size, " bytes");
    crash.set_up = [this, items, size, maxsize] { SetUpPoint(items, size, maxsize); };
    crash.prepare = [] { TouchAll(); };
    return crash;
  }
  // So that nothing in the operation happens for the first time.
  static void TouchAll() {
    const Queue own;
    for (const size_t size : {kShort, kLong}) {
      for (int i = 0; i < 3; ++i) OrDie(own.Put(MakeItem(0, size)));
      OrDie(own.Lease())->size();
      OrDie(own.Lease()).Finish();
      for (int i = 0; i < 2; ++i) {
        OrDie(own.Get());
        own.TaskDone();
      }
      OrDie(own.Join(absl::Milliseconds(1)));
    }
  }
  static void Sweep(const CrashCase& crash) {
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  // What there is now, each finished; in words where that is not one of each.
  std::string Drain(std::vector<int>& numbers) {
    for (;;) {
      auto lease = queue_->TryLease();
      if (absl::IsDeadlineExceeded(lease.status())) break;
      if (!lease.ok()) return std::string(lease.status().message());
      numbers.push_back(NumberOf(**lease));
      lease->Finish();
    }
    return "";
  }
  // All `items` are there, but, if `may_be_gone`, the first; and that is so where Join() says that
  // all is finished, or that `lost` of one is.
  std::string Check(int items, bool may_be_gone, bool is_lost = false) {
    Settle();
    OrDie(queue_->Put(MakeItem(items, kShort)));
    std::vector<int> numbers;
    if (const std::string error = Drain(numbers); !error.empty()) return error;
    const bool gone = numbers.empty() || numbers.front() != 0;
    if (gone && !may_be_gone) return "the first item is gone";
    std::vector<int> expected;
    for (int i = gone ? 1 : 0; i <= items; ++i) expected.push_back(i);
    if (numbers != expected) {
      return absl::StrCat(numbers.size(), " items, where there should be ", expected.size(),
                          ", or another order");
    }
    const absl::Status joined = queue_->Join(kLongEnough);
    if (gone && is_lost) {
      if (!absl::IsAborted(joined)) return absl::StrCat("not lost: ", joined.ToString());
      queue_->TaskDone();
    } else if (!joined.ok()) {
      return joined.ToString();
    }
    if (!queue_->Join(kLongEnough).ok()) return "not finished at last";
    if (!queue_->Empty()) return "what is empty says that it is not";
    return std::string(mp::Check().message());
  }

  int max_deliveries_ = 0;
  std::optional<Queue> queue_;
  std::optional<Leased<Item>> lease_;  // the victim's
  std::optional<size_t> before_;
  Inherited<Seen> seen_;
};

// Whoever leases and dies before it has finished gives it back.
TEST_F(JoinableQueueCrashTest, ALeaseIsAllOrNothing) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a lease", 3, size);
    crash.operation = [this] { lease_.emplace(OrDie(queue_->Lease())); };
    crash.check = [this] { return Check(3, /*may_be_gone=*/false); };
    Sweep(crash);
  }
  // The records have to grow.
  CrashCase crash = Case("the ninth lease", 9, kShort);
  std::vector<Leased<Item>> leases;
  crash.prepare = [&] {
    TouchAll();
    for (int i = 0; i < 8; ++i) leases.push_back(OrDie(queue_->Lease()));
  };
  crash.operation = [this] { lease_.emplace(OrDie(queue_->Lease())); };
  crash.check = [this]() { return Check(9, /*may_be_gone=*/false); };
  Sweep(crash);
}

TEST_F(JoinableQueueCrashTest, AFinishIsAllOrNothing) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a finish", 3, size);
    crash.prepare = [this] {
      TouchAll();
      lease_.emplace(OrDie(queue_->Lease()));
    };
    crash.operation = [this] {
      seen_->begun = 1;
      lease_->Finish();
      seen_->done = 1;
    };
    crash.check = [this]() -> std::string {
      if (seen_->done != 0) {
        const auto lease = queue_->Lease();
        if (NumberOf(**lease) == 0) return "finished, and back";
      }
      return Check(3, /*may_be_gone=*/seen_->begun != 0);
    };
    Sweep(crash);
  }
}

TEST_F(JoinableQueueCrashTest, AReturnIsAllOrNothing) {
  for (const int most : {0, 1}) {
    max_deliveries_ = most;
    CrashCase crash = Case(absl::StrCat("a drop, of ", most, " deliveries at most"), 3, kLong);
    crash.prepare = [this] {
      TouchAll();
      lease_.emplace(OrDie(queue_->Lease()));
    };
    crash.operation = [this] { lease_.reset(); };
    crash.check = [this, most]() -> std::string {
      Settle();
      std::vector<int> numbers;
      OrDie(queue_->Put(MakeItem(3, kShort)));
      if (const std::string error = Drain(numbers); !error.empty()) return error;
      const bool dead = most != 0;
      if (numbers != (dead ? std::vector<int>{1, 2, 3} : std::vector<int>{0, 1, 2, 3})) {
        return absl::StrCat(numbers.size(), " items are back");
      }
      if (queue_->DeadLetters().size() != (dead ? 1 : 0)) return "other dead letters";
      return queue_->Join(kLongEnough).ok() ? "" : "not finished";
    };
    Sweep(crash);
  }
  max_deliveries_ = 0;
}

TEST_F(JoinableQueueCrashTest, AGetIsAllOrNothing) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a get", 3, size);
    crash.operation = [this] {
      seen_->begun = 1;
      OrDie(queue_->Get());
    };
    crash.check = [this] { return Check(3, seen_->begun != 0, /*is_lost=*/true); };
    Sweep(crash);
  }
  // One that came back.
  CrashCase crash = Case("a get of what came back", 3, kLong);
  crash.set_up = [this] {
    SetUpPoint(3, kLong, 0);
    static_cast<void>(queue_->Lease());
  };
  crash.operation = [this] {
    seen_->begun = 1;
    OrDie(queue_->Get());
  };
  crash.check = [this] { return Check(3, seen_->begun != 0, /*is_lost=*/true); };
  Sweep(crash);
}

TEST_F(JoinableQueueCrashTest, GetAndTaskDoneAreCounted) {
  CrashCase crash = Case("a get and TaskDone", 3, kShort);
  crash.operation = [this] {
    OrDie(queue_->Get());
    queue_->TaskDone();
    seen_->done = 1;
  };
  crash.check = [this]() -> std::string {
    Settle();
    std::vector<int> numbers;
    if (const std::string error = Drain(numbers); !error.empty()) return error;
    const absl::Status joined = queue_->Join(kLongEnough);
    if (seen_->done != 0 && !joined.ok()) return "done, and lost";
    if (absl::IsAborted(joined)) {
      if (numbers.size() != 2) return "lost, and there";
      queue_->TaskDone();
    } else if (!joined.ok()) {
      return joined.ToString();
    }
    return queue_->Join(kLongEnough).ok() ? "" : "not finished at last";
  };
  Sweep(crash);
}

// What the victim puts, or drops, is the sleeper's.
TEST_F(JoinableQueueCrashTest, WhoSleepsForAnItemIsWoken) {
  CrashCase put = Case("a put, and somebody waits for it", 0, kShort);
  put.operation = [this] { OrDie(queue_->Put(MakeItem(0, kShort))); };
  put.sleeper = [this] { OrDie(queue_->Lease()).Finish(); };
  put.check = [this]() -> std::string {
    Settle();
    // The sleeper has the victim's, or this one.
    OrDie(queue_->Put(MakeItem(1, kShort)));
    return "";
  };
  Sweep(put);

  CrashCase drop = Case("a drop, and somebody waits", 1, kShort);
  drop.prepare = [this] {
    TouchAll();
    lease_.emplace(OrDie(queue_->Lease()));
  };
  drop.operation = [this] { lease_.reset(); };
  drop.sleeper = put.sleeper;
  drop.check = [] {
    Settle();
    return "";
  };
  Sweep(drop);
}

// It is the last one that is leased of a queue that is shut down: nothing comes any more, or this.
TEST_F(JoinableQueueCrashTest, WhoSleepsForWhatMayComeBackIsWoken) {
  CrashCase crash = Case("a finish, and somebody waits for the end", 1, kShort);
  crash.prepare = [this] {
    TouchAll();
    lease_.emplace(OrDie(queue_->Lease()));
    queue_->Shutdown();
  };
  crash.operation = [this] { lease_->Finish(); };
  crash.sleeper = [this] {
    for (auto lease = queue_->Lease(); lease.ok(); lease = queue_->Lease()) lease->Finish();
  };
  crash.check = [] {
    Settle();
    return "";
  };
  Sweep(crash);
}

TEST_F(JoinableQueueCrashTest, WhoSleepsForRoomIsWoken) {
  for (const bool leases : {false, true}) {
    CrashCase crash = Case("a get or lease, and somebody waits for room", 1, kShort, /*maxsize=*/1);
    crash.operation = [this, leases] {
      if (leases) {
        lease_.emplace(OrDie(queue_->Lease()));
      } else {
        OrDie(queue_->Get());
      }
    };
    crash.sleeper = [this] { OrDie(queue_->Put(MakeItem(1, kShort))); };
    crash.check = [this]() -> std::string {
      Settle();
      // Whatever became of the first, the sleeper's comes when that has been taken.
      for (;;) {
        auto lease = queue_->Lease();
        if (!lease.ok()) return lease.status().ToString();
        lease->Finish();
        if (NumberOf(**lease) == 1) return "";
      }
    };
    Sweep(crash);
  }
}

TEST_F(JoinableQueueCrashTest, WhoJoinsIsWoken) {
  for (const bool leases : {false, true}) {
    CrashCase crash =
        Case(leases ? "a finish, and somebody joins" : "a TaskDone, and somebody joins", 1, kShort);
    crash.prepare = [this, leases] {
      TouchAll();
      if (leases) {
        lease_.emplace(OrDie(queue_->Lease()));
      } else {
        OrDie(queue_->Get());
      }
    };
    crash.operation = [this, leases] {
      if (leases) {
        lease_->Finish();
      } else {
        queue_->TaskDone();
      }
    };
    crash.sleeper = [this] { static_cast<void>(queue_->Join()); };
    crash.check = [this]() -> std::string {
      Settle();
      std::vector<int> numbers;
      return Drain(numbers);
    };
    Sweep(crash);
  }
}

// Two wait: one of them is killed wherever it is on its way.
TEST_F(JoinableQueueCrashTest, WhoQueuesBehindADeadSleeperIsWoken) {
  CrashCase crash = Case("two wait for an item", 0, kShort);
  crash.operation = [this] { lease_.emplace(OrDie(queue_->Lease())); };
  crash.sleeper = [this] { OrDie(queue_->Lease()).Finish(); };
  crash.sleeper_queues_behind = true;
  crash.unblock = [this] { OrDie(queue_->Put(MakeItem(0, kShort))); };
  crash.check = [this]() -> std::string {
    Settle();
    OrDie(queue_->Put(MakeItem(1, kShort)));
    return "";
  };
  Sweep(crash);
}

// A look for the dead is interrupted by a death.
TEST_F(JoinableQueueCrashTest, WhoGivesBackForTheDeadMayDieToo) {
  CrashCase crash = Case("a lease after one who died with two", 3, kLong);
  crash.set_up = [this] {
    SetUpPoint(3, kLong, 0);
    const pid_t pid = testing::ForkMortal([this] {
      const auto one = queue_->Lease();
      const auto two = queue_->Lease();
      _exit(0);
    });
    ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
    Settle();
  };
  crash.operation = [this] { lease_.emplace(OrDie(queue_->Lease())); };
  crash.check = [this]() -> std::string {
    Settle();
    std::vector<int> numbers;
    if (const std::string error = Drain(numbers); !error.empty()) return error;
    std::sort(numbers.begin(), numbers.end());
    if (numbers != std::vector<int>{0, 1, 2}) return "not one of each";
    return queue_->Join(kLongEnough).ok() ? "" : "not finished";
  };
  Sweep(crash);
}

TEST_F(JoinableQueueCrashTest, AShutdownIsSeenByAll) {
  for (const bool drop : {false, true}) {
    CrashCase crash = Case(absl::StrCat("a shutdown", drop ? " at once" : ""), 0, kLong);
    crash.set_up = [this] {
      SetUpPoint(2, kLong, 0);
      static_cast<void>(queue_->Lease());
    };
    crash.operation = [this, drop] {
      queue_->Shutdown(drop);
      seen_->done = 1;
    };
    crash.sleeper = [this] { static_cast<void>(queue_->Join()); };
    crash.check = [this, drop]() -> std::string {
      Settle();
      const absl::Status put = queue_->Put(MakeItem(0, kShort));
      if (seen_->done != 0 && !absl::IsFailedPrecondition(put)) return "something can be put";
      std::vector<int> numbers;
      if (put.ok()) return Drain(numbers);
      for (;;) {
        auto lease = queue_->Lease();
        if (absl::IsOutOfRange(lease.status())) break;
        if (drop && seen_->done != 0) return "something is left";
        lease->Finish();
      }
      return queue_->Join(kLongEnough).ok() ? "" : "not finished";
    };
    Sweep(crash);
  }
}

// At random
// -----------------------------------------------------------------------------------------

// Each item is finished once, whoever dies.
TEST(JoinableQueueStressTest, EachItemIsFinishedOnce) {
  constexpr int kMost = 1 << 23;
  enum : uint8_t { kNumber, kPut, kFinishes, kFinished };
  struct Items {
    std::atomic<uint8_t> state[kMost];  // its last step that is known to have begun, or ended
    std::atomic<int> count;
  };
  Settle();
  const size_t before = Stats().in_use;
  {
    const Inherited<Items> items;
    const JoinableQueue<int> queue(64);
    KillerOptions options;
    options.workers = 6;
    options.kills = Stress() ? 10'000 : kSanitized ? 50 : 500;
    options.stops = 0.05;
    options.on_stop = [&] { queue.Shutdown(); };
    auto finish = [&](Leased<int>& lease) {
      // It may have been about to be, by one who died.
      if (items->state[*lease] == kFinished) abort();
      items->state[*lease] = kFinishes;
      lease.Finish();
      items->state[*lease] = kFinished;
    };
    const KillerReport report = RunKiller(
        [&](Worker& worker) {
          while (!worker.Stopping()) {
            if (worker.index() < 2) {
              const int number = items->count.fetch_add(1);
              if (number >= kMost || !queue.Put(number).ok()) break;
              uint8_t state = kNumber;
              items->state[number].compare_exchange_strong(state, kPut);
            } else {
              absl::StatusOr<Leased<int>> lease = queue.Lease();
              if (!lease.ok()) break;
              if (**lease % 7 == lease->deliveries()) continue;  // dropped
              finish(*lease);
            }
            worker.Progress();
          }
        },
        options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    ASSERT_LE(items->count, kMost);
    Settle();
    for (;;) {
      absl::StatusOr<Leased<int>> lease = queue.Lease();
      if (absl::IsOutOfRange(lease.status())) break;
      ASSERT_TRUE(lease.ok());
      finish(*lease);
    }
    EXPECT_EQ(queue.Join(kLongEnough), absl::OkStatus());
    int in[4] = {};
    for (int i = 0; i < items->count; ++i) ++in[items->state[i]];
    // Who died, or was shut out, between a number and its put has not put it; who died between a
    // finish and its end has not said so.
    EXPECT_LE(in[kNumber], report.kills + options.workers);
    EXPECT_EQ(in[kPut], 0);
    EXPECT_LE(in[kFinishes], report.kills);
    std::cout << in[kFinished] << " items finished, " << in[kFinishes] << " without a word\n";
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// What is got goes with its process, is never done twice, and Join() counts it.
TEST(JoinableQueueStressTest, JoinKnowsWhatIsLost) {
  Settle();
  const size_t before = Stats().in_use;
  {
    const JoinableQueue<std::string> queue;
    KillerOptions options;
    options.workers = 5;
    options.kills = Stress() ? 5'000 : kSanitized ? 30 : 200;
    options.on_stop = [&] { queue.Shutdown(); };
    const KillerReport report = RunKiller(
        [&](Worker& worker) {
          while (!worker.Stopping()) {
            if (worker.index() < 2) {
              if (!queue.Put(std::string(worker.generation() % 3 * 9000, 'x')).ok()) break;
              if (queue.Qsize() > 100) (void)queue.Join(absl::Milliseconds(5));
            } else {
              if (!queue.Get().ok()) break;
              queue.TaskDone();
            }
            worker.Progress();
          }
        },
        options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    Settle();
    while (!queue.Empty()) {
      OrDie(queue.Get());
      queue.TaskDone();
    }
    int lost = 0;
    absl::Status joined;
    for (; absl::IsAborted(joined = queue.Join(kLongEnough)); ++lost) queue.TaskDone();
    EXPECT_EQ(joined, absl::OkStatus());
    EXPECT_LE(lost, report.kills);
    std::cout << lost << " lost in " << report.kills << " kills\n";
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
