// Wait beside a raw futex, as round trips between two processes; and how long it takes from a
// SIGKILL until a blocked peer is told.

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "benchmark/benchmark.h"
#include "shared/domain.h"
#include "shared/internal/futex.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/wait.h"
#include "tests/benchmarks/round_trip.h"
#include "tests/support/inherited.h"

namespace mp::internal {
namespace {

struct WaitAndWake {
  static void Await(FutexWord& word, uint32_t value) {
    while (word.load(std::memory_order_acquire) == value) Wait(word, value);
  }
  static void Pass(FutexWord& word) {
    word.fetch_add(1, std::memory_order_acq_rel);
    FutexWake(word, 1);
  }
};

template <typename Way>
void BM_PingPong(benchmark::State& state) {
  mp::testing::RunRoundTrips<mp::testing::TwoWords<Way>>(state);
}
BENCHMARK_TEMPLATE(BM_PingPong, mp::testing::RawFutex)
    ->ArgName("cores")
    ->Arg(1)
    ->Arg(2)
    ->UseManualTime()
    ->Iterations(5);
BENCHMARK_TEMPLATE(BM_PingPong, WaitAndWake)
    ->ArgName("cores")
    ->Arg(1)
    ->Arg(2)
    ->UseManualTime()
    ->Iterations(5);

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

// What the kernel does: the peer waits for a robust mutex, and the mortal holds it.
struct RawRobust {
  void Start() { mutex.Init(/*recursive=*/false); }
  void Live() { static_cast<void>(mutex.Lock()); }
  void AwaitDeath() {
    uint32_t seen = mutex.word().load();
    while (!mutex.AnnounceSleeper(seen)) {
    }
    while (RobustMutex::HolderIn(seen) != 0) {
      FutexWait(mutex.word(), seen, nullptr);
      seen = mutex.word().load();
    }
  }
  RobustMutex mutex;
};

struct WaitForDeath {
  void Start() {}
  void Live() { LaneForNotes(); }
  void AwaitDeath() {
    const uint32_t deaths = Deaths();
    while (Wait(word, 0, {.deaths = &deaths}) != WaitResult::kDeath) {
    }
  }
  FutexWord word;
};

// A peer has slept so long; a process with so much memory is killed. Microseconds from the
// kill until the peer runs.
template <typename Way>
void BM_KillToWake(benchmark::State& state) {
  const size_t memory = static_cast<size_t>(state.range(0)) << 20;
  const auto kills = static_cast<int>(state.range(1));
  const auto asleep = static_cast<unsigned>(state.range(2)) * 1000;
  struct Board {
    std::atomic<int> ready = 0;
    double woken = 0;
  };
  const testing::Inherited<Board> board;
  Way& way = *new ((*Domain::Get())->Allocate(sizeof(Way)).value()) Way();
  std::vector<double> times;
  for (auto _ : state) {
    for (int i = 0; i < kills; ++i) {
      (*Domain::Get())->BuryTheDead(Evidence::kQuick);
      way.Start();
      board->ready = 0;
      const pid_t victim = fork();
      if (victim == 0) {
        way.Live();
        if (memory != 0) {
          void* block =
              mmap(nullptr, memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          std::memset(block, 1, memory);
        }
        ++board->ready;
        for (;;) pause();
      }
      while (board->ready != 1) usleep(100);
      const pid_t peer = fork();
      if (peer == 0) {
        ++board->ready;
        way.AwaitDeath();
        board->woken = Now();
        _exit(0);
      }
      while (board->ready != 2) usleep(100);
      usleep(asleep);
      const double killed = Now();
      kill(victim, SIGKILL);
      waitpid(peer, nullptr, 0);
      waitpid(victim, nullptr, 0);
      times.push_back(board->woken - killed);
    }
  }
  std::sort(times.begin(), times.end());
  state.counters["median_us"] = times[times.size() / 2];
  state.counters["p99_us"] = times[times.size() * 99 / 100];
  state.counters["worst_us"] = times.back();
}
// It is the sentry after its first nap.
constexpr int kLong = 40;
constexpr int kShort = 2;
BENCHMARK_TEMPLATE(BM_KillToWake, RawRobust)
    ->ArgNames({"MiB", "kills", "ms asleep"})
    ->Args({0, 1000, kLong})
    ->Args({4096, 10, kLong})
    ->Iterations(1);
BENCHMARK_TEMPLATE(BM_KillToWake, WaitForDeath)
    ->ArgNames({"MiB", "kills", "ms asleep"})
    ->Args({0, 1000, kLong})
    ->Args({0, 200, kShort})
    ->Args({4096, 10, kLong})
    ->Iterations(1);

}  // namespace
}  // namespace mp::internal
