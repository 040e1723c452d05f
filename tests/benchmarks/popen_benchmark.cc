// What a program costs beside posix_spawn(3), and beside fork(2) and exec(2).
//
//   bazel run -c opt //tests/benchmarks:popen_benchmark --
//       --benchmark_repetitions=20 --benchmark_enable_random_interleaving
//       --benchmark_report_aggregates_only

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>

#include "benchmark/benchmark.h"
#include "mp/or_die.h"
#include "mp/popen.h"
#include "tests/benchmarks/ballast.h"

namespace mp {
namespace {

constexpr char kProgram[] = "/bin/true";
char* const kArgs[] = {const_cast<char*>(kProgram), nullptr};

void Reap(pid_t pid) {
  if (waitpid(pid, nullptr, 0) != pid) std::abort();
}

struct MpPopen {
  static void StartAndWait() {
    Popen program({kProgram});
    OrDie(program.Start());
    program.Wait();
  }
};

struct PosixSpawn {
  static void StartAndWait() {
    pid_t pid;
    if (posix_spawn(&pid, kProgram, nullptr, nullptr, kArgs, environ) != 0) std::abort();
    Reap(pid);
  }
};

struct ForkAndExec {
  static void StartAndWait() {
    const pid_t pid = fork();
    if (pid < 0) std::abort();
    if (pid == 0) {
      execv(kProgram, kArgs);
      _exit(1);
    }
    Reap(pid);
  }
};

template <class Rival>
void BM_Program(benchmark::State& state) {
  const Ballast ballast(static_cast<size_t>(state.range(0)) << 20);
  for (auto _ : state) Rival::StartAndWait();
}
BENCHMARK_TEMPLATE(BM_Program, PosixSpawn)
    ->ArgName("parent_mib")
    ->Arg(10)
    ->Arg(1024)
    ->UseRealTime();
BENCHMARK_TEMPLATE(BM_Program, ForkAndExec)
    ->ArgName("parent_mib")
    ->Arg(10)
    ->Arg(1024)
    ->UseRealTime();
BENCHMARK_TEMPLATE(BM_Program, MpPopen)->ArgName("parent_mib")->Arg(10)->Arg(1024)->UseRealTime();

}  // namespace
}  // namespace mp
