// What a Pool promises: results in order, errors as values, and that the death of a worker touches
// the one task that it had.

#include "mp/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <forward_list>
#include <functional>
#include <iterator>
#include <map>
#include <new>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/cancellation.h"
#include "mp/codec.h"
#include "mp/init.h"
#include "mp/queue.h"
#include "mp/start_method.h"
#include "shared/inspect.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/value.h"
#include "tests/mp/start_methods.h"
#include "tests/support/bury.h"
#include "tests/support/pause.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

struct Undecodable;

}  // namespace

template <>
struct Codec<Undecodable> {
  static void Encode(const Undecodable&, Encoder& encoder) { encoder.Put(1); }
  static absl::StatusOr<Undecodable> Decode(Decoder& decoder);
};

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::PauseForEver;
using ::testing::SizeIs;
using Reason = TaskFailure::Reason;

// Arrives nowhere.
struct Undecodable {
  int value = 0;
};

}  // namespace

absl::StatusOr<Undecodable> Codec<Undecodable>::Decode(Decoder& decoder) {
  decoder.Get<int>();
  return absl::DataLossError("it does not arrive");
}

namespace {

std::vector<int> Numbers(int n) {
  std::vector<int> numbers(static_cast<size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}
std::vector<int> Squares(int n) {
  std::vector<int> squares = Numbers(n);
  for (int& number : squares) number *= number;
  return squares;
}

int Square(int x) { return x * x; }
std::string Join(const std::string& a, int b) { return a + std::to_string(b); }
absl::StatusOr<int> NoSevens(int x) {
  if (x % 10 == 7) return absl::OutOfRangeError("seven: " + std::to_string(x));
  return x;
}
int ThrowsAt3(int x) {
  if (x == 3) throw std::runtime_error("no three");
  return x;
}
int DiesAt(int x, int which) {
  if (x == which) raise(SIGKILL);
  return x;
}
pid_t Pid(int /*x*/) { return getpid(); }

// By each method: what a worker gets is only what is sent.
class PoolMethodTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  static PoolOptions Two() { return {.workers = 2, .start_method = GetParam()}; }
};
INSTANTIATE_TEST_SUITE_P(All, PoolMethodTest, testing::AllStartMethods(), testing::StartMethodName);

// `make(i)` for all i below `end`, each made when it is come to; once.
template <class Make>
class Made {
 public:
  class Iterator {
   public:
    using value_type = int;
    using difference_type = ptrdiff_t;

    explicit Iterator(const Made* made) : made_(made) {}
    int operator*() const { return made_->make_(i_); }
    Iterator& operator++() {
      ++i_;
      return *this;
    }
    void operator++(int) { ++i_; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) { return it.Ended(); }

   private:
    bool Ended() const { return i_ == made_->end_; }

    const Made* made_;
    int i_ = 0;
  };

