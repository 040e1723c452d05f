// What a process costs beside the three system calls without which there is none.
//
//   bazel run -c opt //tests/benchmarks:process_benchmark --
//       --benchmark_repetitions=20 --benchmark_enable_random_interleaving
//       --benchmark_report_aggregates_only

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>

#include "benchmark/benchmark.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "shared/domain.h"
#include "tests/benchmarks/ballast.h"

namespace mp {
namespace {

struct MpProcess {
  static void StartAndJoin() {
    Process child([] {});
    OrDie(child.Start());
    child.Join();
  }
};

struct RawFork {
  static void StartAndJoin() {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    if (pid < 0 || waitpid(pid, nullptr, 0) != pid) std::abort();
  }
};

// Without any fork handler, the C library's and ours: what they cost is the difference.
struct BareClone {
  static void StartAndJoin() {
    const auto pid =
        static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (pid == 0) _exit(0);
    if (pid < 0 || waitpid(pid, nullptr, 0) != pid) std::abort();
  }
};

template <class Rival>
void BM_StartAndJoin(benchmark::State& state) {
  if (!Domain::Get().ok()) std::abort();
  const Ballast ballast(static_cast<size_t>(state.range(0)) << 20);
  Rival::StartAndJoin();  // what is made once in a process
  for (auto _ : state) Rival::StartAndJoin();
}
BENCHMARK_TEMPLATE(BM_StartAndJoin, BareClone)->ArgName("parent_mib")->Arg(10)->UseRealTime();
BENCHMARK_TEMPLATE(BM_StartAndJoin, RawFork)
    ->ArgName("parent_mib")
    ->Arg(10)
    ->Arg(1024)
    ->UseRealTime();
BENCHMARK_TEMPLATE(BM_StartAndJoin, MpProcess)
    ->ArgName("parent_mib")
    ->Arg(10)
    ->Arg(1024)
    ->UseRealTime();

}  // namespace
}  // namespace mp
