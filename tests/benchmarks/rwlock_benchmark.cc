// RWLock, beside Lock, and the pthread_rwlock_t that it could be: one reader, readers in several
// processes at once, one writer.

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "benchmark/benchmark.h"
#include "shared/inspect.h"
#include "sync/lock.h"
#include "sync/rwlock.h"
#include "tests/benchmarks/processes.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

// The rival: a process-shared lock as a user would set it up.
class PosixLock {
 public:
  PosixLock() {
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (pthread_rwlock_init(lock_.get(), &attributes) != 0) std::abort();
  }
  ~PosixLock() { pthread_rwlock_destroy(lock_.get()); }
  void Read() const {
    pthread_rwlock_rdlock(lock_.get());
    benchmark::ClobberMemory();
    pthread_rwlock_unlock(lock_.get());
  }
  void Write() const {
    pthread_rwlock_wrlock(lock_.get());
    benchmark::ClobberMemory();
    pthread_rwlock_unlock(lock_.get());
  }

 private:
  testing::Inherited<pthread_rwlock_t> lock_;
};

struct OurLock : RWLock {
  void Read() const {
    AcquireShared();
    benchmark::ClobberMemory();
    ReleaseShared();
  }
  void Write() const {
    Acquire();
    benchmark::ClobberMemory();
    Release();
  }
};

struct PlainLock : Lock {
  void Read() const {
    Acquire();
    benchmark::ClobberMemory();
    Release();
  }
  void Write() const { Read(); }
};

template <typename L>
void BM_ReadUncontended(benchmark::State& state) {
  const L lock;
  for (auto _ : state) lock.Read();
}
BENCHMARK_TEMPLATE(BM_ReadUncontended, PlainLock);
BENCHMARK_TEMPLATE(BM_ReadUncontended, PosixLock);
BENCHMARK_TEMPLATE(BM_ReadUncontended, OurLock);

template <typename L>
void BM_WriteUncontended(benchmark::State& state) {
  const L lock;
  for (auto _ : state) lock.Write();
}
BENCHMARK_TEMPLATE(BM_WriteUncontended, PlainLock);
BENCHMARK_TEMPLATE(BM_WriteUncontended, PosixLock);
BENCHMARK_TEMPLATE(BM_WriteUncontended, OurLock);

// Items: reads of all processes.
template <typename L>
void BM_Readers(benchmark::State& state) {
  constexpr int64_t kRounds = 1'000'000;
  const auto processes = static_cast<int>(state.range(0));
  const L lock;
  for (auto _ : state) {
    state.SetIterationTime(benchmarks::RunInProcesses(processes, [&lock] {
      for (int64_t i = 0; i < kRounds; ++i) lock.Read();
    }));
  }
  state.SetItemsProcessed(state.iterations() * processes * kRounds);
}
BENCHMARK_TEMPLATE(BM_Readers, PosixLock)->ArgName("processes")->Arg(1)->Arg(2)->UseManualTime();
BENCHMARK_TEMPLATE(BM_Readers, OurLock)->ArgName("processes")->Arg(1)->Arg(2)->UseManualTime();

// What an RWLock takes of the domain, with the owner word that the heap keeps beside it.
void BM_RWLockBytes(benchmark::State& state) {
  const RWLock first;
  const size_t before = Stats().in_use;
  for (auto _ : state) {
    const RWLock lock;
    state.counters["bytes"] = static_cast<double>(Stats().in_use - before);
  }
}
BENCHMARK(BM_RWLockBytes)->Iterations(1);

}  // namespace
}  // namespace mp
