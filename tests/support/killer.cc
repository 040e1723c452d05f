#include "tests/support/killer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>
#include <vector>

#include "tests/support/fork.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"
#include "tests/support/watchdog.h"

namespace mp::testing {
namespace {

constexpr int kMostWorkers = 64;
using States = std::array<WorkerState, kMostWorkers>;

class Killer {
 public:
  Killer(const std::function<void(Worker&)>& work, const KillerOptions& options)
      : work_(work),
        options_(options),
        workers_(static_cast<size_t>(std::clamp(options.workers, 1, kMostWorkers))),
        random_(options.seed) {
    report_.seed = options.seed;
  }

  ~Killer() { KillAll(); }

  KillerReport Run() {
    for (size_t i = 0; i < workers_.size(); ++i) Start(i);
    bool fine = AwaitProgress();
    while (fine && report_.kills < options_.kills) {
      PetWatchdog();
      KillOne();
      fine = AwaitProgress();
    }
    if (fine) StopAll();
    KillAll();
    report_.progress = Progress();
    return std::move(report_);
  }

 private:
  struct Process {
    pid_t pid = 0;  // 0: none
    uint64_t generation = 0;
  };

  void Start(size_t index) {
    Process& process = workers_[index];
    process.pid = ForkMortal([&] {
      Worker worker(static_cast<int>(index), process.generation, (*states_)[index]);
      work_(worker);
    });
  }

  size_t Pick() { return random_() % workers_.size(); }

  void Nap() {
    const auto longest = static_cast<uint64_t>(options_.longest_life.count());
    usleep(static_cast<useconds_t>(random_() % (longest + 1)));
  }

  void KillOne() {
    const size_t victim = Pick(), stopped = Pick();
    const bool stops =
        victim != stopped && static_cast<double>(random_() % 1000) < options_.stops * 1000;
    if (stops) {
      kill(workers_[stopped].pid, SIGSTOP);
      ++report_.stops;
    }
    Nap();
    // It may have died by itself meanwhile: that is to be told, not to be
    // hidden.
    const int status = KillAndReap(std::exchange(workers_[victim].pid, 0));
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) Blame(victim, status);
    ++report_.kills;
    ++workers_[victim].generation;
    ++report_.replacements;
    Start(victim);
    if (stops) {
      Nap();
      kill(workers_[stopped].pid, SIGCONT);
    }
    if (options_.after_kill) options_.after_kill();
  }

  uint64_t Progress() const {
    uint64_t sum = 0;
    for (const WorkerState& state : *states_) sum += state.rounds.load();
    return sum;
  }

  // Waits until somebody has made progress since now. False: the run is over.
  bool AwaitProgress() {
    const uint64_t before = Progress();
    const bool hangs = !AwaitUnlessHanging([&] {
      ReapTheDead();
      return Progress() != before || report_.failures > 0;
    });
    if (report_.failures > 0) return false;
    if (!hangs) return true;
    TellHang("nobody makes progress");
    KillAll();
    if (!options_.recover) return false;
    options_.recover();
    for (size_t i = 0; i < workers_.size(); ++i) Start(i);
    return AwaitProgress();
  }

  // Waits for `done`; false if the workers hang.
  bool AwaitUnlessHanging(const std::function<bool()>& done) {
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::milliseconds kMostCredit{20};
    QuietClock quiet(Pids());
    Clock::duration waited(0);
    for (Clock::time_point last = Clock::now(); !done();) {
      if (quiet.Sample() >= options_.quiet || waited >= options_.patience) {
        return false;
      }
      usleep(100);
      // When the whole machine stalls, that is nobody's fault.
      const Clock::time_point now = Clock::now();
      waited += std::min<Clock::duration>(now - last, kMostCredit);
      last = now;
    }
    return true;
  }

  void StopAll() {
    for (WorkerState& state : *states_) state.stopping.store(true);
    if (options_.on_stop) options_.on_stop();
    const bool ended = AwaitUnlessHanging([&] {
      ReapTheDead();
      return Pids().empty();
    });
    if (!ended) TellHang("workers do not come to their end");
  }

  // Nobody dies but by the killer, and nobody ends before he is told.
  void ReapTheDead() {
    const bool stopping = (*states_)[0].stopping.load();
    for (size_t i = 0; i < workers_.size(); ++i) {
      int status = 0;
      if (workers_[i].pid == 0 || waitpid(workers_[i].pid, &status, WNOHANG) != workers_[i].pid) {
        continue;
      }
      workers_[i].pid = 0;
      if (!stopping || status != 0) Blame(i, status);
    }
  }

  void Blame(size_t index, int status) {
    ++report_.failures;
    report_.words += "  worker " + std::to_string(index) + ", generation " +
                     std::to_string(workers_[index].generation) + ": ";
    report_.words += WIFSIGNALED(status)
                         ? std::string("died of signal ") + strsignal(WTERMSIG(status))
                         : "ended with status " + std::to_string(WEXITSTATUS(status));
    report_.words += "\n";
  }

  void TellHang(const char* what) {
    ++report_.hangs;
    report_.words +=
        std::string("  hang after kill ") + std::to_string(report_.kills) + ", " + what + ":\n";
    for (size_t i = 0; i < workers_.size(); ++i) {
      if (workers_[i].pid == 0) continue;
      report_.words += "    worker " + std::to_string(i) + ", generation " +
                       std::to_string(workers_[i].generation) + ", " +
                       std::to_string((*states_)[i].rounds.load()) +
                       " rounds: " + DescribeProcess(workers_[i].pid) + "\n";
    }
  }

  std::vector<pid_t> Pids() const {
    std::vector<pid_t> pids;
    for (const Process& process : workers_) {
      if (process.pid > 0) pids.push_back(process.pid);
    }
    return pids;
  }

  void KillAll() {
    for (Process& process : workers_) {
      if (process.pid > 0) KillAndReap(std::exchange(process.pid, 0));
    }
  }

  const std::function<void(Worker&)>& work_;
  const KillerOptions& options_;
  std::vector<Process> workers_;
  std::mt19937_64 random_;
  Inherited<States> states_;
  KillerReport report_;
};

}  // namespace

KillerOptions::KillerOptions()
    : kills(kSanitized ? 30
            : Stress() ? 20'000
                       : 100),
      seed(Seed(1)),
      patience(std::chrono::seconds(10) * kSlowness) {}

std::string KillerReport::Summary() const {
  char text[256];
  snprintf(text, sizeof(text),
           "random kills: %d kills, %d replacements, %d stops, %llu rounds, %d "
           "hangs, "
           "%d failures; seed %llu\n",
           kills, replacements, stops, static_cast<unsigned long long>(progress), hangs, failures,
           static_cast<unsigned long long>(seed));
  return text + words;
}

KillerReport RunKiller(const std::function<void(Worker&)>& work, const KillerOptions& options) {
  KillerReport report = Killer(work, options).Run();
  const std::string summary = report.Summary();
  printf("%s\n", summary.substr(0, summary.find('\n')).c_str());
  fflush(stdout);
  return report;
}

}  // namespace mp::testing
