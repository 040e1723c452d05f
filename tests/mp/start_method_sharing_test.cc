// Everything that processes share works between them however they were started, and when one of
// them is killed.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/mp.h"
#include "tests/mp/start_methods.h"

namespace mp {
namespace {

// Starts what shares; whoever is left is killed with the test.
class StartMethodSharingTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  ~StartMethodSharingTest() override {
    for (const Process& child : children_) child.Kill();
  }
  template <class... A>
  Process& Start(A&&... a) {
    children_.emplace_back(ProcessOptions{.start_method = GetParam()}, std::forward<A>(a)...);
    OrDie(children_.back().Start());
    return children_.back();
  }
  // The exit code.
  template <class... A>
  int Run(A&&... a) {
    Process& child = Start(std::forward<A>(a)...);
    child.Join();
    return child.exitcode().value_or(255);
  }
  void JoinAll() {
    for (const Process& child : children_) {
      child.Join();
      EXPECT_EQ(child.exitcode(), 0) << child.name();
    }
  }

 private:
  std::vector<Process> children_;
};

INSTANTIATE_TEST_SUITE_P(All, StartMethodSharingTest, testing::AllStartMethods(),
                         testing::StartMethodName);

TEST_P(StartMethodSharingTest, RLock) {
  const RLock lock;
  EXPECT_EQ(Run(
                [](const RLock& held) {
                  held.Acquire();
                  held.Acquire();
                  raise(SIGKILL);
                },
                lock),
            -SIGKILL);
  lock.Acquire();
  EXPECT_TRUE(lock.owner_died());
  lock.MarkConsistent();
  EXPECT_EQ(Run([](const RLock& other) { return other.TryAcquire() ? 1 : 0; }, lock), 0);
  lock.Release();
}

TEST_P(StartMethodSharingTest, SemaphoresAndPermits) {
  const Semaphore semaphore(1);
  EXPECT_EQ(Run(
                [](const Semaphore& permits) {
                  const Permit permit = permits.AcquirePermit();
                  raise(SIGKILL);
                },
                semaphore),
            -SIGKILL);
  semaphore.Acquire();  // the permit has come back
  EXPECT_EQ(Run([](const Semaphore& permits) { permits.Release(); }, semaphore), 0);
  semaphore.Acquire();
  const BoundedSemaphore bounded(1);
  EXPECT_EQ(
      Run([](const BoundedSemaphore& permits) { return permits.Release().ok() ? 1 : 0; }, bounded),
      0);
}

// It is started within a scope, and in none.
TEST_P(StartMethodSharingTest, Cancellation) {
  const mp::Cancellation stop, other;
  other.Cancel();
  const Queue<int> never;
  const Event waits;
  std::optional<CancellationScope> scope(other);
  Process& child = Start(
      [](const mp::Cancellation& its, const Queue<int>& queue, const Event& ready) {
        const bool free = absl::IsDeadlineExceeded(queue.Get(absl::Milliseconds(1)).status());
        const CancellationScope own(its);
        ready.Set();
        return free && absl::IsCancelled(queue.Get().status()) ? 0 : 1;
      },
      stop, never, waits);
  waits.Wait();  // not ended: it returns nothing
  child.Join();  // ended
  EXPECT_TRUE(child.IsAlive());
  scope.reset();
  stop.Cancel();
  JoinAll();
}

TEST_P(StartMethodSharingTest, ConditionWithItsOwnLockAndOnesHandedIn) {
  const RLock rlock;
  const Lock lock;
  const std::vector<Condition> conditions = {Condition(), Condition(rlock), Condition(lock)};
  for (const Condition& condition : conditions) {
    const RawValue<int> turn(0);
    Start(
        [](const Condition& changed, const RawValue<int>& number) {
          const LockGuard guard(changed);
          changed.WaitFor([&] { return *number == 1; });
          *number = 2;
          changed.NotifyAll();
        },
        condition, turn);
    const LockGuard guard(condition);
    *turn = 1;
    condition.NotifyAll();
    condition.WaitFor([&] { return *turn == 2; });
  }
  JoinAll();
}

TEST_P(StartMethodSharingTest, EventsBothWays) {
  const Event ping;
  const Event pong;
  Start(
      [](const Event& to, const Event& back) {
        to.Wait();
        back.Set();
      },
      ping, pong);
  ping.Set();
  pong.Wait();
  JoinAll();
}

TEST_P(StartMethodSharingTest, BarrierAndWhoDiesInIt) {
  const Barrier barrier(3);
  for (int i = 0; i < 2; ++i) {
    Start([](const Barrier& meeting) { return meeting.Wait().status(); }, barrier);
  }
  EXPECT_TRUE(barrier.Wait().ok());
  JoinAll();
  Process& victim = Start([](const Barrier& meeting) { return meeting.Wait().status(); }, barrier);
  while (barrier.NWaiting() == 0) usleep(100);
  victim.Kill();
  const absl::Status broken = barrier.Wait().status();
  EXPECT_TRUE(absl::IsAborted(broken)) << broken;
  EXPECT_TRUE(absl::StrContains(broken.message(), absl::StrCat(victim.pid()))) << broken;
}

TEST_P(StartMethodSharingTest, ValuesAndArrays) {
  const Value<int> value(1);
  const Array<double> array({1.5, 2.5});
  const RawArray<int> raw({1, 2, 3});
  EXPECT_EQ(
      Run(
          [](const Value<int>& number, const Array<double>& numbers, const RawArray<int>& plain) {
            number.Update([](int& n) { n += 41; });
            const LockGuard guard(numbers);
            for (double& n : numbers) n *= 2;
            plain[2] = 9;
          },
          value, array, raw),
      0);
  EXPECT_EQ(value.Get(), 42);
  EXPECT_EQ(array[0], 3);
  EXPECT_EQ(array[1], 5);
  EXPECT_EQ(raw[2], 9);
}

TEST_P(StartMethodSharingTest, RWLock) {
  const RWLock lock;
  EXPECT_EQ(Run(
                [](const RWLock& held) {
                  const SharedLockGuard guard(held);
                  raise(SIGKILL);
                },
                lock),
            -SIGKILL);
  lock.Acquire();  // the dead reader is in nobody's way
  EXPECT_EQ(Run([](const RWLock& other) { return other.TryAcquireShared() ? 1 : 0; }, lock), 0);
  lock.Release();
}

TEST_P(StartMethodSharingTest, LatchCountsDownWhoHasJoinedAndDies) {
  const Latch latch(2);
  EXPECT_EQ(Run([](const Latch& count) { count.CountDown(); }, latch), 0);
  EXPECT_EQ(Run(
                [](const Latch& count) {
                  count.Join();
                  raise(SIGKILL);
                },
                latch),
            -SIGKILL);
  latch.Wait();
}

TEST_P(StartMethodSharingTest, OnceIsRunByOne) {
  const Once once;
  const RawValue<int> runs(0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(
        Run([](const Once& only, const RawValue<int>& count) { only.Call([&] { *count += 1; }); },
            once, runs),
        0);
  }
  EXPECT_EQ(*runs, 1);
}

using Words = std::vector<int, Allocator<int>>;

TEST_P(StartMethodSharingTest, ContainersOfTheDomainAndHandlesInThem) {
  struct Board {
    Lock lock;
    Words words;
  };
  const Shared<Board> board;
  EXPECT_EQ(Run(
                [](const Shared<Board>& shared) {
                  const LockGuard guard(shared->lock);
                  for (int i = 0; i < 1000; ++i) shared->words.push_back(i);
                },
                board),
            0);
  const LockGuard guard(board->lock);
  ASSERT_EQ(board->words.size(), 1000U);
  EXPECT_EQ(board->words.back(), 999);
}

TEST_P(StartMethodSharingTest, QueuesOfManyTypes) {
  using Table = std::map<std::string, std::vector<int>>;
  const Queue<Table> tables(2);
  const SimpleQueue<Queue<int>> queues;
  Start(
      [](const Queue<Table>& out, const SimpleQueue<Queue<int>>& handles) {
        const Queue<int> made_here;
        OrDie(made_here.Put(7));
        OrDie(handles.Put(made_here));  // lives on in the message
        for (int i = 0; i < 4; ++i) {
          OrDie(out.Put({{"key", std::vector<int>(static_cast<size_t>(i), i)}}));
        }
      },
      tables, queues);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(OrDie(tables.Get())["key"], std::vector<int>(static_cast<size_t>(i), i));
  }
  EXPECT_EQ(OrDie(OrDie(queues.Get()).Get()), 7);
  JoinAll();
}

