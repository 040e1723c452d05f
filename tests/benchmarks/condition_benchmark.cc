// Event and Condition beside the condition of pthread, and beside a word that is spun or slept on,
// as round trips between two processes; and what it costs to make one.

#include <pthread.h>

#include <cstdint>

#include "benchmark/benchmark.h"
#include "shared/raw_value.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "tests/benchmarks/round_trip.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using testing::RawFutex;
using testing::RawSpin;
using testing::TwoWords;

struct Events {
  Event ping;
  Event pong;

  void Ask(uint32_t) {
    ping.Set();
    pong.Wait();
    pong.Clear();
  }
  void Answer(uint32_t) {
    ping.Wait();
    ping.Clear();
    pong.Set();
  }
};

struct ByCondition {
  Condition condition;
  RawValue<int> turn;

  void Ask(uint32_t) {
    const LockGuard guard(condition);
    *turn = 1;
    condition.Notify();
    condition.WaitFor([this] { return *turn == 0; });
  }
  void Answer(uint32_t) {
    const LockGuard guard(condition);
    condition.WaitFor([this] { return *turn == 1; });
    *turn = 0;
    condition.Notify();
  }
};

struct ByPthread {
  struct State {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int turn = 0;
  };
  testing::Inherited<State> state;

  ByPthread() {
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&state->mutex, &mutex);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&state->condition, &condition);
  }

  void Pass(int from, int to) {
    pthread_mutex_lock(&state->mutex);
    while (state->turn != from) pthread_cond_wait(&state->condition, &state->mutex);
    state->turn = to;
    pthread_cond_signal(&state->condition);
    pthread_mutex_unlock(&state->mutex);
  }
  void Ask(uint32_t) {
    Pass(0, 1);
    pthread_mutex_lock(&state->mutex);
    while (state->turn != 0) pthread_cond_wait(&state->condition, &state->mutex);
    pthread_mutex_unlock(&state->mutex);
  }
  void Answer(uint32_t) { Pass(1, 0); }
};

// Who is bound to one processor does not spin: these go through sleep.
template <typename Way>
void BM_RoundTrip(benchmark::State& state) {
  testing::RunRoundTrips<Way>(state);
}
void OneAndTwo(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("cores")->Arg(1)->Arg(2)->UseManualTime()->Iterations(5);
}
BENCHMARK_TEMPLATE(BM_RoundTrip, TwoWords<RawFutex>)->Apply(OneAndTwo);
BENCHMARK_TEMPLATE(BM_RoundTrip, ByPthread)->Apply(OneAndTwo);
BENCHMARK_TEMPLATE(BM_RoundTrip, ByCondition)->Apply(OneAndTwo);
BENCHMARK_TEMPLATE(BM_RoundTrip, Events)->Apply(OneAndTwo);

// Both start at once: where they are not bound, and each has a processor, they spin.
template <typename Way>
void BM_RoundTripAwake(benchmark::State& state) {
  testing::RunShortRoundTrips<Way>(state);
}
void Short(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("cores")->Arg(0)->Arg(2)->UseManualTime()->Iterations(101);
}
BENCHMARK_TEMPLATE(BM_RoundTripAwake, TwoWords<RawSpin>)->Apply(Short);
BENCHMARK_TEMPLATE(BM_RoundTripAwake, ByPthread)->Apply(Short);
BENCHMARK_TEMPLATE(BM_RoundTripAwake, ByCondition)->Apply(Short);
BENCHMARK_TEMPLATE(BM_RoundTripAwake, Events)->Apply(Short);

template <typename T>
void BM_MakeAndDrop(benchmark::State& state) {
  for (auto _ : state) {
    const T object;
    benchmark::DoNotOptimize(&object);
  }
}
BENCHMARK_TEMPLATE(BM_MakeAndDrop, Event);
BENCHMARK_TEMPLATE(BM_MakeAndDrop, Condition);

}  // namespace
}  // namespace mp
