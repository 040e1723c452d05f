#include "tests/support/crash.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "tests/support/fork.h"
#include "tests/support/inherited.h"
#include "tests/support/kill_points.h"
#include "tests/support/look.h"
#include "tests/support/one_cpu.h"
#include "tests/support/patience.h"
#include "tests/support/settings.h"
#include "tests/support/symbols.h"
#include "tests/support/tracer.h"
#include "tests/support/watchdog.h"

namespace mp::testing {
namespace {

using Stop = Victim::Stop;

// A loop that waits for somebody who does not move, rather than an operation.
constexpr size_t kMostInstructions = 1'000'000;

// Unoptimized there are several times as many instructions to step through.
#ifdef NDEBUG
constexpr bool kOptimized = true;
#else
constexpr bool kOptimized = false;
#endif

// So many routes are tried to a point, each without what the one before has missed. (malloc, for
// one, does not go the same way each time.)
constexpr int kRoutes = 4;

// What a check has to say, in memory that it shares with the sweep.
struct Words {
  char text[4096];
};

std::string DescribeEnd(int status) {
  if (WIFSIGNALED(status)) {
    return std::string("died of signal ") + strsignal(WTERMSIG(status));
  }
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

// A child of the sweep that has to end by itself: the check or the sleeper.
class Peer {
 public:
  explicit Peer(const std::function<void()>& body) : pid_(ForkMortal(body)) {}
  ~Peer() {
    if (pid_ > 0) KillAndReap(pid_);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  pid_t pid() const { return pid_; }

  // Waits for its end, which is "" if all is well. nullopt: it hangs, and
  // `other` (or 0), on which it may depend, does not move either.
  std::optional<std::string> End(Patience& patience, const CrashOptions& options, pid_t other) {
    std::vector<pid_t> pids = {pid_};
    if (other > 0) pids.push_back(other);
    QuietClock clock(std::move(pids));
    std::chrono::milliseconds waited(0);
    const std::optional<int> status = patience.WaitFor(pid_, [&] {
      waited += std::chrono::milliseconds(1);
      return clock.Sample() < options.quiet && waited < options.limit;
    });
    if (!status) return std::nullopt;
    pid_ = 0;
    return *status == 0 ? "" : DescribeEnd(*status);
  }

 private:
  pid_t pid_;
};

class Sweep {
 public:
  Sweep(const CrashCase& crash_case, const CrashOptions& options)
      : case_(crash_case), options_(options) {
    report_.name = case_.name;
    report_.seed = options_.seed;
  }

  CrashReport Run() {
    const auto start = std::chrono::steady_clock::now();
    RunWithoutKill();
    if (report_.error.empty()) Record();
    if (report_.error.empty()) {
      routes_.emplace(trace_);
      for (const KillPoint& point : ChoosePoints(trace_, options_.sample, options_.seed)) {
        Try(point);
        if (!report_.error.empty()) break;
      }
    }
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(report_);
  }

 private:
  // The actors of one point; the sleeper and the victim end with it.
  struct Scene {
    std::optional<Victim> victim;
    std::optional<Peer> sleeper;
    bool unblocked = false;
  };

  void Begin(Scene& scene) {
    PetWatchdog();
    // Once in a while the kernel may choose a processor with less to do.
    if (++scenes_ % 64 == 0) {
      one_cpu_.Release();
    } else {
      one_cpu_.Bind();
    }
    if (case_.set_up) case_.set_up();
    scene.victim.emplace(patience_, case_.prepare, case_.operation);
    if (!scene.victim->alive()) {
      report_.error = "the victim did not get to its operation: " + scene.victim->death();
      return;
    }
    if (case_.sleeper && !case_.sleeper_queues_behind) StartSleeper(scene);
  }

  void StartSleeper(Scene& scene) {
    scene.sleeper.emplace([&] {
      one_cpu_.Release();
      case_.sleeper();
    });
    if (!WaitUntilAsleep(scene.sleeper->pid())) {
      report_.error = "the sleeper does not fall asleep";
    }
  }

  // The victim sleeps within the operation: what has to happen for it to go on.
  Stop PassSleep(Scene& scene) {
    if (case_.sleeper && !scene.sleeper) StartSleeper(scene);
    if (!case_.unblock) return scene.victim->Await(options_.quiet);
    case_.unblock();
    scene.unblocked = true;
    return scene.victim->Await(options_.limit);
  }

  // From a stop on to the next one that is not a sleep.
  Stop PassSleeps(Scene& scene, Stop stop) {
    while (stop == Stop::kAsleep) stop = PassSleep(scene);
    return stop;
  }

  void RunWithoutKill() {
    Scene scene;
    Begin(scene);
    if (!report_.error.empty()) return;
    const Stop stop = PassSleeps(scene, scene.victim->RunToEnd());
    if (stop == Stop::kDied) {
      report_.error = "the operation itself died: " + scene.victim->death();
      return;
    }
    if (stop == Stop::kStuck) {
      // Without `unblock` that may be meant: there is no end to be judged.
      if (case_.unblock) {
        report_.error =
            "the operation sleeps on after unblock: " + DescribeProcess(scene.victim->pid());
      }
      return;
    }
    scene.victim->Finish();
    Judge(scene, {0, false}, 0);
    if (!report_.bad.empty()) {
      report_.error = "without any kill: " + report_.bad.front().what;
      report_.bad.clear();
      report_.hangs = report_.lost_wakeups = report_.failures = 0;
    }
  }

  // Runs the operation by single steps and notes each instruction.
  void Record() {
    Scene scene;
    Begin(scene);
    if (!report_.error.empty()) return;
    Victim& victim = *scene.victim;
    while (trace_.size() < kMostInstructions) {
      Instruction instruction;
      instruction.address = victim.pc();
      instruction.repeated = victim.Repeating();
      instruction.syscall = victim.AtSyscall();
      instruction.forks = instruction.syscall && victim.AtFork();
      Stop stop = victim.Step();
      instruction.slept = stop == Stop::kAsleep;
      trace_.Add(instruction);
      report_.sleeps += instruction.slept;
      stop = PassSleeps(scene, stop);
      if (stop == Stop::kDied) {
        report_.error = "the operation died in steps: " + victim.death();
      }
      if (stop != Stop::kStepped) {
        report_.instructions = trace_.size() - 1;
        return;
      }
      if (trace_.size() % 10'000 == 0) PetWatchdog();
    }
    report_.error =
        "the operation has over a million instructions, now in " + NameOfAddress(victim.pc());
  }

  void Try(const KillPoint& point) {
    for (int route = 0; route < kRoutes; ++route) {
      if (options_.single_steps) break;
      if (TryOnce(point, /*by_breakpoint=*/true) || !report_.error.empty()) return;
    }
    if (TryOnce(point, /*by_breakpoint=*/false)) {
      ++report_.stepped;
    } else if (report_.error.empty()) {
      ++report_.missed;
    }
  }

  // False if the victim did not come to the point.
  bool TryOnce(const KillPoint& point, bool by_breakpoint) {
    Scene scene;
    Begin(scene);
    if (!report_.error.empty()) return false;
    Victim& victim = *scene.victim;
    if (!(by_breakpoint ? RunTo(scene, point) : StepTo(scene, point))) return false;
    const uintptr_t pc = point.asleep ? trace_[point.index].address : victim.pc();
    victim.Kill();
    ++report_.points;
    Judge(scene, point, pc);
    return true;
  }

  bool RunTo(Scene& scene, const KillPoint& point) {
    Victim& victim = *scene.victim;
    for (const uintptr_t address : routes_->To(point.index)) {
      if (Go(scene, address)) continue;
      if (address != Routes::kStep) routes_->Avoid(address);
      return false;
    }
    return !point.asleep || victim.RunToEnd() == Stop::kAsleep;
  }

  // One leg of a route.
  bool Go(Scene& scene, uintptr_t address) {
    Victim& victim = *scene.victim;
    if (address == Routes::kStep) return PassSleeps(scene, victim.Step()) == Stop::kStepped;
    if (victim.pc() == address) {
      do {
        if (PassSleeps(scene, victim.Step()) != Stop::kStepped) return false;
      } while (victim.Repeating());
      if (victim.pc() == address) return true;
    }
    return PassSleeps(scene, victim.RunTo(address)) == Stop::kAtAddress;
  }

  bool StepTo(Scene& scene, const KillPoint& point) {
    Victim& victim = *scene.victim;
    for (size_t step = 0; step < point.index; ++step) {
      if (PassSleeps(scene, victim.Step()) != Stop::kStepped) return false;
    }
    return !point.asleep || victim.RunToEnd() == Stop::kAsleep;
  }

  // The victim is dead and reaped. Can the others go on?
  void Judge(Scene& scene, const KillPoint& point, uintptr_t pc) {
    if (case_.unblock && !scene.unblocked) case_.unblock();
    std::string what;
    const auto bad = [&](BadPoint::Kind kind, size_t& count) {
      ++count;
      report_.bad.push_back({kind, point.index, point.asleep, NameOfAddress(pc), std::move(what)});
    };
    words_->text[0] = '\0';
    if (case_.check) {
      Peer check([&] {
        one_cpu_.Release();
        snprintf(words_->text, sizeof(words_->text), "%s", case_.check().c_str());
      });
      const pid_t other = scene.sleeper ? scene.sleeper->pid() : 0;
      const auto end = check.End(patience_, options_, other);
      if (!end) {
        what = "check hangs: " + DescribeProcess(check.pid());
        return bad(BadPoint::Kind::kHang, report_.hangs);
      }
      if (!end->empty() || words_->text[0] != '\0') {
        what = end->empty() ? words_->text : "check " + *end;
        bad(BadPoint::Kind::kFailure, report_.failures);
      }
    }
    if (!scene.sleeper) return;
    const auto end = scene.sleeper->End(patience_, options_, 0);
    if (!end) {
      what = "sleeps on: " + DescribeProcess(scene.sleeper->pid());
      bad(BadPoint::Kind::kLostWakeup, report_.lost_wakeups);
    } else if (!end->empty()) {
      what = "sleeper " + *end;
      bad(BadPoint::Kind::kFailure, report_.failures);
    }
  }

  const CrashCase& case_;
  const CrashOptions& options_;
  Patience patience_;
  OneCpu one_cpu_;
  Inherited<Words> words_;
  Trace trace_;
  std::optional<Routes> routes_;  // through the trace
  size_t scenes_ = 0;
  CrashReport report_;
};

}  // namespace

CrashOptions::CrashOptions()
    : sample(kSanitized   ? 10
             : Stress()   ? 0
             : kOptimized ? 50
                          : 12),
      seed(Seed(1)),
      limit(std::chrono::seconds(20) * kSlowness) {}

CrashReport RunCrashSweep(const CrashCase& crash_case, const CrashOptions& options) {
  CrashReport report = Sweep(crash_case, options).Run();
  printf("%s\n", report.Headline().c_str());
  fflush(stdout);
  return report;
}

}  // namespace mp::testing
