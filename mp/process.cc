#include "mp/process.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/child_main.h"
#include "mp/internal/child_order.h"
#include "mp/internal/children.h"
#include "mp/internal/flush.h"
#include "mp/internal/forkserver.h"
#include "mp/internal/forkserver_client.h"
#include "mp/internal/self.h"
#include "mp/internal/sentinel.h"
#include "mp/internal/signal_post.h"
#include "mp/internal/spawn.h"
#include "mp/internal/who.h"
#include "mp/on_parent_exit.h"
#include "mp/start_method.h"
#include "shared/domain.h"
#include "shared/internal/fatal.h"

namespace mp {

// In one piece: after a fork this process, too, copies each page that it writes to.
struct Process::State {
  internal::Self self;  // what the child will be; its parent only while it is started
  const std::string executable;
  const pid_t maker;
  std::unique_ptr<internal::StoredTarget> target;    // until the start
  std::shared_ptr<internal::Child> child = nullptr;  // from the start to Close()
  bool closed = false;

  std::string Title() const;
  absl::Status CheckMayStart() const;
  absl::Status CheckOptions() const;
  absl::Status ForkFailed(int error) const;
  absl::Status NoDescriptor(const absl::Status& why) const;
  absl::Status StartElsewhere();
  absl::Status Adopt(pid_t pid);
};

std::string Process::State::Title() const {
  std::string title = absl::StrCat("Process \"", self.name, "\"");
  if (child != nullptr) absl::StrAppend(&title, " (pid ", child->pid(), ")");
  return title;
}

absl::Status Process::State::CheckMayStart() const {
  std::string_view why;
  if (closed) {
    why = "it is closed";
  } else if (child != nullptr) {
    why = "it was started before; make another";
  } else if (maker != getpid()) {
    why = "another process made it; make one here";
  } else if (internal::GetSelf().daemon) {
    why = "a daemon may not have children";
  } else {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(Title(), ": Start(): ", why));
}

absl::Status Process::State::CheckOptions() const {
  std::string_view why;
  if (self.daemon && self.on_parent_exit != OnParentExit::kKill) {
    why = "a daemon ends with its parent: OnParentExit::kKill, or no daemon";
  } else if (!executable.empty() && self.start_method != StartMethod::kSpawn) {
    why = "`executable` is for StartMethod::kSpawn";
  } else {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(Title(), ": Start(): ", why));
}

absl::Status Process::State::ForkFailed(int error) const {
  const std::string message = absl::StrCat(Title(), ": fork: ", std::strerror(error));
  if (error == EAGAIN || error == ENOMEM) return absl::ResourceExhaustedError(message);
  return absl::ErrnoToStatus(error, message);
}

absl::Status Process::State::NoDescriptor(const absl::Status& why) const {
  return {why.code(), absl::StrCat(Title(), ": Start(): ", why.message(),
                                   "; close some, or raise the limit (ulimit -n)")};
}

// Makes the process `pid`, just forked, our child.
absl::Status Process::State::Adopt(pid_t pid) {
  std::optional<int> exit_code;
  auto sentinel = internal::Sentinel::Open(pid);
  if (absl::IsNotFound(sentinel.status())) {
    // It has ended, and somebody took its status.
    exit_code = internal::Child::kStatusTaken;
    internal::Child::Bury(Domain::LastForked());
    sentinel = internal::Sentinel::OfTheDead();
  }
  if (!sentinel.ok()) {
    // Another thread was faster to take the last descriptor.
    kill(pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    internal::Child::Bury(Domain::LastForked());
    return NoDescriptor(sentinel.status());
  }
  child = std::make_shared<internal::Child>(
      pid, Domain::LastForked(), internal::Child::TraitsOf(self), *std::move(sentinel), exit_code);
  if (!exit_code.has_value()) internal::AddChild(child);
  target.reset();
  return absl::OkStatus();
}

// By a method with which the child inherits nothing.
absl::Status Process::State::StartElsewhere() {
  if (!internal::ArgumentsAreNoted()) {
    return absl::FailedPreconditionError(
        absl::StrCat(Title(),
                     ": Start(): main() has not called mp::Init(&argc, &argv), which a child that "
                     "is not forked needs; see mp/init.h"));
  }
  internal::ChildOrder order;
  order.self = self;
  order.ignored_signals = internal::SignalPost::IgnoredInChildren();
  // Not the order's to destroy.
  order.target = std::shared_ptr<internal::StoredTarget>(std::shared_ptr<void>(), target.get());
  absl::StatusOr<std::shared_ptr<internal::Child>> started;
  if (self.start_method == StartMethod::kSpawn) {
    order.server = internal::KnownForkserver::Get();
    started = internal::Spawn(order, executable);
  } else {
    std::error_code error;
    order.folder = std::filesystem::current_path(error).string();
    started = internal::ForkByServer(std::move(order));
  }
  if (!started.ok()) {
    return {started.status().code(),
            absl::StrCat(Title(), ": Start(): ", started.status().message())};
  }
  child = *std::move(started);
  internal::AddChild(child);
  target.reset();
  return absl::OkStatus();
}

Process::Process() = default;
Process::~Process() = default;
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&&) noexcept = default;

Process::Process(ProcessOptions options, std::unique_ptr<internal::StoredTarget> target) {
  internal::Place place = internal::NextPlace();
  if (options.name.empty()) options.name = absl::StrCat("Process-", place);
  const bool daemon = options.daemon.value_or(internal::GetSelf().daemon);
  state_.reset(new State{.self = {.name = std::move(options.name),
                                  .place = std::move(place),
                                  .daemon = daemon,
                                  .start_method = options.start_method.value_or(GetStartMethod()),
                                  .on_parent_exit = options.on_parent_exit.value_or(
                                      daemon ? OnParentExit::kKill : OnParentExit::kWait)},
                         .executable = std::move(options.executable),
                         .maker = getpid(),
                         .target = std::move(target)});
}

absl::Status Process::Start() {
  if (state_ == nullptr) {
    return absl::FailedPreconditionError("Process: Start(): it has no target");
  }
  if (absl::Status status = state_->CheckMayStart(); !status.ok()) return status;
  if (absl::Status status = state_->CheckOptions(); !status.ok()) return status;
  // The child is to share memory with us, so there has to be some before the fork.
  if (const auto domain = Domain::Get(); !domain.ok()) return domain.status();
  internal::PrepareForChildren();
  internal::ReapAbandonedChildren();

  // The child waits for its parent with this. Until there is the child's own sentinel it
  // also keeps a descriptor for that one: running out of them is noticed before the fork.
  absl::StatusOr<internal::Who> this_process = internal::WhoIsThis();
  if (!this_process.ok()) return state_->NoDescriptor(this_process.status());
  state_->self.parent = *std::move(this_process);
  internal::FlushOutput();
  if (state_->self.start_method != StartMethod::kFork) {
    absl::Status status = state_->StartElsewhere();
    state_->self.parent.reset();
    return status;
  }

  const pid_t pid = fork();
  if (pid == 0) {
    // Nobody would know of it: Start() fails.
    if (!Domain::HasSlot()) _exit(0);
    // Taken out of this object, which the target may reach, and destroy.
    State& state = *state_.release();
    internal::ChildMain(state.self, *state.target);
  }
  const int error = errno;
  state_->self.parent.reset();
  if (pid < 0) return state_->ForkFailed(error);
  if (Domain::LastForked() != 0) return state_->Adopt(pid);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return absl::ResourceExhaustedError(
      absl::StrCat(state_->Title(),
                   ": Start(): the table of processes is full; a larger reserve "
                   "(ConfigureDomain(), MP_RESERVE) has more slots"));
}

absl::Status Process::Close() {
  if (state_ == nullptr || state_->closed) return absl::OkStatus();
  if (state_->child != nullptr) {
    std::string_view why;
    if (state_->maker != getpid()) {
      why = "it is a child of another process, which may close it";
    } else if (!state_->child->ExitCode().has_value()) {
      why = "it still runs; Join() or Kill() it first";
    }
    if (!why.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(state_->Title(), ": Close(): ", why));
    }
    state_->child.reset();
  }
  state_->target.reset();
  state_->closed = true;
  return absl::OkStatus();
}

