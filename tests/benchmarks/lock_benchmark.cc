// Lock and RLock beside the raw mutexes that they could be: one process, two processes on
// one lock, and what it costs to make one.

#include <pthread.h>

#include <cstdint>
#include <cstdlib>

#include "benchmark/benchmark.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "tests/benchmarks/processes.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

// The rivals: a process-shared pthread mutex as a user would set it up.
template <int kRobust, int kType>
class PthreadMutex {
 public:
  PthreadMutex() {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, kRobust);
    pthread_mutexattr_settype(&attributes, kType);
    if (pthread_mutex_init(mutex_.get(), &attributes) != 0) std::abort();
  }
  ~PthreadMutex() { pthread_mutex_destroy(mutex_.get()); }
  void Acquire() const {
    if (pthread_mutex_lock(mutex_.get()) != 0) std::abort();
  }
  void Release() const {
    if (pthread_mutex_unlock(mutex_.get()) != 0) std::abort();
  }

 private:
  testing::Inherited<pthread_mutex_t> mutex_;
};

using PthreadPlain = PthreadMutex<PTHREAD_MUTEX_STALLED, PTHREAD_MUTEX_NORMAL>;
using PthreadRobust = PthreadMutex<PTHREAD_MUTEX_ROBUST, PTHREAD_MUTEX_NORMAL>;
using PthreadRobustRecursive = PthreadMutex<PTHREAD_MUTEX_ROBUST, PTHREAD_MUTEX_RECURSIVE>;

template <typename L>
void BM_LockUncontended(benchmark::State& state) {
  const L lock;
  for (auto _ : state) {
    lock.Acquire();
    benchmark::ClobberMemory();
    lock.Release();
  }
}
BENCHMARK_TEMPLATE(BM_LockUncontended, PthreadRobust);
BENCHMARK_TEMPLATE(BM_LockUncontended, Lock);
BENCHMARK_TEMPLATE(BM_LockUncontended, PthreadRobustRecursive);
BENCHMARK_TEMPLATE(BM_LockUncontended, RLock);
BENCHMARK_TEMPLATE(BM_LockUncontended, PthreadPlain);

// Two processes, each taking the lock as often as it can. Items: acquisitions of both.
template <typename L>
void BM_LockContended(benchmark::State& state) {
  constexpr int64_t kRounds = 200'000;
  const auto processes = static_cast<int>(state.range(0));
  const L lock;
  for (auto _ : state) {
    state.SetIterationTime(benchmarks::RunInProcesses(processes, [&lock] {
      for (int64_t i = 0; i < kRounds; ++i) {
        lock.Acquire();
        benchmark::ClobberMemory();
        lock.Release();
      }
    }));
  }
  state.SetItemsProcessed(state.iterations() * processes * kRounds);
}
BENCHMARK_TEMPLATE(BM_LockContended, PthreadRobust)->ArgName("procs")->Arg(2)->UseManualTime();
BENCHMARK_TEMPLATE(BM_LockContended, Lock)->ArgName("procs")->Arg(2)->UseManualTime();
BENCHMARK_TEMPLATE(BM_LockContended, PthreadPlain)->ArgName("procs")->Arg(2)->UseManualTime();

template <typename L>
void BM_LockMakeAndDrop(benchmark::State& state) {
  const L first;  // the arena has a slab
  for (auto _ : state) {
    const L lock;
    benchmark::DoNotOptimize(lock);
  }
}
BENCHMARK_TEMPLATE(BM_LockMakeAndDrop, Lock);
BENCHMARK_TEMPLATE(BM_LockMakeAndDrop, RLock);
BENCHMARK_TEMPLATE(BM_LockMakeAndDrop, PthreadRobust);

// What a Lock takes of the domain, with the owner word that the heap keeps beside it.
void BM_LockBytes(benchmark::State& state) {
  const Lock first;
  const size_t before = Stats().in_use;
  const Lock second;
  for (auto _ : state) benchmark::DoNotOptimize(second);
  state.counters["bytes"] = static_cast<double>(Stats().in_use - before + sizeof(uint64_t));
}
BENCHMARK(BM_LockBytes);

}  // namespace
}  // namespace mp
