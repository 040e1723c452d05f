// Semaphore, with permits and without, beside the sem_t that it could be: one process, two
// processes on one semaphore, and what it takes.

#include <semaphore.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "benchmark/benchmark.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "sync/semaphore.h"
#include "tests/benchmarks/processes.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

// The rival: a process-shared sem_t as a user would set it up.
class PosixSemaphore {
 public:
  explicit PosixSemaphore(int value) {
    if (sem_init(semaphore_.get(), /*pshared=*/1, static_cast<unsigned>(value)) != 0) std::abort();
  }
  ~PosixSemaphore() { sem_destroy(semaphore_.get()); }
  void Round() const {
    while (sem_wait(semaphore_.get()) != 0) {
      if (errno != EINTR) std::abort();
    }
    benchmark::ClobberMemory();
    if (sem_post(semaphore_.get()) != 0) std::abort();
  }

 private:
  testing::Inherited<sem_t> semaphore_;
};

struct Unowned : Semaphore {
  using Semaphore::Semaphore;
  void Round() const {
    Acquire();
    benchmark::ClobberMemory();
    Release();
  }
};

struct WithPermit : Semaphore {
  using Semaphore::Semaphore;
  void Round() const {
    const Permit permit = AcquirePermit();
    benchmark::ClobberMemory();
  }
};

template <typename S>
void BM_SemaphoreUncontended(benchmark::State& state) {
  const S semaphore(1);
  for (auto _ : state) semaphore.Round();
}
BENCHMARK_TEMPLATE(BM_SemaphoreUncontended, PosixSemaphore);
BENCHMARK_TEMPLATE(BM_SemaphoreUncontended, Unowned);
BENCHMARK_TEMPLATE(BM_SemaphoreUncontended, WithPermit);

// Two processes, each taking a permit as often as it can. Items: acquisitions of both.
template <typename S>
void BM_SemaphoreContended(benchmark::State& state) {
  constexpr int64_t kRounds = 200'000;
  constexpr int kProcesses = 2;
  const S semaphore(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    state.SetIterationTime(benchmarks::RunInProcesses(kProcesses, [&semaphore] {
      for (int64_t i = 0; i < kRounds; ++i) semaphore.Round();
    }));
  }
  state.SetItemsProcessed(state.iterations() * kProcesses * kRounds);
}
void Permits(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("permits")->Arg(1)->Arg(2)->UseManualTime();
}
BENCHMARK_TEMPLATE(BM_SemaphoreContended, PosixSemaphore)->Apply(Permits);
BENCHMARK_TEMPLATE(BM_SemaphoreContended, Unowned)->Apply(Permits);
BENCHMARK_TEMPLATE(BM_SemaphoreContended, WithPermit)->Apply(Permits);

// What a Semaphore takes of the domain, with the owner word that the heap keeps beside it.
void BM_SemaphoreBytes(benchmark::State& state) {
  const Semaphore first;
  const size_t before = Stats().in_use;
  const Semaphore second;
  for (auto _ : state) benchmark::DoNotOptimize(second);
  state.counters["bytes"] = static_cast<double>(Stats().in_use - before + sizeof(uint64_t));
}
BENCHMARK(BM_SemaphoreBytes);

}  // namespace
}  // namespace mp
