// What the library adds to a fork, and to what a child does first: three programs side by side,
// in batches of a hundred forks, in any order.
//
//   bazel run -c opt //tests/benchmarks:fork_benchmark --
//       --benchmark_repetitions=51 --benchmark_enable_random_interleaving
//       --benchmark_report_aggregates_only
//
// in_child_us is what the child's work takes, fork_us what its parent waits for.

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "benchmark/benchmark.h"
#include "tests/benchmarks/fork_server.h"

namespace mp::benchmarks {
namespace {

std::string InThisFolder(const char* name) {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  if (length < 0) std::abort();
  const std::string self(path, static_cast<size_t>(length));
  return self.substr(0, self.rfind('/') + 1) + name;
}

pid_t Spawn(const std::string& program, const char* argument, int in, int out) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  char* const arguments[] = {const_cast<char*>(program.c_str()), const_cast<char*>(argument),
                             nullptr};
  pid_t pid = 0;
  if (posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ) != 0) std::abort();
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

// One of the programs, as long as this one runs.
class Server {
 public:
  Server(const char* name, const char* argument) {
    int questions[2];
    int answers[2];
    if (pipe(questions) != 0 || pipe(answers) != 0) std::abort();
    Spawn(InThisFolder(name), argument, questions[0], answers[1]);
    close(questions[0]);
    close(answers[1]);
    questions_ = questions[1];
    answers_ = answers[0];
  }
  ForkAnswer Ask(const ForkQuestion& question) const {
    ForkAnswer answer;
    if (write(questions_, &question, sizeof(question)) != sizeof(question) ||
        read(answers_, &answer, sizeof(answer)) != sizeof(answer)) {
      std::abort();
    }
    return answer;
  }

 private:
  int questions_;
  int answers_;
};

struct Without {
  static constexpr const char* kName = "fork_server_plain";
  static const Server& Get() {
    static const Server server(kName, nullptr);
    return server;
  }
};
struct Linked {
  static constexpr const char* kName = "fork_server_mp";
  static const Server& Get() {
    static const Server server(kName, nullptr);
    return server;
  }
};
struct Sharing {
  static const Server& Get() {
    static const Server server(Linked::kName, "share");
    return server;
  }
};

template <typename Program, int kInChild>
void Fork(benchmark::State& state) {
  const Server& server = Program::Get();
  for (auto _ : state) {
    const ForkAnswer answer = server.Ask({.forks = 100, .in_child = kInChild});
    state.SetIterationTime(1e-6 * answer.all);
    state.counters["fork_us"] = answer.fork;
    state.counters["in_child_us"] = answer.in_child;
  }
}
// By index of what fork_server_*.cc hand to ServeForks().
template <typename Program>
void BM_Fork(benchmark::State& state) {
  Fork<Program, 0>(state);
}
void BM_ChildWritesAPage(benchmark::State& state) { Fork<Without, 1>(state); }
void BM_ChildMakesAnObject(benchmark::State& state) { Fork<Sharing, 1>(state); }
void BM_ChildMakesTwoObjects(benchmark::State& state) { Fork<Sharing, 2>(state); }
void BM_ChildClaimsALane(benchmark::State& state) { Fork<Sharing, 3>(state); }
BENCHMARK_TEMPLATE(BM_Fork, Without)->UseManualTime()->Iterations(1);
BENCHMARK_TEMPLATE(BM_Fork, Linked)->UseManualTime()->Iterations(1);
BENCHMARK_TEMPLATE(BM_Fork, Sharing)->UseManualTime()->Iterations(1);
BENCHMARK(BM_ChildWritesAPage)->UseManualTime()->Iterations(1);
BENCHMARK(BM_ChildMakesAnObject)->UseManualTime()->Iterations(1);
BENCHMARK(BM_ChildMakesTwoObjects)->UseManualTime()->Iterations(1);
BENCHMARK(BM_ChildClaimsALane)->UseManualTime()->Iterations(1);

// A program that starts and has nothing to do.
template <typename Program>
void BM_StartProgram(benchmark::State& state) {
  const std::string program = InThisFolder(Program::kName);
  for (auto _ : state) {
    int nothing[2];
    if (pipe(nothing) != 0) std::abort();
    close(nothing[1]);
    const double begin = NowInMicroseconds();
    const pid_t pid = Spawn(program, nullptr, nothing[0], STDERR_FILENO);
    if (waitpid(pid, nullptr, 0) != pid) std::abort();
    state.SetIterationTime(1e-6 * (NowInMicroseconds() - begin));
    close(nothing[0]);
  }
}
BENCHMARK_TEMPLATE(BM_StartProgram, Without)->UseManualTime()->Iterations(20);
BENCHMARK_TEMPLATE(BM_StartProgram, Linked)->UseManualTime()->Iterations(20);

}  // namespace
}  // namespace mp::benchmarks
