// A crowd asleep on one Event, beside as many on a bare futex: until all have run when they are
// woken, and what they do while nobody wakes them.

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "shared/domain.h"
#include "shared/internal/futex.h"
#include "shared/internal/proof_of_death.h"
#include "sync/event.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using Clock = std::chrono::steady_clock;

class RawFutex {
 public:
  void Wait() const {
    while (word_.load(std::memory_order_acquire) == 0) internal::FutexWait(word_, 0, nullptr);
  }
  void Set() const {
    word_.store(1, std::memory_order_release);
    internal::FutexWake(word_, internal::kWakeAll);
  }

 private:
  internal::FutexWord& word_ = *new ((*Domain::Get())->Allocate(64).value()) internal::FutexWord(0);
};

// Processes with threads each, which wait from its construction on.
template <typename E>
class Crowd {
 public:
  Crowd(int processes, int threads) : size_(processes * threads) {
    for (int i = 0; i < processes; ++i) {
      const pid_t pid = fork();
      if (pid < 0) std::abort();
      if (pid != 0) {
        pids_.push_back(pid);
        continue;
      }
      std::vector<std::thread> others;
      for (int j = 1; j < threads; ++j) others.emplace_back([this] { WaitAndTell(); });
      WaitAndTell();
      for (std::thread& other : others) other.join();
      _exit(0);
    }
    while (board_->come != size_) usleep(1000);
    // Longer than the first nap of the last one.
    usleep(300'000);
  }
  ~Crowd() {
    event_.Set();
    for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
    (*Domain::Get())->BuryTheDead(internal::Evidence::kQuick);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  // Seconds until the last one has run.
  double Wake() {
    const Clock::time_point begin = Clock::now();
    event_.Set();
    // Not in their way.
    while (board_->end == 0) usleep(1000);
    return 1e-9 * static_cast<double>(board_->end - begin.time_since_epoch().count());
  }

  const std::vector<pid_t>& pids() const { return pids_; }

 private:
  struct Board {
    std::atomic<int> come{0};
    std::atomic<int> gone{0};
    std::atomic<int64_t> end{0};
  };

  void WaitAndTell() {
    ++board_->come;
    event_.Wait();
    if (++board_->gone == size_) board_->end = Clock::now().time_since_epoch().count();
  }

  const int size_;
  const E event_;
  const testing::Inherited<Board> board_;
  std::vector<pid_t> pids_;
};

template <typename E>
void BM_WakeCrowd(benchmark::State& state) {
  for (auto _ : state) {
    Crowd<E> crowd(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)));
    state.SetIterationTime(crowd.Wake());
  }
}
void Thousand(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"procs", "threads"})
      ->Args({1000, 1})
      ->Args({50, 20})
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond);
}
BENCHMARK_TEMPLATE(BM_WakeCrowd, RawFutex)->Apply(Thousand);
BENCHMARK_TEMPLATE(BM_WakeCrowd, Event)->Apply(Thousand);

// How often they have gone to sleep so far.
int64_t Sleeps(const std::vector<pid_t>& pids) {
  int64_t sum = 0;
  for (const pid_t pid : pids) {
    std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
    for (std::string word; status >> word;) {
      int64_t count = 0;
      if (word == "voluntary_ctxt_switches:" && status >> count) sum += count;
    }
  }
  return sum;
}

// Of all of them together, each process with one thread.
template <typename E>
void BM_IdleCrowd(benchmark::State& state) {
  const Crowd<E> crowd(static_cast<int>(state.range(0)), 1);
  sleep(2);
  const Clock::time_point begin = Clock::now();
  const int64_t before = Sleeps(crowd.pids());
  for (auto _ : state) sleep(20);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  state.counters["sleeps_per_second"] =
      static_cast<double>(Sleeps(crowd.pids()) - before) / seconds;
}
BENCHMARK_TEMPLATE(BM_IdleCrowd, RawFutex)->ArgName("procs")->Arg(100)->Iterations(1);
BENCHMARK_TEMPLATE(BM_IdleCrowd, Event)->ArgName("procs")->Arg(100)->Iterations(1);

}  // namespace
}  // namespace mp