TEST_P(StartMethodSharingTest, LoansAreReceivedInPlace) {
  const Queue<std::array<int, 1000>> queue;
  Start(
      [](const Queue<std::array<int, 1000>>& out) {
        auto loan = OrDie(out.Borrow());
        (*loan)[999] = 5;
        return out.Put(std::move(loan));
      },
      queue);
  EXPECT_EQ((*OrDie(queue.GetLoan()))[999], 5);
  JoinAll();
}

TEST_P(StartMethodSharingTest, WhatWasLeasedByTheDeadComesBack) {
  const JoinableQueue<std::string> queue;
  OrDie(queue.Put("job"));
  EXPECT_EQ(Run(
                [](const JoinableQueue<std::string>& jobs) {
                  const auto leased = OrDie(jobs.Lease());
                  raise(SIGKILL);
                },
                queue),
            -SIGKILL);
  auto again = OrDie(queue.Lease());
  EXPECT_EQ(*again, "job");
  EXPECT_EQ(again.deliveries(), 2);
  again.Finish();
  EXPECT_TRUE(queue.Join().ok());
}

TEST_P(StartMethodSharingTest, ConnectionsThroughConnections) {
  auto [mine, its] = Pipe();
  auto [near, far] = Pipe();
  Start(
      [](const Connection& in) {
        const auto end = OrDie(in.Recv<Connection>());
        return end.Send(std::string("hello"));
      },
      its);
  its.Close();
  OrDie(mine.Send(far));
  far.Close();
  EXPECT_EQ(OrDie(near.Recv<std::string>()), "hello");
  JoinAll();
}

