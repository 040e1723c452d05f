// What it costs to make ten thousand of a primitive and to drop them, each, beside a robust mutex
// in a page of its own. All are there at once.

#include <pthread.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <vector>

#include "benchmark/benchmark.h"
#include "sync/array.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "sync/once.h"
#include "sync/rlock.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "sync/value.h"

namespace mp {
namespace {

// The rival: as a user would make one.
class MutexInPage {
 public:
  MutexInPage() {
    void* memory = mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    mutex_ = static_cast<pthread_mutex_t*>(memory);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex_, &attributes);
  }
  ~MutexInPage() {
    pthread_mutex_destroy(mutex_);
    munmap(mutex_, sizeof(pthread_mutex_t));
  }
  MutexInPage(const MutexInPage&) = delete;
  MutexInPage& operator=(const MutexInPage&) = delete;

 private:
  pthread_mutex_t* mutex_;
};

// Room for a T that is made later, so that none is moved.
template <typename T>
union Place {
  Place() {}
  ~Place() {}
  T object;
};

// "each": processor time of one.
template <typename T>
void BM_MakeAndDropMany(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  std::vector<Place<T>> places(count);
  for (auto _ : state) {
    for (Place<T>& place : places) {
      if constexpr (std::is_same_v<T, Array<int>> || std::is_same_v<T, Barrier> ||
                    std::is_same_v<T, Latch>) {
        new (&place.object) T(1);
      } else {
        new (&place.object) T();
      }
    }
    for (Place<T>& place : places) place.object.~T();
  }
  state.counters["each"] =
      benchmark::Counter(static_cast<double>(state.iterations() * state.range(0)),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
void TenThousand(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("objects")->Arg(10'000);
}
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, MutexInPage)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Lock)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, RLock)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Semaphore)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, BoundedSemaphore)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Event)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Condition)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Value<int>)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Array<int>)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Barrier)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, RWLock)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Latch)->Apply(TenThousand);
BENCHMARK_TEMPLATE(BM_MakeAndDropMany, Once)->Apply(TenThousand);

}  // namespace
}  // namespace mp
