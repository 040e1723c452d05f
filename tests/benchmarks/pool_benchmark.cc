// What a task of a pool costs, and what a start, a death and a large argument do.
//
//   bazel run -c opt //tests/benchmarks:pool_benchmark
//   python3 tests/benchmarks/pool_python.py      # the same with Python's Pool and Executor
//
// Real time, since most of the work is done by other processes.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "mp/init.h"
#include "mp/or_die.h"
#include "mp/pool.h"
#include "shared/raw_array.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

int AddOne(int x) { return x + 1; }

std::vector<int> Numbers(int count) {
  std::vector<int> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

void MapBy(benchmark::State& state, size_t chunksize) {
  Pool pool(static_cast<int>(state.range(0)));
  const std::vector<int> numbers = Numbers(static_cast<int>(state.range(1)));
  OrDie(pool.Map(&AddOne, numbers, chunksize).status());
  for (auto _ : state) {
    const std::vector<int> results = OrDie(pool.Map(&AddOne, numbers, chunksize));
    benchmark::DoNotOptimize(results.data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
}

void MapChunksOfOne(benchmark::State& state) { MapBy(state, 1); }
BENCHMARK(MapChunksOfOne)->Args({1, 100'000})->Args({2, 100'000})->UseRealTime();

void MapDefaultChunks(benchmark::State& state) { MapBy(state, 0); }
BENCHMARK(MapDefaultChunks)->Args({2, 1'000'000})->UseRealTime();

void ImapUnorderedOne(benchmark::State& state) {
  Pool pool(2);
  const std::vector<int> numbers = Numbers(100'000);
  for (auto _ : state) {
    int64_t sum = 0;
    for (const absl::StatusOr<int>& result : pool.ImapUnordered(&AddOne, numbers)) sum += *result;
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations() * 100'000);
}
BENCHMARK(ImapUnorderedOne)->UseRealTime();

// One task, and its result, at a time; both sides look for a while before they sleep.
void SubmitToResult(benchmark::State& state) {
  Pool pool(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(OrDie(pool.ApplyAsync(&AddOne, 1).Get()));
  }
}
BENCHMARK(SubmitToResult)->UseRealTime();

// The worker has gone to sleep in between.
void SubmitToASleepingWorker(benchmark::State& state) {
  Pool pool(1);
  for (auto _ : state) {
    state.PauseTiming();
    absl::SleepFor(absl::Milliseconds(2));
    state.ResumeTiming();
    benchmark::DoNotOptimize(OrDie(pool.ApplyAsync(&AddOne, 1).Get()));
  }
}
BENCHMARK(SubmitToASleepingWorker)->UseRealTime()->Iterations(300);

void AnArgumentOf64MiB(benchmark::State& state) {
  constexpr size_t kSize = size_t{64} << 20;
  Pool pool(1);
  const std::vector<char> bytes(kSize, 'x');
  for (auto _ : state) {
    const auto size = pool.Apply([](const std::vector<char>& all) { return all.size(); }, bytes);
    if (OrDie(size) != kSize) std::abort();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kSize));
}
BENCHMARK(AnArgumentOf64MiB)->UseRealTime();

// The same, which is there for all processes.
void AHandleTo64MiB(benchmark::State& state) {
  constexpr size_t kSize = size_t{64} << 20;
  Pool pool(1);
  const RawArray<char> bytes(kSize);
  for (auto _ : state) {
    const auto size = pool.Apply([](const RawArray<char>& all) { return all.size(); }, bytes);
    if (OrDie(size) != kSize) std::abort();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kSize));
}
BENCHMARK(AHandleTo64MiB)->UseRealTime();

// From the kill until the caller has the task's status; and until another worker has done a task.
void AWorkerIsKilled(benchmark::State& state) {
  Pool pool(1);
  double told = 0;
  for (auto _ : state) {
    state.PauseTiming();
    const Future<int> lost = pool.ApplyAsync([] {
      testing::PauseForEver();
      return 0;
    });
    while (!lost.Running()) {
    }
    const pid_t worker = pool.worker_pids().front();
    state.ResumeTiming();
    const absl::Time begin = absl::Now();
    kill(worker, SIGKILL);
    if (lost.Get().ok()) std::abort();
    told += absl::ToDoubleSeconds(absl::Now() - begin);
    benchmark::DoNotOptimize(OrDie(pool.Apply(&AddOne, 1)));
  }
  state.counters["told"] = benchmark::Counter(told, benchmark::Counter::kAvgIterations);
}
BENCHMARK(AWorkerIsKilled)->UseRealTime()->Iterations(100);

void StartAndEnd(benchmark::State& state) {
  for (auto _ : state) {
    Pool pool({.workers = static_cast<int>(state.range(0)), .start_method = StartMethod::kFork});
    pool.Close();
    OrDie(pool.Join());
  }
}
BENCHMARK(StartAndEnd)->Arg(2)->Arg(100)->UseRealTime();

void BareForks(benchmark::State& state) {
  for (auto _ : state) {
    std::vector<pid_t> children;
    for (int64_t i = 0; i < state.range(0); ++i) {
      const pid_t pid = fork();
      if (pid == 0) _exit(0);
      children.push_back(pid);
    }
    for (const pid_t pid : children) {
      if (waitpid(pid, nullptr, 0) != pid) std::abort();
    }
  }
}
BENCHMARK(BareForks)->Arg(2)->Arg(100)->UseRealTime();

}  // namespace
}  // namespace mp

int main(int argc, char** argv) {
  mp::Init(&argc, &argv);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
