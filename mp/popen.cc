#include "mp/popen.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/abandoned_programs.h"
#include "mp/internal/children.h"
#include "mp/internal/command_line.h"
#include "mp/internal/communication.h"
#include "mp/internal/exec.h"
#include "mp/internal/sentinel.h"
#include "mp/internal/signal_post.h"
#include "mp/internal/standard_files.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"

namespace mp {

struct Popen::State {
  const std::vector<std::string> args;
  const PopenOptions options;
  const pid_t maker;  // the program's parent
  Fd stdin = {};
  Fd stdout = {};
  Fd stderr = {};
  std::unique_ptr<internal::Child> program = nullptr;  // from the start on
  internal::Communication communication = {};

  ~State();

  std::string Title() const;
  absl::Status Failed(const absl::Status& why) const;
  internal::Communication::Pipes Pipes() { return {stdin, stdout, stderr}; }
};

Popen::State::~State() {
  if (program == nullptr || maker != getpid()) return;
  internal::ReapAbandonedPrograms();
  if (!program->ExitCode().has_value()) internal::AbandonProgram(std::move(program));
}

std::string Popen::State::Title() const {
  std::string title = absl::StrCat("Popen \"", args.empty() ? "" : args[0], "\"");
  if (program != nullptr) absl::StrAppend(&title, " (pid ", program->pid(), ")");
  return title;
}

absl::Status Popen::State::Failed(const absl::Status& why) const {
  return {why.code(), absl::StrCat(Title(), ": ", why.message())};
}

Popen::Popen() = default;
Popen::~Popen() = default;
Popen::Popen(Popen&&) noexcept = default;
Popen& Popen::operator=(Popen&&) noexcept = default;

Popen::Popen(std::vector<std::string> args, PopenOptions options)
    : state_(new State{.args = std::move(args), .options = std::move(options), .maker = getpid()}) {
}

absl::Status Popen::Start() {
  std::string_view why;
  if (state_ == nullptr) {
    return absl::FailedPreconditionError("Popen: Start(): it has no program");
  }
  if (state_->program != nullptr) {
    why = "Start(): it was started before; make another";
  } else if (state_->maker != getpid()) {
    why = "Start(): another process made it; make one here";
  }
  if (!why.empty()) return state_->Failed(absl::FailedPreconditionError(why));
  internal::ReapAbandonedPrograms();

  const PopenOptions& options = state_->options;
  const auto line = internal::CommandLine::Of(state_->args, options);
  if (!line.ok()) return state_->Failed(line.status());
  auto files = internal::StandardFiles::Open(options);
  if (!files.ok()) return state_->Failed(files.status());
  auto executed =
      internal::Exec({.paths = line->paths(),
                      .argv = line->argv(),
                      .envp = line->envp(),
                      .cwd = options.cwd.empty() ? nullptr : options.cwd.c_str(),
                      .descriptors = files->descriptors(),
                      .close_others = options.close_fds,
                      .reset_signals = options.restore_signals,
                      .ignored_signals = internal::SignalPost::IgnoredInChildren(),
                      .new_session = options.start_new_session,
                      .process_group = options.process_group.value_or(internal::kSameGroup)});
  if (!executed.ok()) return state_->Failed(executed.status());
  // It has no place in the domain.
  state_->program = std::make_unique<internal::Child>(
      executed->pid, /*id=*/0, internal::Child::Traits{.name = state_->args[0]},
      std::move(executed->sentinel));
  state_->stdin = std::move(files->stdin);
  state_->stdout = std::move(files->stdout);
  state_->stderr = std::move(files->stderr);
  return absl::OkStatus();
}

// The program has been started.
Popen::State& Popen::Started(const char* call) const {
  if (state_ != nullptr && state_->program != nullptr) return *state_;
  internal::Fatal(absl::StrCat(state_ == nullptr ? "Popen" : state_->Title(), ", in pid ", getpid(),
                               ": ", call, " before Start(); start it first"));
}

// And this process is its parent.
Popen::State& Popen::Own(const char* call) const {
  State& state = Started(call);
  if (state.maker == getpid()) return state;
  internal::Fatal(absl::StrCat(state.Title(), ": ", call, " in pid ", getpid(),
                               ", but it is a child of pid ", state.maker,
                               "; do it there, or wait for its sentinel() here"));
}

namespace {

// Where there is no program yet. (Whatever is done with it leaves it empty.)
Fd& NoPipe() {
  static thread_local Fd none;
  return none;
}

}  // namespace

Fd& Popen::stdin() { return state_ == nullptr ? NoPipe() : state_->stdin; }
Fd& Popen::stdout() { return state_ == nullptr ? NoPipe() : state_->stdout; }
Fd& Popen::stderr() { return state_ == nullptr ? NoPipe() : state_->stderr; }

absl::StatusOr<PopenOutput> Popen::Communicate(std::string_view input, absl::Duration timeout) {
  State& state = Own("Communicate()");
  internal::Communication& communication = state.communication;
  if (!input.empty()) {
    std::string_view why;
    if (communication.has_begun()) {
      why = "input, but it was called before, and goes on with that of the first call";
    } else if (!state.stdin.has_value()) {
      why = "input, but stdin is no pipe, or closed";
    }
    if (!why.empty()) {
      return state.Failed(absl::InvalidArgumentError(absl::StrCat("Communicate(): ", why)));
    }
  }
  const internal::Deadline deadline(timeout);
  const absl::Status status = communication.has_begun()
                                  ? communication.Continue(state.Pipes(), deadline.get())
                                  : communication.Begin(state.Pipes(), input, deadline.get());
  if (!status.ok()) return state.Failed(status);
  const absl::Duration left =
      deadline.get() == nullptr ? absl::InfiniteDuration() : internal::TimeLeft(*deadline.get());
  if (!state.program->Join(left)) {
    return state.Failed(internal::LateStatus("it has closed its pipes, but still runs"));
  }
  return PopenOutput{std::move(communication.out), std::move(communication.err)};
}

int Popen::Wait() const {
  internal::Child& program = *Own("Wait()").program;
  program.JoinToTheEnd();
  return *program.ExitCode();
}

std::optional<int> Popen::Wait(absl::Duration timeout) const {
  internal::Child& program = *Own("Wait()").program;
  if (!program.Join(timeout)) return std::nullopt;
  return program.ExitCode();
}

std::optional<int> Popen::Poll() const {
  if (state_ == nullptr || state_->program == nullptr) return std::nullopt;
  return Own("Poll()").program->ExitCode();
}

absl::Status Popen::SendSignal(int signal) const {
  const State& state = Own("SendSignal()");
  // Asked first: a number is no signal, also where there is nobody left to have it.
  if (signal < 0 || signal > SIGRTMAX) {
    return state.Failed(absl::InvalidArgumentError(absl::StrCat("no signal has number ", signal)));
  }
  if (state.program->ExitCode().has_value()) return absl::OkStatus();
  if (syscall(SYS_pidfd_send_signal, state.program->sentinel().fd(), signal, nullptr, 0) == 0 ||
      errno == ESRCH) {
    return absl::OkStatus();
  }
  return state.Failed(
      absl::ErrnoToStatus(errno, absl::StrCat("SendSignal(", signal, "): ", std::strerror(errno))));
}

void Popen::Terminate() const { Own("Terminate()").program->Signal(SIGTERM); }

void Popen::Kill() const { Own("Kill()").program->Signal(SIGKILL); }

void Popen::Interrupt() const { Own("Interrupt()").program->Signal(SIGINT); }

pid_t Popen::pid() const {
  return state_ == nullptr || state_->program == nullptr ? 0 : state_->program->pid();
}

const std::vector<std::string>& Popen::args() const {
  static const std::vector<std::string>& none = *new std::vector<std::string>;
  return state_ == nullptr ? none : state_->args;
}

int Popen::sentinel() const { return Started("sentinel()").program->sentinel().fd(); }

}  // namespace mp