TEST_P(StartMethodSharingTest, WaitsForTheEndOfAProcessAndForMessages) {
  auto [mine, its] = Pipe();
  Process& child = Start([](const Connection& out) { return out.Send(1); }, its);
  its.Close();
  EXPECT_EQ(OrDie(mine.Recv<int>()), 1);
  const std::vector<Waitable> both = {Waitable(child), Waitable(mine)};
  std::vector<size_t> ready;
  while (ready.size() < 2) ready = OrDie(Wait(both));
  EXPECT_EQ(ready, (std::vector<size_t>{0, 1}));
  JoinAll();
}

// A family of all methods ------------------------------------------------------------------------

constexpr StartMethod kMethods[] = {StartMethod::kFork, StartMethod::kSpawn,
                                    StartMethod::kForkserver};

// It dies with it.
void LockForEver(const Lock& lock) ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Acquire(); }

class MixedFamilyTest : public ::testing::Test {
 protected:
  ~MixedFamilyTest() override {
    for (const Process& child : children_) child.Kill();
  }
  template <class... A>
  Process& Start(StartMethod method, A&&... a) {
    children_.emplace_back(ProcessOptions{.start_method = method}, std::forward<A>(a)...);
    OrDie(children_.back().Start());
    return children_.back();
  }
  void JoinAll() {
    for (const Process& child : children_) {
      child.Join();
      EXPECT_EQ(child.exitcode(), 0) << child.name();
    }
    children_.clear();
  }

 private:
  std::list<Process> children_;
};

