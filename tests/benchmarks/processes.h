// RunInProcesses: the same work in several processes at once, for benchmarks.

#ifndef MP_TESTS_BENCHMARKS_PROCESSES_H_
#define MP_TESTS_BENCHMARKS_PROCESSES_H_

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <type_traits>

#include "tests/support/inherited.h"

namespace mp::benchmarks {

// Forks `count` processes (at most 64), each bound to a processor of its own where there
// are enough, starts `work()` in all at once, and returns the seconds from the first one's
// start to the last one's end. Or `work(i)` in the i-th, which is bound to the i-th processor.
template <typename Work>
double RunInProcesses(int count, const Work& work) {
  constexpr int kMost = 64;
  struct Board {
    std::atomic<int> ready = 0;
    std::atomic<bool> go = false;
    int64_t begin[kMost];
    int64_t end[kMost];
  };
  if (count > kMost) std::abort();
  const testing::Inherited<Board> board;
  auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  for (int i = 0; i < count; ++i) {
    const pid_t pid = fork();
    if (pid < 0) std::abort();
    if (pid != 0) continue;
    cpu_set_t cpu;
    CPU_ZERO(&cpu);
    CPU_SET(static_cast<unsigned>(i) % static_cast<unsigned>(sysconf(_SC_NPROCESSORS_ONLN)), &cpu);
    sched_setaffinity(0, sizeof(cpu), &cpu);
    ++board->ready;
    while (!board->go.load(std::memory_order_acquire)) sched_yield();
    board->begin[i] = now();
    if constexpr (std::is_invocable_v<const Work&, int>) {
      work(i);
    } else {
      work();
    }
    board->end[i] = now();
    _exit(0);
  }
  while (board->ready.load() < count) sched_yield();
  board->go.store(true, std::memory_order_release);
  for (int i = 0; i < count; ++i) {
    int status = 0;
    if (wait(&status) < 0 || status != 0) std::abort();
  }
  const int64_t elapsed = *std::max_element(board->end, board->end + count) -
                          *std::min_element(board->begin, board->begin + count);
  const std::chrono::steady_clock::duration taken(elapsed);
  return std::chrono::duration_cast<std::chrono::duration<double>>(taken).count();
}

}  // namespace mp::benchmarks

#endif  // MP_TESTS_BENCHMARKS_PROCESSES_H_