  Made(int end, Make make) : end_(end), make_(std::move(make)) {}
  Iterator begin() const { return Iterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  int end_;
  Make make_;
};

TEST_P(PoolMethodTest, MapsInOrder) {
  Pool pool(Two());
  EXPECT_EQ(pool.workers(), 2);
  for (const size_t chunk : {0, 1, 3, 1000}) {
    EXPECT_EQ(pool.Map(&Square, Numbers(100), chunk).value(), Squares(100));
  }
}

TEST_P(PoolMethodTest, WhatIsBoundAndHandlesArrive) {
  Pool pool(Two());
  const Value<int> sum(0);
  const auto add = BindFront(
      [](const Value<int>& total, const std::string& word, int x) {
        total.Update([&](int& value) { value += x + static_cast<int>(word.size()); });
        return word + std::to_string(x);
      },
      sum, "word");
  EXPECT_THAT(pool.Map(add, Numbers(3)).value(), ElementsAre("word0", "word1", "word2"));
  EXPECT_EQ(sum.Get(), 15);
  const Queue<int> answers;
  EXPECT_TRUE(pool.Apply([](const Queue<int>& queue) { return queue.Put(42); }, answers).ok());
  EXPECT_EQ(answers.Get().value(), 42);
}

TEST_P(PoolMethodTest, AKilledWorkerLosesItsTaskAloneAndIsReplaced) {
  Pool pool(Two());
  std::vector<absl::StatusOr<int>> results;
  for (const auto& result :
       pool.Imap(BindFront([](int which, int x) { return DiesAt(x, which); }, 5), Numbers(20))) {
    results.push_back(result);
  }
  ASSERT_THAT(results, SizeIs(20));
  for (int i = 0; i < 20; ++i) {
    if (i != 5) {
      EXPECT_EQ(results[static_cast<size_t>(i)].value(), i);
    }
  }
  const absl::Status& lost = results[5].status();
  EXPECT_TRUE(absl::IsAborted(lost)) << lost;
  const std::optional<TaskFailure> failure = GetTaskFailure(lost);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->index, 5u);
  EXPECT_EQ(failure->exitcode, -SIGKILL);
  EXPECT_EQ(failure->attempt, 1);
  EXPECT_EQ(failure->reason, Reason::kKilled);
  EXPECT_THAT(std::string(lost.message()), HasSubstr("task 5"));
  EXPECT_THAT(std::string(lost.message()), HasSubstr(std::to_string(failure->pid)));
  EXPECT_THAT(std::string(lost.message()), HasSubstr("signal 9"));
  EXPECT_EQ(pool.Map(&Square, Numbers(50), 1).value(), Squares(50));
  EXPECT_THAT(pool.worker_pids(), SizeIs(2));
}

TEST_P(PoolMethodTest, AnInitializerRunsOnceInEachWorker) {
  static int own = 0;
  const Value<int> count(0);
  PoolOptions options = Two();
  options.initializer = {[](const Value<int>& total) {
                           own = 7;
                           total.Update([](int& value) { ++value; });
                         },
                         count};
  {
    Pool pool(options);
    EXPECT_THAT(pool.Map([](int) { return own; }, Numbers(4), 1).value(), ElementsAre(7, 7, 7, 7));
  }
  EXPECT_EQ(count.Get(), 2);
  EXPECT_EQ(own, 0);
}

TEST(PoolTest, MapsWhateverIsARange) {
  Pool pool(2);
  EXPECT_EQ(pool.Map(&Square, std::forward_list<int>{1, 2, 3}).value(), (std::vector{1, 4, 9}));
  EXPECT_EQ(pool.Map(&Square, Made(3, [](int i) { return i + 1; })).value(),
            (std::vector{1, 4, 9}));
  const std::map<std::string, int> named = {{"a", 1}, {"b", 2}};
  EXPECT_THAT(pool.Starmap(&Join, named).value(), ElementsAre("a1", "b2"));
  const std::vector<std::tuple<std::string, int>> tuples = {{"x", 3}};
  EXPECT_THAT(pool.Starmap(&Join, tuples).value(), ElementsAre("x3"));
  EXPECT_THAT(pool.StarmapAsync(&Join, tuples).Get().value(), ElementsAre("x3"));
  EXPECT_THAT(pool.Map(&Square, std::vector<int>()).value(), IsEmpty());
  EXPECT_THAT(pool.Map([](bool b) { return !b; }, std::vector{true, false}).value(),
              ElementsAre(false, true));
}

TEST(PoolTest, TakesWhatAFunctionReturns) {
  Pool pool(1);
  EXPECT_EQ(pool.Apply([](int a, int b) { return a + b; }, 3, 4).value(), 7);
  EXPECT_EQ(pool.Apply(&Join, "n", 1).value(), "n1");
  EXPECT_EQ(pool.Apply([] {}).value(), std::monostate());
  EXPECT_EQ(pool.Apply([] { return absl::OkStatus(); }).value(), std::monostate());
  EXPECT_EQ(pool.Apply([] { return absl::NotFoundError("it"); }).status(),
            absl::NotFoundError("it"));
  EXPECT_EQ(pool.Apply(&NoSevens, 8).value(), 8);
  const std::string big(size_t{1} << 20, 'x');
  EXPECT_EQ(pool.Apply([](std::string text) { return text + "y"; }, big).value(), big + "y");
}

TEST(PoolTest, UsesAllItsWorkers) {
  Pool pool(3);
  const Event go;
  const Value<int> here(0);
  // None is done before all three have one.
  auto wait = BindFront(
      [](const Event& all, const Value<int>& count, int) {
        if (count.Update([](int& n) { return ++n; }) == 3) all.Set();
        all.Wait();
        return getpid();
      },
      go, here);
  std::vector<pid_t> pids = pool.Map(wait, Numbers(3), 1).value();
  std::sort(pids.begin(), pids.end());
  EXPECT_EQ(std::unique(pids.begin(), pids.end()), pids.end());
}

TEST(PoolTest, SaysTheFirstThatFailedWhenAllAreDone) {
  Pool pool(2);
  const Value<int> done(0);
  const auto count = BindFront(
      [](const Value<int>& total, int x) -> absl::StatusOr<int> {
        total.Update([](int& value) { ++value; });
        return NoSevens(x);
      },
      done);
  const auto result = pool.Map(count, Numbers(30), 1);
  EXPECT_TRUE(absl::IsOutOfRange(result.status()));
  EXPECT_EQ(result.status().message(), "seven: 7");
  EXPECT_EQ(done.Get(), 30);
  EXPECT_FALSE(GetTaskFailure(result.status()).has_value());
}

TEST(PoolTest, AnExceptionIsAStatus) {
  Pool pool(2);
  for (const size_t chunk : {1, 10}) {
    const auto result = pool.Map(&ThrowsAt3, Numbers(10), chunk);
    EXPECT_TRUE(absl::IsInternal(result.status()));
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("no three"));
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("task 3"));
    const auto failure = GetTaskFailure(result.status());
    ASSERT_TRUE(failure.has_value());
    EXPECT_EQ(failure->index, 3u);
    EXPECT_EQ(failure->reason, Reason::kThrew);
  }
  EXPECT_TRUE(absl::IsInternal(pool.Apply([] { throw 3; }).status()));
}