// The child, where any process's copy of this object will do; nullptr before Start().
internal::Child* Process::Any(const char* call) const {
  if (state_ == nullptr) return nullptr;
  if (state_->closed) {
    internal::Fatal(
        absl::StrCat(state_->Title(), ", in pid ", getpid(), ": ", call,
                     " after Close(), when only name() and daemon() are left; call it before"));
  }
  return state_->child.get();
}

// The child, where there has to be one.
internal::Child& Process::Started(const char* call) const {
  if (internal::Child* child = Any(call); child != nullptr) return *child;
  internal::Fatal(absl::StrCat("Process \"", name(), "\", in pid ", getpid(), ": ", call,
                               " before Start(); start it first"));
}

// The child, and this process is its parent.
internal::Child& Process::Own(const char* call) const {
  internal::Child& child = Started(call);
  if (state_->maker == getpid()) return child;
  internal::Fatal(absl::StrCat(state_->Title(), ": ", call, " in pid ", getpid(),
                               ", but it is a child of pid ", state_->maker,
                               "; do it there, or wait for its sentinel() here"));
}

void Process::Join() const { (void)Own("Join()").Join(absl::InfiniteDuration()); }

bool Process::Join(absl::Duration timeout) const { return Own("Join()").Join(timeout); }

bool Process::IsAlive() const {
  if (Any("IsAlive()") == nullptr) return false;
  return !Own("IsAlive()").ExitCode().has_value();
}

pid_t Process::pid() const {
  const internal::Child* child = Any("pid()");
  return child == nullptr ? 0 : child->pid();
}

std::optional<int> Process::exitcode() const {
  if (Any("exitcode()") == nullptr) return std::nullopt;
  return Own("exitcode()").ExitCode();
}

const std::string& Process::name() const {
  static const std::string& none = *new std::string;
  return state_ == nullptr ? none : state_->self.name;
}

bool Process::daemon() const { return state_ != nullptr && state_->self.daemon; }

int Process::sentinel() const { return Started("sentinel()").sentinel().fd(); }

void Process::Terminate() const { Own("Terminate()").Signal(SIGTERM); }

void Process::Kill() const { Own("Kill()").Signal(SIGKILL); }

void Process::Interrupt() const { Own("Interrupt()").Signal(SIGINT); }

}  // namespace mp
