// Round trips between two processes, each bound to a processor of its own, or both to one.
//
//   struct Way {
//     void Ask(uint32_t round);     // by one: passes the turn, and waits until it has it again
//     void Answer(uint32_t round);  // by the other: waits for the turn, and passes it back
//   };
//   RunRoundTrips<Way>(state);
//
// state.range(0) says on how many processors; 0: bound to none, wherever they are put. Who is bound
// to one does not spin. Else it may go either way: who is answered at once spins the next time,
// too; who has slept takes so long to wake that the other sleeps. RunShortRoundTrips ends before
// others have interfered.
//
// Time is manual: that of one round trip. "median_us" is of the iterations, each with processes of
// its own, which start at once.
//
// TwoWords<RawFutex> is a rival that sleeps at once, TwoWords<RawSpin> one that never does.

#ifndef MP_TESTS_BENCHMARKS_ROUND_TRIP_H_
#define MP_TESTS_BENCHMARKS_ROUND_TRIP_H_

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "benchmark/benchmark.h"
#include "shared/domain.h"
#include "shared/internal/futex.h"
#include "shared/internal/proof_of_death.h"

namespace mp::testing {

inline void BindTo(int cpu) {
  if (cpu < 0) return;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(cpu), &cpus);
  sched_setaffinity(0, sizeof(cpus), &cpus);
}

struct RawFutex {
  static void Await(internal::FutexWord& word, uint32_t value) {
    while (word.load(std::memory_order_acquire) == value) internal::FutexWait(word, value, nullptr);
  }
  static void Pass(internal::FutexWord& word) {
    word.fetch_add(1, std::memory_order_acq_rel);
    internal::FutexWake(word, 1);
  }
};

struct RawSpin {
  static void Await(internal::FutexWord& word, uint32_t value) {
    while (word.load(std::memory_order_acquire) == value) __builtin_ia32_pause();
  }
  static void Pass(internal::FutexWord& word) { word.fetch_add(1, std::memory_order_acq_rel); }
};

// One for each direction.
template <typename Way>
class TwoWords {
 public:
  void Ask(uint32_t round) {
    Way::Pass(ping_);
    Way::Await(pong_, round);
  }
  void Answer(uint32_t round) {
    Way::Await(ping_, round);
    Way::Pass(pong_);
  }

 private:
  static internal::FutexWord& MakeWord() {
    return *new ((*Domain::Get())->Allocate(64, 64).value()) internal::FutexWord(0);
  }

  internal::FutexWord& ping_ = MakeWord();
  internal::FutexWord& pong_ = MakeWord();
};

template <typename Way>
void RunRoundTripsOf(benchmark::State& state, uint32_t rounds) {
  using Seconds = std::chrono::duration<double>;
  // In which a child makes its first use of everything, and copies the pages that it writes.
  constexpr uint32_t kFirst = 50;
  const auto cores = static_cast<int>(state.range(0));
  Domain& domain = **Domain::Get();
  auto& elapsed = *new (domain.Allocate(sizeof(Seconds)).value()) Seconds(0);
  std::vector<Seconds> times;
  for (auto _ : state) {
    Way way;
    TwoWords<RawSpin> start;
    const pid_t answering = fork();
    if (answering == 0) {
      BindTo(cores - 1);
      start.Answer(0);
      for (uint32_t i = 0; i < kFirst + rounds; ++i) way.Answer(i);
      _exit(0);
    }
    const pid_t asking = fork();
    if (asking == 0) {
      BindTo(std::min(cores, 1) - 1);
      start.Ask(0);
      for (uint32_t i = 0; i < kFirst; ++i) way.Ask(i);
      const auto begin = std::chrono::steady_clock::now();
      for (uint32_t i = kFirst; i < kFirst + rounds; ++i) way.Ask(i);
      elapsed = std::chrono::steady_clock::now() - begin;
      _exit(0);
    }
    waitpid(asking, nullptr, 0);
    waitpid(answering, nullptr, 0);
    domain.BuryTheDead(internal::Evidence::kQuick);
    times.push_back(elapsed / rounds);
    state.SetIterationTime(times.back().count());
  }
  domain.Free(&elapsed);
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  state.counters["median_us"] = 1e6 * middle->count();
}
template <typename Way>
void RunRoundTrips(benchmark::State& state) {
  RunRoundTripsOf<Way>(state, 20'000);
}
template <typename Way>
void RunShortRoundTrips(benchmark::State& state) {
  RunRoundTripsOf<Way>(state, 500);
}

}  // namespace mp::testing

#endif  // MP_TESTS_BENCHMARKS_ROUND_TRIP_H_