TEST(PoolTest, ImapGivesEachItsOwn) {
  Pool pool(2);
  for (const size_t chunk : {1, 4, 100}) {
    int i = 0;
    for (const absl::StatusOr<int>& result : pool.Imap(&NoSevens, Numbers(30), chunk)) {
      EXPECT_EQ(result.ok(), i % 10 != 7) << i;
      if (result.ok()) {
        EXPECT_EQ(*result, i);
      }
      ++i;
    }
    EXPECT_EQ(i, 30);
  }
  PoolResults<int> results = pool.ImapUnordered(&Square, Numbers(50), 3);
  std::vector<bool> seen(50);
  while (!results.ended()) {
    const absl::StatusOr<int> result = results.Next();
    EXPECT_EQ(result.value(), Square(static_cast<int>(results.index())));
    seen[results.index()] = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 50);
  EXPECT_TRUE(absl::IsOutOfRange(results.Next().status()));
  EXPECT_TRUE(absl::IsInvalidArgument(pool.Imap(&Square, Numbers(3), 0).Next().status()));
}

TEST(PoolTest, UnorderedResultsComeAsTheyAreDone) {
  Pool pool(2);
  const Event go;
  const auto wait = BindFront(
      [](const Event& event, int x) {
        if (x == 0) event.Wait();
        return x;
      },
      go);
  PoolResults<int> results = pool.ImapUnordered(wait, Numbers(3));
  EXPECT_EQ(results.Next().value(), 1);
  EXPECT_EQ(results.index(), 1u);
  EXPECT_EQ(results.Next().value(), 2);
  EXPECT_TRUE(absl::IsDeadlineExceeded(results.Next(absl::Milliseconds(1)).status()));
  go.Set();
  EXPECT_EQ(results.Next().value(), 0);
}

TEST(PoolTest, ImapReadsItsRangeNoFurtherThanItMay) {
  Pool pool({.workers = 1, .max_in_flight = 2});
  int read = 0;
  const Made counted(100, [&](int i) {
    ++read;
    return i;
  });
  PoolResults<int> results = pool.Imap(&Square, counted);
  EXPECT_LE(read, 2);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(results.Next().value(), i * i);
  EXPECT_LE(read, 13);
}

TEST(PoolTest, ARangeThatThrowsIsTheLastResult) {
  Pool pool(2);
  const Made throws(10, [](int i) {
    if (i == 4) throw std::runtime_error("four");
    return i;
  });
  std::vector<absl::StatusOr<int>> results;
  for (const auto& result : pool.Imap(&Square, throws)) results.push_back(result);
  ASSERT_THAT(results, SizeIs(5));
  EXPECT_EQ(results[3].value(), 9);
  EXPECT_TRUE(absl::IsInternal(results[4].status()));
  EXPECT_TRUE(absl::IsInternal(pool.Map(&Square, throws).status()));
}

TEST(PoolTest, FuturesComeOnceAndStay) {
  Pool pool(1);
  const Event go;
  const Future<int> slow = pool.ApplyAsync(
      [](const Event& event) {
        event.Wait();
        return 1;
      },
      go);
  const Future<int> next = pool.ApplyAsync(&Square, 3);
  EXPECT_TRUE(absl::IsDeadlineExceeded(slow.Get(absl::Milliseconds(1)).status()));
  EXPECT_FALSE(slow.Done());
  EXPECT_FALSE(next.Running());
  EXPECT_TRUE(next.Cancel());
  EXPECT_TRUE(next.Cancelled());
  EXPECT_TRUE(absl::IsCancelled(next.Get().status()));
  while (!slow.Running()) std::this_thread::yield();
  EXPECT_FALSE(slow.Cancel());
  go.Set();
  EXPECT_EQ(slow.Get().value(), 1);
  EXPECT_EQ(slow.Get().value(), 1);
  EXPECT_TRUE(slow.Done());
  EXPECT_FALSE(slow.Cancel());
  // What was cancelled leaves its place.
  EXPECT_EQ(pool.Apply(&Square, 4).value(), 16);
}

