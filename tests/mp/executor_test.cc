// What an Executor promises: by processes, and by one that shares no memory with who calls it.

#include "mp/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/codec.h"
#include "mp/future.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/task_code.h"
#include "mp/internal/task_runner.h"
#include "mp/process_pool_executor.h"
#include "mp/task_failure.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

using ::testing::ElementsAre;
using testing::PauseForEver;
using ::testing::SizeIs;

int Square(int x) { return x * x; }
std::string Join(const std::string& text, int number) { return text + std::to_string(number); }
int Throws(int x) { throw std::runtime_error("no " + std::to_string(x)); }

std::vector<int> Numbers(int n) {
  std::vector<int> numbers(static_cast<size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Runs everything in its caller's thread, as soon as that waits for it; from bytes alone, as one
// would whose workers are elsewhere.
class RunsLater final : public internal::TaskRunner {
 public:
  absl::StatusOr<JobPointer> MakeJob(const internal::TaskCode& code) override {
    Encoder encoder;
    const absl::Status status =
        internal::Guarded(absl::StatusCode::kInternal, [&] { code.Encode(encoder); });
    if (!status.ok()) return status;
    return MakeJob(encoder);
  }
  absl::StatusOr<JobPointer> KnownJob(const JobKey& /*key*/,
                                      const internal::TaskCode& code) override {
    return MakeJob(code);
  }
  absl::StatusOr<uint32_t> Put(const JobPointer& job,
                               const std::shared_ptr<internal::TaskSink>& sink, uint64_t index,
                               const Encoder& argument, bool feeds) override {
    if (closed_ && !feeds) return absl::FailedPreconditionError("closed");
    if (!argument.handles().empty()) return absl::InvalidArgumentError("it shares no memory");
    tasks_.push_back({static_cast<const Bytes&>(*job).bytes, argument.ToString(), sink, index});
    return static_cast<uint32_t>(tasks_.size() - 1);
  }
  absl::Status AwaitRoom() override { return absl::OkStatus(); }
  bool Cancel(uint32_t task, const internal::TaskSink& sink) override {
    if (task >= tasks_.size() || tasks_[task].sink.get() != &sink) return false;
    const auto owner = std::move(tasks_[task].sink);
    owner->Take(tasks_[task].index, {.kind = internal::TaskOutcome::Kind::kDropped,
                                     .why = absl::CancelledError("cancelled")});
    return true;
  }
  bool IsTaken(uint32_t /*task*/, const internal::TaskSink& /*sink*/) const override {
    return false;
  }
  absl::Status BeginFeeding(std::weak_ptr<internal::Feeder> /*feeder*/) override {
    return closed_ ? absl::FailedPreconditionError("closed") : absl::OkStatus();
  }
  void EndFeeding() override {}
  int workers() const override { return 1; }
  size_t max_in_flight() const override { return 0; }
  const std::function<void(const PoolProgress&)>& on_progress() const override {
    return on_progress_;
  }

  using FutureDriver::DriveUntil;
  bool DriveUntil(absl::FunctionRef<bool()> done, const timespec* /*deadline*/,
                  absl::FunctionRef<size_t()> /*to_come*/) override {
    while (!done()) {
      if (next_ == tasks_.size()) return false;
      Task task = std::move(tasks_[next_++]);
      if (task.sink != nullptr) Run(task);
    }
    return true;
  }
  void Helper() override {}
  absl::Status CheckIsMaker() const override { return absl::OkStatus(); }
  void Close() { closed_ = true; }

 private:
  struct Bytes final : Job {
    explicit Bytes(std::string of) : bytes(std::move(of)) {}
    const std::string bytes;
  };
  struct Task {
    std::string code;
    std::string argument;
    std::shared_ptr<internal::TaskSink> sink;
    uint64_t index;
  };

  static absl::StatusOr<JobPointer> MakeJob(const Encoder& encoder) {
    if (!encoder.handles().empty()) return absl::InvalidArgumentError("it shares no memory");
    return std::make_shared<const Bytes>(encoder.ToString());
  }
  static void Run(const Task& task) {
    internal::ResultEncoder result;
    internal::TaskError error;
    const absl::Status status = internal::Guarded(absl::StatusCode::kDataLoss, [&] {
      Decoder code(task.code);
      Decoder argument(task.argument);
      error = internal::DecodeTaskCode(code)->Run(argument, result);
    });
    if (!status.ok()) error = {.status = status};
    if (error.status.ok()) {
      const std::string bytes = result.ToString();
      Decoder decoder(bytes);
      task.sink->Take(task.index, {.result = &decoder});
    } else {
      task.sink->Take(task.index, {.kind = internal::TaskOutcome::Kind::kError,
                                   .error = error,
                                   .failure = {.reason = TaskFailure::Reason::kThrew}});
    }
  }

  std::vector<Task> tasks_;
  size_t next_ = 0;
  bool closed_ = false;
  const std::function<void(const PoolProgress&)> on_progress_;
};

class LaterExecutor final : public Executor {
 public:
  LaterExecutor() : LaterExecutor(std::make_shared<RunsLater>()) {}

 private:
  void DoShutdown(bool /*wait*/, bool /*cancel_futures*/) override { runner_->Close(); }
  explicit LaterExecutor(std::shared_ptr<RunsLater> runner) : Executor(runner), runner_(runner) {}

  const std::shared_ptr<RunsLater> runner_;
};

// Python: ExecutorTest of Lib/test/test_concurrent_futures/executor.py.
template <class E>
class ExecutorTest : public ::testing::Test {
 protected:
  E executor_;
};

struct TwoProcesses : ProcessPoolExecutor {
  TwoProcesses() : ProcessPoolExecutor(2) {}
};

using Executors = ::testing::Types<TwoProcesses, LaterExecutor>;
TYPED_TEST_SUITE(ExecutorTest, Executors);

TYPED_TEST(ExecutorTest, CallsWhatIsSubmitted) {
  Executor& executor = this->executor_;
  const Future<int> nine = executor.Submit(&Square, 3);
  const Future<std::string> text = executor.Submit(&Join, "n", 1);
  EXPECT_EQ(text.Get().value(), "n1");
  EXPECT_EQ(nine.Get().value(), 9);
  EXPECT_EQ(nine.Get().value(), 9);
  EXPECT_TRUE(nine.Done());
  const absl::Status threw = executor.Submit(&Throws, 4).Get().status();
  EXPECT_TRUE(absl::IsInternal(threw)) << threw;
  EXPECT_THAT(std::string(threw.message()), ::testing::HasSubstr("no 4"));
  EXPECT_EQ(GetTaskFailure(threw)->reason, TaskFailure::Reason::kThrew);
}

TYPED_TEST(ExecutorTest, MapsInOrder) {
  std::vector<int> results;
  for (const absl::StatusOr<int>& result : this->executor_.Map(&Square, Numbers(5), 2)) {
    results.push_back(result.value());
  }
  EXPECT_THAT(results, ElementsAre(0, 1, 4, 9, 16));
  const std::vector<std::pair<std::string, int>> pairs = {{"a", 1}, {"b", 2}};
  std::vector<std::string> texts;
  for (const auto& result : this->executor_.Starmap(&Join, pairs)) texts.push_back(result.value());
  EXPECT_THAT(texts, ElementsAre("a1", "b2"));
}

TYPED_TEST(ExecutorTest, RefusesTasksAfterShutdown) {
  const Future<int> before = this->executor_.Submit(&Square, 2);
  this->executor_.Shutdown(/*wait=*/false, /*cancel_futures=*/false);
  this->executor_.Shutdown(/*wait=*/false, /*cancel_futures=*/false);
  EXPECT_TRUE(absl::IsFailedPrecondition(this->executor_.Submit(&Square, 3).Get().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(this->executor_.Map(&Square, Numbers(2)).Next().status()));
  EXPECT_EQ(before.Get().value(), 4);
}

TEST(ExecutorTest, OneThatSharesNoMemoryRefusesHandles) {
  LaterExecutor executor;
  const Lock lock;
  EXPECT_TRUE(absl::IsInvalidArgument(executor.Submit([](const Lock&) {}, lock).Get().status()));
  const auto bound = BindFront([](const Lock&, int x) { return x; }, lock);
  EXPECT_TRUE(absl::IsInvalidArgument(executor.Submit(bound, 1).Get().status()));
}

TEST(ProcessPoolExecutorTest, ShutdownCancelsWhatHasNotBegun) {
  ProcessPoolExecutor executor(1);
  const Event go;
  const auto wait = [](const Event& event, int x) {
    event.Wait();
    return x;
  };
  const Future<int> runs = executor.Submit(wait, go, 1);
  while (!runs.Running()) std::this_thread::yield();
  const Future<int> waits = executor.Submit(wait, go, 2);
  executor.Shutdown(/*wait=*/false, /*cancel_futures=*/true);
  EXPECT_TRUE(waits.Cancelled());
  go.Set();
  EXPECT_EQ(runs.Get().value(), 1);
  executor.Shutdown();
  EXPECT_TRUE(executor.worker_pids().empty());
}

TEST(ProcessPoolExecutorTest, CancelsAFutureThatHasNotBegun) {
  ProcessPoolExecutor executor(1);
  const Event go;
  const auto wait = [](const Event& event) { event.Wait(); };
  const auto runs = executor.Submit(wait, go);
  while (!runs.Running()) std::this_thread::yield();
  const Future<int> waits = executor.Submit(&Square, 2);
  int told = 0;
  waits.AddDoneCallback([&](const Future<int>& future) { told += future.Cancelled() ? 1 : 0; });
  EXPECT_FALSE(runs.Cancel());
  EXPECT_TRUE(waits.Cancel());
  EXPECT_TRUE(waits.Cancel());
  EXPECT_TRUE(waits.Cancelled());
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(absl::IsCancelled(waits.Get().status()));
  go.Set();
  EXPECT_TRUE(runs.Get().ok());
  EXPECT_FALSE(runs.Cancel());
}

TEST(ProcessPoolExecutorTest, FuturesOutliveIt) {
  const Event go;
  auto executor = std::make_unique<ProcessPoolExecutor>(1);
  const Future<int> future = executor->Submit(
      [](const Event& event, int x) {
        event.Wait();
        return x;
      },
      go, 5);
  executor->Shutdown(/*wait=*/false);
  executor.reset();
  go.Set();
  EXPECT_EQ(future.Get().value(), 5);
}

// By a thread of its own, which ends with what it does.
TEST(ProcessPoolExecutorTest, ACallbackComesAfterItsEnd) {
  const Event go;
  const Event told;
  {
    ProcessPoolExecutor executor(1);
    const auto future = executor.Submit([](const Event& event) { event.Wait(); }, go);
    future.AddDoneCallback([&](const auto& done) {
      if (done.Get().ok()) told.Set();
    });
    executor.Shutdown(/*wait=*/false);
  }
  go.Set();
  told.Wait();
}

TEST(ProcessPoolExecutorTest, ItsEndWaits) {
  Future<int> future = [] {
    ProcessPoolExecutor executor(2);
    return executor.Submit(&Square, 7);
  }();
  EXPECT_TRUE(future.Done());
  EXPECT_EQ(future.Get().value(), 49);
}

TEST(ProcessPoolExecutorTest, WorkersAreTerminatedOrKilled) {
  for (const bool kills : {false, true}) {
    ProcessPoolExecutor executor(2);
    const Event blocked;
    // Who ignores SIGTERM is killed in the end.
    const auto runs = executor.Submit(
        [](const Event& begun, bool ignores) {
          if (ignores) signal(SIGTERM, SIG_IGN);
          begun.Set();
          PauseForEver();
        },
        blocked, kills);
    blocked.Wait();
    if (kills) {
      executor.KillWorkers();
    } else {
      executor.TerminateWorkers();
    }
    EXPECT_TRUE(absl::IsCancelled(runs.Get().status()));
    EXPECT_TRUE(executor.worker_pids().empty());
    EXPECT_TRUE(absl::IsFailedPrecondition(executor.Submit(&Square, 1).Get().status()));
  }
}

// Python breaks the whole executor.
TEST(ProcessPoolExecutorTest, AWorkerThatIsKilledTakesItsOneTaskAlong) {
  ProcessPoolExecutor executor(2);
  std::vector<Future<int>> futures;
  for (int i = 0; i < 20; ++i) {
    futures.push_back(executor.Submit(
        [](int x) {
          if (x == 7) raise(SIGKILL);
          return x;
        },
        i));
  }
  for (int i = 0; i < 20; ++i) {
    const absl::StatusOr<int> result = futures[static_cast<size_t>(i)].Get();
    if (i == 7) {
      EXPECT_TRUE(absl::IsAborted(result.status()));
      EXPECT_EQ(GetTaskFailure(result.status())->exitcode, -SIGKILL);
    } else {
      EXPECT_EQ(result.value(), i);
    }
  }
  EXPECT_THAT(executor.worker_pids(), SizeIs(2));
}

TEST(ProcessPoolExecutorTest, RefusesOptionsThatNoneCanHave) {
  EXPECT_TRUE(absl::IsInvalidArgument(ProcessPoolExecutor::Create({.workers = -1}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ProcessPoolExecutor::Create({.retries = -1}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ProcessPoolExecutor::Create({.task_timeout = absl::ZeroDuration()}).status()));
  EXPECT_EQ((*ProcessPoolExecutor::Create({.workers = 3}))->workers(), 3);
  EXPECT_DEATH(ProcessPoolExecutor(0), "ProcessPoolExecutor: .* workers");
}

TEST(ProcessPoolExecutorTest, IsOfNoUseInAChild) {
  ProcessPoolExecutor executor(1);
  const Future<int> future = executor.Submit(&Square, 3);
  const pid_t pid = fork();
  if (pid == 0) {
    const bool right = absl::IsFailedPrecondition(executor.Submit(&Square, 3).Get().status()) &&
                       (future.Get().ok() || absl::IsFailedPrecondition(future.Get().status()));
    executor.Shutdown();
    _exit(right ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(future.Get().value(), 9);
}

}  // namespace
}  // namespace mp
