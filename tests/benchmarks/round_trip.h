// Round trips between two processes, each bound to a processor of its own, or both to one.
//
//   struct Way {
//     void Ask(uint32_t round);     // by one: passes the turn, and waits until it has it again
//     void Answer(uint32_t round);  // by the other: waits for the turn, and passes it back
//   };
//   RunRoundTrips<Way>(state);      // state.range(0): on how many processors
//
// Time is manual: that of one round trip.

#ifndef MP_TESTS_BENCHMARKS_ROUND_TRIP_H_
#define MP_TESTS_BENCHMARKS_ROUND_TRIP_H_

#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>

#include "benchmark/benchmark.h"
#include "shared/domain.h"
#include "shared/internal/proof_of_death.h"

namespace mp::testing {

inline void BindTo(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(cpu), &cpus);
  sched_setaffinity(0, sizeof(cpus), &cpus);
}

template <typename Way>
void RunRoundTrips(benchmark::State& state) {
  const auto cores = static_cast<int>(state.range(0));
  constexpr uint32_t kRounds = 20'000;
  for (auto _ : state) {
    Way way;
    const pid_t answering = fork();
    if (answering == 0) {
      BindTo(cores - 1);
      for (uint32_t i = 0; i < kRounds; ++i) way.Answer(i);
      _exit(0);
    }
    const pid_t asking = fork();
    if (asking == 0) {
      BindTo(0);
      for (uint32_t i = 0; i < kRounds; ++i) way.Ask(i);
      _exit(0);
    }
    timespec begin;
    timespec end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    waitpid(asking, nullptr, 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    waitpid(answering, nullptr, 0);
    (*Domain::Get())->BuryTheDead(internal::Evidence::kQuick);
    state.SetIterationTime((static_cast<double>(end.tv_sec - begin.tv_sec) +
                            1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec)) /
                           kRounds);
  }
}

}  // namespace mp::testing

#endif  // MP_TESTS_BENCHMARKS_ROUND_TRIP_H_