TEST(PoolTest, CallbacksAreCalledWithoutACall) {
  Pool pool(1);
  std::atomic<int> called = 0;
  const Future<int> future = pool.ApplyAsync(&Square, 3);
  future.AddDoneCallback([&](const Future<int>& done) { called += done.Get().value(); });
  while (called == 0) std::this_thread::yield();
  EXPECT_EQ(called, 9);
  future.AddDoneCallback([&](const Future<int>&) { called = 1; });
  EXPECT_EQ(called, 1);
}

TEST(PoolTest, WaitsForTheFirstAndForAll) {
  Pool pool(2);
  const Event go;
  const auto wait = [](const Event& event, int x) {
    event.Wait();
    return x;
  };
  const std::vector<Future<int>> futures = {
      pool.ApplyAsync(wait, go, 1), pool.ApplyAsync(&Square, 2), pool.ApplyAsync(&ThrowsAt3, 3)};
  WaitedFutures waited = WaitFutures(futures, absl::InfiniteDuration(), ReturnWhen::kFirstFailed);
  EXPECT_THAT(waited.done, ElementsAre(1, 2));
  EXPECT_THAT(waited.not_done, ElementsAre(0));
  EXPECT_THAT(WaitFutures(futures, absl::Milliseconds(1)).not_done, ElementsAre(0));
  CompletedFutures<int> completed = AsCompleted(futures, absl::Milliseconds(1));
  int count = 0;
  for (const Future<int>& future : completed) count += future.Done() ? 1 : 0;
  EXPECT_EQ(count, 2);
  EXPECT_TRUE(absl::IsDeadlineExceeded(completed.status()));
  EXPECT_EQ(completed.status().message(), "1 (of 3) futures unfinished");
  go.Set();
  EXPECT_THAT(WaitFutures(futures).done, SizeIs(3));
}

TEST(PoolTest, WhoExitsOrClosesEverythingLosesItsTaskAlone) {
  Pool pool(2);
  const auto exits = pool.Apply([] { std::exit(3); });
  EXPECT_TRUE(absl::IsAborted(exits.status()));
  EXPECT_EQ(GetTaskFailure(exits.status())->exitcode, 3);
  EXPECT_EQ(GetTaskFailure(exits.status())->reason, Reason::kExited);
  const auto closes = pool.Map(
      [](int x) {
        for (int fd = 3; fd < 256; ++fd) close(fd);
        return x;
      },
      Numbers(10), 1);
  EXPECT_EQ(closes.value(), Numbers(10));
  const auto forks = pool.Map(
      [](int x) {
        const pid_t pid = fork();
        if (pid > 0) waitpid(pid, nullptr, 0);
        return x;
      },
      Numbers(10), 1);
  EXPECT_EQ(forks.value(), Numbers(10));
  EXPECT_EQ(pool.Map(&Square, Numbers(10)).value(), Squares(10));
}

// It never ends by itself, and is no worker any more.
TEST(PoolTest, WhoBecomesAnotherProgramLosesItsTask) {
  Pool pool(1);
  const absl::Status status =
      pool.Apply([] { return execlp("sleep", "sleep", "infinity", nullptr); }).status();
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_EQ(GetTaskFailure(status)->exitcode, -SIGKILL);
  EXPECT_EQ(pool.Apply(&Square, 3).value(), 9);
}

TEST(PoolTest, ChildrenOfATaskAreNoWorkers) {
  Pool pool(1);
  const auto forks = [](bool exits) {
    const pid_t pid = fork();
    // It comes back from the task, or ends by exit(): both are not the worker's end.
    if (pid == 0 && exits) std::exit(0);
    if (pid == 0) return getpid();
    int status = 0;
    return waitpid(pid, &status, 0) == pid ? getpid() : 0;
  };
  const pid_t worker = pool.worker_pids().front();
  EXPECT_EQ(pool.Apply(forks, true).value(), worker);
  EXPECT_EQ(pool.Apply(forks, false).value(), worker);
  EXPECT_THAT(pool.worker_pids(), ElementsAre(worker));
}

TEST(PoolTest, ATaskMayBlockAllSignals) {
  Pool pool(1);
  const auto blocks = [] {
    sigset_t all;
    sigfillset(&all);
    return sigprocmask(SIG_SETMASK, &all, nullptr);
  };
  EXPECT_EQ(pool.Apply(blocks).value(), 0);
  EXPECT_EQ(pool.Apply(&Square, 3).value(), 9);
  pool.Terminate();
}

