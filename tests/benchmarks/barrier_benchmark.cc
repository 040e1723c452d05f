// Barrier, beside the pthread_barrier_t that it could be: rounds of processes, two on two
// processors and four on two.

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "benchmark/benchmark.h"
#include "shared/inspect.h"
#include "sync/barrier.h"
#include "tests/benchmarks/processes.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

// The rival: a process-shared barrier as a user would set it up.
class PosixBarrier {
 public:
  explicit PosixBarrier(int parties) {
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (pthread_barrier_init(barrier_.get(), &attributes, static_cast<unsigned>(parties)) != 0) {
      std::abort();
    }
  }
  ~PosixBarrier() { pthread_barrier_destroy(barrier_.get()); }
  void Round() const { pthread_barrier_wait(barrier_.get()); }

 private:
  testing::Inherited<pthread_barrier_t> barrier_;
};

struct OurBarrier : Barrier {
  using Barrier::Barrier;
  void Round() const {
    if (!Wait().ok()) std::abort();
  }
};

// Items: rounds.
template <typename B>
void BM_BarrierRounds(benchmark::State& state) {
  const auto parties = static_cast<int>(state.range(0));
  const int64_t rounds = state.range(1);
  const B barrier(parties);
  for (auto _ : state) {
    state.SetIterationTime(benchmarks::RunInProcesses(parties, [&] {
      for (int64_t i = 0; i < rounds; ++i) barrier.Round();
    }));
  }
  state.SetItemsProcessed(state.iterations() * rounds);
}
BENCHMARK_TEMPLATE(BM_BarrierRounds, PosixBarrier)
    ->ArgNames({"parties", "rounds"})
    ->Args({2, 20'000})
    ->Args({4, 20'000})
    ->UseManualTime();
BENCHMARK_TEMPLATE(BM_BarrierRounds, OurBarrier)
    ->ArgNames({"parties", "rounds"})
    ->Args({2, 1'000'000})
    ->Args({4, 20'000})
    ->UseManualTime();

// What a Barrier takes of the domain, with the owner word that the heap keeps beside it.
void BM_BarrierBytes(benchmark::State& state) {
  const Barrier first(2);
  const size_t before = Stats().in_use;
  for (auto _ : state) {
    const Barrier barrier(2);
    state.counters["bytes"] = static_cast<double>(Stats().in_use - before);
  }
}
BENCHMARK(BM_BarrierBytes)->Iterations(1);

}  // namespace
}  // namespace mp
