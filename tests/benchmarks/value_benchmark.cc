// Value beside a raw robust mutex and an integer, and what it costs to make one.

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "benchmark/benchmark.h"
#include "shared/inspect.h"
#include "sync/array.h"
#include "sync/lock.h"
#include "sync/value.h"
#include "tests/benchmarks/processes.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

// The rival: as a user would set it up, and as unforgiving as he would be.
class RobustNumber {
 public:
  RobustNumber() {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    if (pthread_mutex_init(&memory_->mutex, &attributes) != 0) std::abort();
  }
  ~RobustNumber() { pthread_mutex_destroy(&memory_->mutex); }
  template <typename F>
  auto Update(const F& change) const {
    if (pthread_mutex_lock(&memory_->mutex) != 0) std::abort();
    const auto result = change(memory_->number);
    if (pthread_mutex_unlock(&memory_->mutex) != 0) std::abort();
    return result;
  }

 private:
  struct Memory {
    pthread_mutex_t mutex;
    int64_t number;
  };
  testing::Inherited<Memory> memory_;
};

// With the other kind of lock.
class LockedValue : public Value<int64_t> {
 public:
  LockedValue() : Value<int64_t>(0, Lock()) {}
};

template <typename V>
void BM_ValueUpdate(benchmark::State& state) {
  const V value;
  for (auto _ : state) {
    benchmark::DoNotOptimize(value.Update([](int64_t& n) { return ++n; }));
  }
}
BENCHMARK_TEMPLATE(BM_ValueUpdate, RobustNumber);
BENCHMARK_TEMPLATE(BM_ValueUpdate, Value<int64_t>);
BENCHMARK_TEMPLATE(BM_ValueUpdate, LockedValue);

void BM_ValueGet(benchmark::State& state) {
  const Value<int64_t> value;
  for (auto _ : state) benchmark::DoNotOptimize(value.Get());
}
BENCHMARK(BM_ValueGet);

void BM_ValueSet(benchmark::State& state) {
  const Value<int64_t> value;
  for (auto _ : state) value.Set(1);
}
BENCHMARK(BM_ValueSet);

// The two in turn, in short pieces, so that whatever else the machine does slows down both.
void BM_ValueUpdateRatio(benchmark::State& state) {
  constexpr int kRounds = 10'000;
  const Value<int64_t> value;
  const RobustNumber rival;
  auto seconds = [](const auto& number) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kRounds; ++i) {
      benchmark::DoNotOptimize(number.Update([](int64_t& n) { return ++n; }));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  std::vector<double> ratios;
  for (auto _ : state) {
    const double of_rival = seconds(rival);
    ratios.push_back(seconds(value) / of_rival);
  }
  std::nth_element(ratios.begin(), ratios.begin() + ratios.size() / 2, ratios.end());
  state.counters["ratio"] = ratios[ratios.size() / 2];
}
BENCHMARK(BM_ValueUpdateRatio)->Unit(benchmark::kMicrosecond);

// Items: updates of both.
template <typename V>
void BM_ValueContended(benchmark::State& state) {
  constexpr int64_t kRounds = 200'000;
  const auto processes = static_cast<int>(state.range(0));
  const V value;
  for (auto _ : state) {
    state.SetIterationTime(benchmarks::RunInProcesses(processes, [&value] {
      for (int64_t i = 0; i < kRounds; ++i) value.Update([](int64_t& n) { return ++n; });
    }));
  }
  state.SetItemsProcessed(state.iterations() * processes * kRounds);
}
BENCHMARK_TEMPLATE(BM_ValueContended, RobustNumber)->ArgName("procs")->Arg(2)->UseManualTime();
BENCHMARK_TEMPLATE(BM_ValueContended, Value<int64_t>)->ArgName("procs")->Arg(2)->UseManualTime();

template <typename V>
void BM_ValueMakeAndDrop(benchmark::State& state) {
  const V first;  // the arena has a slab
  for (auto _ : state) {
    const V value;
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK_TEMPLATE(BM_ValueMakeAndDrop, Value<int64_t>);
BENCHMARK_TEMPLATE(BM_ValueMakeAndDrop, LockedValue);
BENCHMARK_TEMPLATE(BM_ValueMakeAndDrop, RobustNumber);

void BM_ArrayMakeAndDrop(benchmark::State& state) {
  const auto length = static_cast<size_t>(state.range(0));
  const Array<int64_t> first(length);
  for (auto _ : state) {
    const Array<int64_t> array(length);
    benchmark::DoNotOptimize(array);
  }
}
BENCHMARK(BM_ArrayMakeAndDrop)->ArgName("length")->Arg(10);

// What they take of the domain, with the owner words that the heap keeps beside them; an Array
// beside its elements.
void BM_ValueBytes(benchmark::State& state) {
  const Value<int64_t> first;
  const size_t before = Stats().in_use;
  const Value<int64_t> second;
  const size_t between = Stats().in_use;
  const Array<int64_t> array(2);
  for (auto _ : state) benchmark::DoNotOptimize(second);
  state.counters["bytes"] = static_cast<double>(between - before + sizeof(uint64_t));
  state.counters["array_bytes"] =
      static_cast<double>(Stats().in_use - between + 2 * sizeof(uint64_t) - 2 * sizeof(int64_t));
}
BENCHMARK(BM_ValueBytes);

}  // namespace
}  // namespace mp