TEST(PoolTest, ATaskMayHaveAPoolOfItsOwn) {
  Pool pool(2);
  const auto nested = [](int n) {
    Pool own(2);
    const std::vector<int> squares = own.Map(&Square, Numbers(n)).value();
    return std::accumulate(squares.begin(), squares.end(), 0);
  };
  EXPECT_THAT(pool.Map(nested, std::vector{3, 4}).value(), ElementsAre(5, 14));
}

TEST(PoolTest, RetriesTasksWhoseWorkerDied) {
  Pool pool({.workers = 2, .retries = 2});
  const Value<int> deaths(0);
  const auto dies = BindFront(
      [](const Value<int>& count, int most, int x) {
        if (x == 3 && count.Update([](int& n) { return n++; }) < most) raise(SIGKILL);
        return x;
      },
      deaths);
  EXPECT_EQ(pool.Map(BindFront(dies, 2), Numbers(10), 1).value(), Numbers(10));
  EXPECT_EQ(deaths.Get(), 3);
  deaths.Set(0);
  const auto gone = pool.Map(BindFront(dies, 3), Numbers(10), 1);
  EXPECT_TRUE(absl::IsAborted(gone.status()));
  EXPECT_EQ(GetTaskFailure(gone.status())->attempt, 3);
}

TEST(PoolTest, WhatIsRunAgainIsTheSameFuture) {
  Pool pool({.workers = 1, .retries = 1});
  const Event begun;
  const Event go;
  const Future<int> future = pool.ApplyAsync(
      [](const Event& has_begun, const Event& may_go) {
        if (!has_begun.IsSet()) {
          has_begun.Set();
          raise(SIGKILL);
        }
        may_go.Wait();
        return 1;
      },
      begun, go);
  begun.Wait();
  // Once more, by another worker.
  while (!future.Running()) std::this_thread::yield();
  EXPECT_FALSE(future.Cancel());
  go.Set();
  EXPECT_EQ(future.Get().value(), 1);
}

TEST(PoolTest, KillsWhatTakesTooLong) {
  Pool pool({.workers = 2, .task_timeout = absl::Milliseconds(200)});
  std::vector<absl::StatusOr<int>> results;
  for (const auto& result : pool.Imap(
           [](int x) {
             if (x == 2) PauseForEver();
             return x;
           },
           Numbers(6))) {
    results.push_back(result);
  }
  ASSERT_THAT(results, SizeIs(6));
  EXPECT_TRUE(absl::IsAborted(results[2].status()));
  EXPECT_EQ(GetTaskFailure(results[2].status())->reason, Reason::kTimeLimit);
  EXPECT_EQ(results[5].value(), 5);
}

TEST(PoolTest, LimitsTheMemoryOfAWorker) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer ends the program where there is no memory";
  Pool pool({.workers = 1, .memory_limit = size_t{1} << 30});
  const auto result = pool.Apply(
      [](size_t bytes) {
        const std::vector<char> much(bytes, 1);
        return much.size();
      },
      size_t{2} << 30);
  EXPECT_TRUE(absl::IsResourceExhausted(result.status())) << result.status();
  EXPECT_EQ(GetTaskFailure(result.status())->reason, Reason::kMemoryLimit);
  EXPECT_EQ(pool.Apply(&Square, 2).value(), 4);
}

TEST(PoolTest, WorkersLeaveAfterSoManyTasks) {
  Pool pool({.workers = 2, .max_tasks_per_child = 3});
  const std::vector<pid_t> pids = pool.Map(&Pid, Numbers(30), 1).value();
  std::map<pid_t, int> tasks;
  for (const pid_t pid : pids) ++tasks[pid];
  EXPECT_GE(tasks.size(), 10u);
  for (const auto& [pid, count] : tasks) EXPECT_LE(count, 3);
}

TEST(PoolTest, AnInitializerThatFailsEndsThePool) {
  Pool pool({.workers = 2, .initializer = {[] { return absl::NotFoundError("no file"); }}});
  const auto result = pool.Map(&Square, Numbers(10));
  EXPECT_TRUE(absl::IsNotFound(result.status())) << result.status();
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("no file"));
  EXPECT_TRUE(absl::IsNotFound(pool.Apply(&Square, 3).status()));
  pool.Close();
  EXPECT_TRUE(absl::IsNotFound(pool.Join()));

  Pool exits({.workers = 1, .initializer = {[] { std::exit(4); }}});
  EXPECT_TRUE(absl::IsAborted(exits.Apply(&Square, 3).status()));
  Pool dies({.workers = 1, .initializer = {[] { raise(SIGKILL); }}});
  EXPECT_TRUE(absl::IsAborted(dies.Apply(&Square, 3).status()));
}