TEST_F(MixedFamilyTest, TakesTurns) {
  const Lock lock;
  const RawValue<int> count(0);
  for (const StartMethod method :
       {kMethods[0], kMethods[1], kMethods[2], kMethods[0], kMethods[1], kMethods[2]}) {
    Start(
        method,
        [](const Lock& turn, const RawValue<int>& number) {
          for (int i = 0; i < 300; ++i) {
            const LockGuard guard(turn);
            *number = *number + 1;
          }
        },
        lock, count);
  }
  JoinAll();
  EXPECT_EQ(*count, 1800);
}

TEST_F(MixedFamilyTest, PassesMessagesOn) {
  // From each to the next one; a short queue, so that all of them wait.
  std::vector<Queue<std::string>> queues;
  for (int i = 0; i < 4; ++i) queues.emplace_back(/*maxsize=*/3);
  for (size_t i = 0; i < 3; ++i) {
    Start(
        kMethods[i],
        [](const Queue<std::string>& from, const Queue<std::string>& to, char mark) {
          for (absl::StatusOr<std::string> word; (word = from.Get()).ok();) {
            OrDie(to.Put(*word + mark));
          }
          to.Shutdown();
        },
        queues[i], queues[i + 1], "abc"[i]);
  }
  constexpr int kWords = 200;
  Start(
      StartMethod::kSpawn,
      [](const Queue<std::string>& to) {
        for (int i = 0; i < kWords; ++i) OrDie(to.Put(absl::StrCat(i)));
        to.Shutdown();
      },
      queues[0]);
  for (int i = 0; i < kWords; ++i) EXPECT_EQ(OrDie(queues[3].Get()), absl::StrCat(i, "abc"));
  EXPECT_TRUE(absl::IsOutOfRange(queues[3].Get().status()));
  JoinAll();
}

TEST_F(MixedFamilyTest, EachLearnsOfTheDeathOfEach) {
  for (const StartMethod victims : kMethods) {
    for (const StartMethod witness : kMethods) {
      const Lock lock;
      const Semaphore permits(1);
      const Barrier barrier(2);
      const Event ready;
      Process& victim = Start(
          victims,
          [](const Lock& held, const Semaphore& taken, const Barrier& meeting, const Event& here) {
            LockForEver(held);
            const Permit permit = taken.AcquirePermit();
            here.Set();
            return meeting.Wait().status();
          },
          lock, permits, barrier, ready);
      ready.Wait();
      while (barrier.NWaiting() == 0) usleep(100);
      Process& child = Start(
          witness,
          [](const Lock& held, const Semaphore& taken, const Barrier& meeting, const Event& here) {
            here.Set();
            const LockGuard guard(held);
            if (!guard.owner_died()) return 1;
            taken.Acquire();
            return absl::IsAborted(meeting.Wait().status()) ? 0 : 2;
          },
          lock, permits, barrier, ready);
      victim.Kill();
      victim.Join();
      child.Join();
      EXPECT_EQ(child.exitcode(), 0) << static_cast<int>(victims) << static_cast<int>(witness);
    }
  }
}

TEST_F(MixedFamilyTest, IsOneFamily) {
  const Semaphore here(0);
  const Event end;
  std::vector<pid_t> pids = {getpid()};
  for (const StartMethod method : kMethods) {
    pids.push_back(Start(
                       method,
                       [](const Semaphore& up, const Event& over) {
                         up.Release();
                         over.Wait();
                       },
                       here, end)
                       .pid());
  }
  for (size_t i = 0; i < std::size(kMethods); ++i) here.Acquire();
  std::vector<pid_t> all;
  for (const ProcessInfo& info : AllProcesses()) all.push_back(info.pid());
  for (const pid_t pid : pids) {
    EXPECT_EQ(std::count(all.begin(), all.end(), pid), 1) << pid;
  }
  end.Set();
  JoinAll();
}

}  // namespace
}  // namespace mp
