// What a process costs beside the system calls without which there is none.
//
//   bazel run -c opt //tests/benchmarks:process_benchmark --
//       --benchmark_repetitions=20 --benchmark_enable_random_interleaving
//       --benchmark_report_aggregates_only

#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "benchmark/benchmark.h"
#include "mp/init.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "mp/start_method.h"
#include "shared/domain.h"
#include "tests/benchmarks/ballast.h"

namespace mp {
namespace {

// What this program is called with to do nothing.
constexpr const char* kDoNothing = "--do-nothing";

template <StartMethod kMethod>
struct MpProcess {
  static void StartAndJoin() {
    Process child({.start_method = kMethod}, [] {});
    OrDie(child.Start());
    child.Join();
  }
};
using MpFork = MpProcess<StartMethod::kFork>;
using MpSpawn = MpProcess<StartMethod::kSpawn>;
using MpForkserver = MpProcess<StartMethod::kForkserver>;

// The same program, which ends at once.
struct PosixSpawn {
  static void StartAndJoin() {
    char program[] = "/proc/self/exe";
    std::string argument = kDoNothing;
    char* const argv[] = {program, argument.data(), nullptr};
    pid_t pid;
    if (posix_spawn(&pid, program, nullptr, nullptr, argv, environ) != 0) std::abort();
    if (waitpid(pid, nullptr, 0) != pid) std::abort();
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
BENCHMARK_TEMPLATE(BM_StartAndJoin, MpFork)
    ->ArgName("parent_mib")
    ->Arg(10)
    ->Arg(1024)
    ->UseRealTime();
BENCHMARK_TEMPLATE(BM_StartAndJoin, PosixSpawn)
    ->ArgName("parent_mib")
    ->Arg(10)
    ->Arg(4096)
    ->UseRealTime();
BENCHMARK_TEMPLATE(BM_StartAndJoin, MpSpawn)
    ->ArgName("parent_mib")
    ->Arg(10)
    ->Arg(4096)
    ->UseRealTime();
BENCHMARK_TEMPLATE(BM_StartAndJoin, MpForkserver)
    ->ArgName("parent_mib")
    ->Arg(10)
    ->Arg(4096)
    ->UseRealTime();

}  // namespace

int Main(int argc, char** argv) {
  Init(&argc, &argv);
  if (argc > 1 && std::strcmp(argv[1], kDoNothing) == 0) return 0;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace mp

int main(int argc, char** argv) { return mp::Main(argc, argv); }