TEST(PoolTest, AWorkerThatIsKilledInItsInitializerIsReplaced) {
  const Value<int> begun(0);
  Pool pool({.workers = 2,
             .initializer = {[](const Value<int>& count) {
                               if (count.Update([](int& n) { return n++; }) == 0) raise(SIGKILL);
                             },
                             begun}});
  EXPECT_EQ(pool.Map(&Square, Numbers(10), 1).value(), Squares(10));
}

TEST(PoolTest, CloseDrainsAndTerminateDoesNot) {
  const Event go;
  const auto wait = [](const Event& event, int x) {
    event.Wait();
    return x;
  };
  Pool closed(1);
  EXPECT_TRUE(absl::IsFailedPrecondition(closed.Join()));
  const Future<int> last = closed.ApplyAsync(wait, go, 1);
  closed.Close();
  EXPECT_TRUE(absl::IsFailedPrecondition(closed.Apply(&Square, 1).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(closed.Map(&Square, Numbers(2)).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(closed.Imap(&Square, Numbers(2)).Next().status()));
  go.Set();
  EXPECT_EQ(closed.Join(), absl::OkStatus());
  EXPECT_EQ(last.Get().value(), 1);
  EXPECT_THAT(closed.worker_pids(), IsEmpty());

  Pool terminated(1);
  const Future<int> runs = terminated.ApplyAsync([] {
    PauseForEver();
    return 0;
  });
  const Future<int> waits = terminated.ApplyAsync(&Square, 2);
  while (!runs.Running()) std::this_thread::yield();
  terminated.Terminate();
  terminated.Terminate();
  EXPECT_TRUE(absl::IsCancelled(runs.Get().status()));
  EXPECT_TRUE(absl::IsCancelled(waits.Get().status()));
  EXPECT_EQ(terminated.Join(), absl::OkStatus());
}

TEST(PoolTest, WhoBlocksSigtermIsKilled) {
  Pool pool(1);
  const Event blocked;
  const Future<int> runs = pool.ApplyAsync(
      [](const Event& is_blocked) {
        signal(SIGTERM, SIG_IGN);
        is_blocked.Set();
        PauseForEver();
        return 0;
      },
      blocked);
  blocked.Wait();
  pool.Terminate();
  EXPECT_TRUE(absl::IsCancelled(runs.Get().status()));
}

TEST(PoolTest, TheEndOfAPoolDrains) {
  const Value<int> done(0);
  {
    Pool pool(2);
    for (int i = 0; i < 20; ++i) {
      pool.ApplyAsync([](const Value<int>& count) { count.Update([](int& n) { ++n; }); }, done);
    }
  }
  EXPECT_EQ(done.Get(), 20);
}

TEST(PoolTest, LeavesNothing) {
  Pool(2).Map(&Square, Numbers(10)).value();
  testing::Settle();
  const DomainStats before = Stats();
  {
    Pool pool({.workers = 2, .retries = 1});
    const std::string big(100'000, 'x');
    for (int i = 0; i < 50; ++i) {
      pool.Apply(
              [](const std::string& text, int x) {
                if (x % 10 == 0) raise(SIGKILL);
                return text;
              },
              big, i)
          .IgnoreError();
    }
  }
  testing::Settle();
  EXPECT_EQ(Stats().in_use, before.in_use);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(PoolTest, AChildOfItsProcessCannotUseIt) {
  Pool pool(1);
  const Future<int> future = pool.ApplyAsync(&Square, 3);
  Process child([&] {
    const bool refused = absl::IsFailedPrecondition(pool.Apply(&Square, 1).status()) &&
                         absl::IsFailedPrecondition(pool.Map(&Square, Numbers(2)).status()) &&
                         absl::IsFailedPrecondition(pool.Join());
    return refused ? 0 : 1;
  });
  ASSERT_EQ(child.Start(), absl::OkStatus());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(future.Get().value(), 9);
}

TEST(PoolTest, ThreadsShareIt) {
  Pool pool(2);
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        if (pool.Map(&Square, Numbers(10), 1).value() == Squares(10)) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 80);
}

// Who waits for many results may sleep until they are there; another thread's one result is not
// kept from it.
TEST(PoolTest, OneResultIsNotHeldUpByAThreadThatWaitsForMany) {
  Pool pool(2);
  const Event go;
  const auto wait = [](const Event& event, int x) {
    if (x == 999) event.Wait();
    return x;
  };
  std::thread maps(
      [&] { EXPECT_EQ(pool.Map(BindFront(wait, go), Numbers(1000), 1).value(), Numbers(1000)); });
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(pool.Apply(&Square, i).value(), i * i);
  go.Set();
  maps.join();
}

TEST(PoolTest, NoMoreAreUnderWayThanMayBe) {
  Pool pool({.workers = 1, .max_in_flight = 2});
  const Event go;
  const auto wait = [](const Event& event, int x) {
    event.Wait();
    return x;
  };
  const Future<int> first = pool.ApplyAsync(wait, go, 1);
  const Future<int> second = pool.ApplyAsync(wait, go, 2);
  {
    // There is no place for a third one.
    const Cancellation stop;
    const CancellationScope scope(stop);
    stop.Cancel();
    EXPECT_TRUE(absl::IsCancelled(pool.ApplyAsync(wait, go, 3).Get().status()));
  }
  go.Set();
  EXPECT_EQ(pool.ApplyAsync(wait, go, 4).Get().value(), 4);
  EXPECT_EQ(second.Get().value(), 2);
  EXPECT_EQ(pool.Map(&Square, Numbers(10), 1).value(), Squares(10));
}

TEST(PoolTest, ACancelledThreadWaitsNoLonger) {
  Pool pool(1);
  const Event go;
  const Future<int> runs = pool.ApplyAsync(
      [](const Event& event) {
        event.Wait();
        return 1;
      },
      go);
  {
    const Cancellation stop;
    const CancellationScope scope(stop);
    stop.Cancel();
    EXPECT_TRUE(absl::IsCancelled(runs.Get().status()));
  }
  go.Set();
  EXPECT_EQ(runs.Get().value(), 1);
}

TEST(PoolTest, TellsOfItsProgress) {
  std::vector<PoolProgress> told;
  Pool pool(
      {.workers = 2, .on_progress = [&](const PoolProgress& so_far) { told.push_back(so_far); }});
  EXPECT_TRUE(absl::IsOutOfRange(pool.Map(&NoSevens, Numbers(10), 1).status()));
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back().done, 10u);
  EXPECT_EQ(told.back().total, 10u);
  EXPECT_EQ(told.back().failed, 1u);
  EXPECT_GT(told.back().rate, 0);
}

TEST(PoolTest, TheLastOfAStreamIsToldOfWithItsTotal) {
  std::vector<PoolProgress> told;
  Pool pool(
      {.workers = 2, .on_progress = [&](const PoolProgress& so_far) { told.push_back(so_far); }});
  size_t results = 0;
  for (const absl::StatusOr<int>& result : pool.ImapUnordered(&NoSevens, Numbers(10), 3)) {
    results += result.ok() ? 1 : 0;
  }
  EXPECT_EQ(results, 9u);
  EXPECT_EQ(told.back().done, 10u);
  EXPECT_EQ(told.back().total, 10u);
  EXPECT_EQ(told.back().failed, 1u);
}

TEST(PoolTest, HasAName) {
  Pool pool({.workers = 1, .name = "jobs"});
  EXPECT_EQ(pool.Apply(&Square, 3).value(), 9);
  const std::vector<ObjectInfo> objects = ListObjects();
  EXPECT_TRUE(std::any_of(objects.begin(), objects.end(), [](const ObjectInfo& object) {
    return object.type == "Pool" && object.name == "jobs";
  }));
  pool.Close();
  EXPECT_THAT(std::string(pool.Apply(&Square, 3).status().message()), HasSubstr("\"jobs\""));
}

TEST(PoolTest, AStreamEndsWhereNothingComesAnyMore) {
  Pool pool(1);
  PoolResults<int> results = pool.Imap(&Square, Numbers(3));
  {
    const Cancellation stop;
    const CancellationScope scope(stop);
    stop.Cancel();
    size_t cancelled = 0;
    for (const absl::StatusOr<int>& result : results) {
      if (absl::IsCancelled(result.status())) ++cancelled;
    }
    EXPECT_LE(cancelled, 1u);
  }
  PoolResults<int> inherited = pool.Imap(&Square, Numbers(3));
  const pid_t pid = fork();
  if (pid == 0) {
    for (const absl::StatusOr<int>& result : inherited) {
      if (absl::IsFailedPrecondition(result.status())) _exit(0);
    }
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(PoolTest, JoinReadsTheRangesOfStreamsToTheirEnd) {
  Pool pool({.workers = 1, .max_in_flight = 2});
  PoolResults<int> results = pool.Imap(&Square, Numbers(20));
  EXPECT_EQ(results.Next().value(), 0);
  pool.Close();
  EXPECT_EQ(pool.Join(), absl::OkStatus());
  std::vector<int> rest;
  for (const absl::StatusOr<int>& result : results) rest.push_back(result.value());
  EXPECT_THAT(rest, SizeIs(19));
  EXPECT_EQ(rest.back(), 19 * 19);
}

TEST(PoolTest, AStreamMayOutliveItsPool) {
  auto outlives = [](bool terminates) {
    Pool pool({.workers = 1, .max_in_flight = 2});
    PoolResults<int> results = pool.Imap(&Square, Numbers(20));
    if (terminates) pool.Terminate();
    return results;
  };
  size_t good = 0;
  for (const absl::StatusOr<int>& result : outlives(false)) good += result.ok() ? 1 : 0;
  EXPECT_EQ(good, 20u);
  PoolResults<int> terminated = outlives(true);
  while (!terminated.ended()) {
    const absl::StatusOr<int> result = terminated.Next();
    EXPECT_TRUE(result.ok() || absl::IsCancelled(result.status()) ||
                absl::IsFailedPrecondition(result.status()))
        << result.status();
  }
}

TEST(PoolTest, WhatThrowsInAStreamSaysWhereAndWhy) {
  Pool pool(1);
  PoolResults<int> results = pool.Imap(
      [](int x) {
        if (x == 2) throw std::runtime_error("two");
        return x;
      },
      Numbers(4), 4);
  for (int i = 0; i < 4; ++i) {
    const absl::StatusOr<int> result = results.Next();
    if (i != 2) {
      EXPECT_EQ(result.value(), i);
      continue;
    }
    const TaskFailure failure = GetTaskFailure(result.status()).value();
    EXPECT_EQ(failure.reason, Reason::kThrew);
    EXPECT_EQ(failure.index, 2u);
    EXPECT_EQ(failure.pid, pool.worker_pids().front());
  }
}

// Whether it is done or killed is decided once; and it is one of the two.
TEST(PoolTest, WhoIsDoneAsItsTimeIsOverHangsNobody) {
  for (int i = 0; i < 40; ++i) {
    Pool pool({.workers = 1, .task_timeout = absl::Milliseconds(5)});
    const absl::StatusOr<int> result = pool.Apply([] {
      const absl::Time end = absl::Now() + absl::Microseconds(4980);
      while (absl::Now() < end) {
      }
      return 1;
    });
    if (!result.ok()) {
      EXPECT_EQ(GetTaskFailure(result.status())->reason, Reason::kTimeLimit) << result.status();
    }
  }
}

TEST(PoolTest, WorkersThatNeverBeginAreNotStartedForEver) {
  Pool pool({.workers = 1,
             .start_method = StartMethod::kSpawn,
             .initializer = {[](const Undecodable&) {}, Undecodable()}});
  EXPECT_TRUE(absl::IsAborted(pool.Apply(&Square, 3).status()));
}

TEST(PoolTest, OnlyDeathsInARowOfInitializersEndAPool) {
  const Value<int> begun(0);
  // Each second one is killed.
  Pool pool({.workers = 1,
             .initializer = {[](const Value<int>& count) {
                               if (count.Update([](int& n) { return n++; }) % 2 == 1) {
                                 raise(SIGKILL);
                               }
                             },
                             begun},
             .max_tasks_per_child = 1});
  EXPECT_EQ(pool.Map(&Square, Numbers(12), 1).value(), Squares(12));
}

TEST(PoolTest, WithoutALimitNoMemoryIsAnException) {
  Pool pool(1);
  const auto result = pool.Apply([]() -> int { throw std::bad_alloc(); });
  EXPECT_TRUE(absl::IsInternal(result.status()));
  EXPECT_EQ(GetTaskFailure(result.status())->reason, Reason::kThrew);
}

TEST(PoolTest, AStatusThatATaskReturnsIsNoFailureOfIt) {
  Pool pool(1);
  const absl::Status status = pool.Apply([] {
                                    Pool own(1);
                                    return own.Apply([] { raise(SIGKILL); }).status();
                                  })
                                  .status();
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_EQ(GetTaskFailure(status), std::nullopt);
}

TEST(PoolDeathTest, ExitEndsAPoolThatTheProgramDoesNotEnd) {
  EXPECT_EXIT(
      {
        auto* const pool = new Pool(1);
        const Event begun;
        static_cast<void>(pool->ApplyAsync(
            [](const Event& has_begun) {
              signal(SIGTERM, SIG_IGN);
              has_begun.Set();
              PauseForEver();
            },
            begun));
        begun.Wait();
        std::exit(3);
      },
      ::testing::ExitedWithCode(3), "");
}

TEST(PoolTest, RefusesOptionsThatNoPoolCanHave) {
  EXPECT_TRUE(absl::IsInvalidArgument(Pool::Create({.workers = -1}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Pool::Create({.retries = -1}).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Pool::Create({.task_timeout = absl::ZeroDuration()}).status()));
  EXPECT_DEATH(Pool(0), "workers");
}

}  // namespace
}  // namespace mp
