// What a process costs beside the system calls without which there is none.
//
//   bazel run -c opt //tests/benchmarks:process_benchmark --
//       --benchmark_repetitions=20 --benchmark_enable_random_interleaving
//       --benchmark_report_aggregates_only

#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "mp/init.h"
#include "mp/or_die.h"
#include "mp/popen.h"
#include "mp/process.h"
#include "mp/start_method.h"
#include "shared/domain.h"
#include "tests/benchmarks/ballast.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

// What this program is called with to do nothing.
constexpr const char* kDoNothing = "--do-nothing";
// And to tell what its first start takes, by the method that comes next.
constexpr const char* kFirstStart = "--first-start";

template <StartMethod kMethod>
struct MpProcess {
  static constexpr StartMethod kStartMethod = kMethod;
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

// The first one of a process, which the fork server is started for: in a program that is new each
// time.
template <class Rival>
void BM_FirstStartAndJoin(benchmark::State& state) {
  const std::string method = std::to_string(static_cast<int>(Rival::kStartMethod));
  for (auto _ : state) {
    Popen program({"/proc/self/exe", kFirstStart, method}, {.stdout = Stdio::Pipe()});
    OrDie(program.Start());
    // Until the server has ended, too, which has the pipe.
    state.SetIterationTime(std::stod(OrDie(program.Communicate()).out));
  }
}
BENCHMARK_TEMPLATE(BM_FirstStartAndJoin, MpFork)->UseManualTime();
BENCHMARK_TEMPLATE(BM_FirstStartAndJoin, MpSpawn)->UseManualTime();
BENCHMARK_TEMPLATE(BM_FirstStartAndJoin, MpForkserver)->UseManualTime();

template <class Rival>
int TellFirstStart() {
  OrDie(Domain::Get());
  const absl::Time begin = absl::Now();
  Rival::StartAndJoin();
  std::printf("%.9f\n", absl::ToDoubleSeconds(absl::Now() - begin));
  return 0;
}

int TellFirstStart(StartMethod method) {
  switch (method) {
    case StartMethod::kFork:
      return TellFirstStart<MpFork>();
    case StartMethod::kSpawn:
      return TellFirstStart<MpSpawn>();
    case StartMethod::kForkserver:
      return TellFirstStart<MpForkserver>();
  }
  return 1;
}

// While others live, which the same process has started.
template <class Rival>
void BM_StartAndJoinBesideOthers(benchmark::State& state) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) std::abort();
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) std::abort();
  std::vector<Process> others;
  for (int64_t i = 0; i < state.range(0); ++i) {
    others.emplace_back(ProcessOptions{.start_method = Rival::kStartMethod},
                        &testing::PauseForEver);
    OrDie(others.back().Start());
  }
  for (auto _ : state) Rival::StartAndJoin();
  for (const Process& other : others) other.Kill();
  for (const Process& other : others) other.Join();
}
BENCHMARK_TEMPLATE(BM_StartAndJoinBesideOthers, MpForkserver)
    ->ArgName("others")
    ->Arg(0)
    ->Arg(1000)
    ->Iterations(300)
    ->UseRealTime();

}  // namespace

int Main(int argc, char** argv) {
  Init(&argc, &argv);
  if (argc > 1 && std::strcmp(argv[1], kDoNothing) == 0) return 0;
  if (argc > 2 && std::strcmp(argv[1], kFirstStart) == 0) {
    return TellFirstStart(static_cast<StartMethod>(std::atoi(argv[2])));
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace mp

int main(int argc, char** argv) { return mp::Main(argc, argv); }
