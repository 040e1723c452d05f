#include "mp/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/children.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/flush.h"
#include "mp/internal/signal_post.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"

namespace mp {
namespace {

using internal::SignalPost;

// A thread that got one of these would get it again when its handler returns.
bool CanBeHandled(int signal) {
  switch (signal) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
      return false;
    default:
      return signal >= 1 && signal <= SignalPost::kMostSignals;
  }
}

// nullptr: as it was before.
const struct sigaction* ActionIn(InChildren in_children, struct sigaction& action) {
  if (in_children == InChildren::kAsBefore) return nullptr;
  action = {};
  action.sa_handler = in_children == InChildren::kIgnore ? SIG_IGN : SIG_DFL;
  return &action;
}

absl::Status IsInherited() {
  return absl::FailedPreconditionError("SignalHandlers of another process; make one in this one");
}

absl::Status WasMoved() {
  return absl::FailedPreconditionError("SignalHandlers that were moved away");
}

}  // namespace

class SignalHandlers::Own {
 public:
  explicit Own(SignalPost& post) : post_(post) {}
  ~Own();
  Own(const Own&) = delete;
  Own& operator=(const Own&) = delete;

  absl::Status Handle(int signal, Handler handler, const SignalOptions& options);
  absl::Status Restore(int signal);
  // A child that was forked since has a copy.
  bool IsInherited() const { return generation_ != internal::ForkGeneration(); }
  int fileno() const { return IsInherited() ? -1 : post_.fd(); }
  int RunPending();
  absl::Status Run(absl::Duration timeout);
  absl::Status Start();

 private:
  using Pointer = std::shared_ptr<const Handler>;

  // Empty: there is none any more.
  Pointer Find(int signal) const {
    const std::lock_guard lock(mutex_);
    return handlers_[signal];
  }
  void RunUntilTheEnd();

  SignalPost& post_;
  const uint32_t generation_ = internal::ForkGeneration();
  mutable std::mutex mutex_;
  Pointer handlers_[SignalPost::kMostSignals + 1];  // under mutex_
  std::unique_ptr<std::thread> thread_;             // under mutex_
  internal::Atomic<bool> ends_{false};
};

SignalHandlers::Own::~Own() {
  if (IsInherited()) {
    static_cast<void>(thread_.release());  // the parent's
    return;
  }
  for (int signal = 1; signal <= SignalPost::kMostSignals; ++signal) {
    if (Find(signal) != nullptr) SignalPost::Release(signal, post_);
  }
  if (thread_ != nullptr) {
    if (thread_->get_id() == std::this_thread::get_id()) {
      internal::Fatal(absl::StrCat("pid ", getpid(), ": a SignalHandlers ended in its handler"));
    }
    ends_.store(true, std::memory_order_release);
    post_.Ring();
    thread_->join();
  }
  SignalPost::Return(&post_);
}

absl::Status SignalHandlers::Own::Handle(int signal, Handler handler,
                                         const SignalOptions& options) {
  if (IsInherited()) return mp::IsInherited();
  if (!CanBeHandled(signal) || handler == nullptr) {
    return absl::InvalidArgumentError(handler == nullptr
                                          ? absl::StrCat("no handler for signal ", signal)
                                          : absl::StrCat("signal ", signal, " cannot be handled"));
  }
  struct sigaction action;
  Pointer next = std::make_shared<const Handler>(std::move(handler));  // or the last one, then
  // One that comes at once finds its handler: who runs it waits for the lock.
  const std::lock_guard lock(mutex_);
  absl::Status status = SignalPost::Send(signal, post_, ActionIn(options.in_children, action));
  if (status.ok()) next.swap(handlers_[signal]);
  return status;
}

absl::Status SignalHandlers::Own::Restore(int signal) {
  if (IsInherited()) return mp::IsInherited();
  Pointer last;  // destroyed after the lock
  const std::lock_guard lock(mutex_);
  if (!CanBeHandled(signal) || !SignalPost::Release(signal, post_)) {
    return absl::NotFoundError(absl::StrCat("signal ", signal, " is not handled here"));
  }
  last.swap(handlers_[signal]);
  return absl::OkStatus();
}

int SignalHandlers::Own::RunPending() {
  if (IsInherited()) return 0;
  // Where a handler throws what is left is to be found.
  struct RingsForRest {
    ~RingsForRest() {
      if (post.Pending() != 0) post.Ring();
    }
    SignalPost& post;
  };
  SignalPost& post = post_;
  post.Drain();
  const RingsForRest at_the_end{post};
  int count = 0;
  for (uint64_t left = post.Pending(); left != 0; left &= left - 1) {
    const int signal = std::countr_zero(left) + 1;
    if (!post.TakeOne(signal)) continue;
    const Pointer handler = Find(signal);
    if (handler == nullptr) continue;
    ++count;
    (*handler)(signal);
    if (IsInherited()) break;  // a child that was forked in it
  }
  return count;
}

absl::Status SignalHandlers::Own::Run(absl::Duration timeout) {
  const internal::Deadline deadline(timeout);
  for (;;) {
    if (IsInherited()) return mp::IsInherited();
    if (RunPending() > 0) return absl::OkStatus();
    pollfd polled = {.fd = post_.fd(), .events = POLLIN, .revents = 0};
    if (internal::PollUntil({&polled, 1}, deadline.get()) == 0) {
      return internal::LateStatus("no signal came in time");
    }
    internal::EndIfClosed({&polled, 1});
  }
}

void SignalHandlers::Own::RunUntilTheEnd() {
  // Or in a child that was forked in a handler, and has this thread alone.
  while (!ends_.load(std::memory_order_acquire) && !IsInherited()) {
    pollfd polled = {.fd = post_.fd(), .events = POLLIN, .revents = 0};
    internal::PollUntil({&polled, 1}, &internal::kUncancelled);
    internal::EndIfClosed({&polled, 1});
    RunPending();
  }
}

absl::Status SignalHandlers::Own::Start() {
  if (IsInherited()) return mp::IsInherited();
  const std::lock_guard lock(mutex_);
  if (thread_ != nullptr) return absl::OkStatus();
  try {
    thread_ = std::make_unique<std::thread>([this] { RunUntilTheEnd(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(absl::StrCat("no thread for signals: ", error.what()));
  }
  return absl::OkStatus();
}

// SignalHandlers -------------------------------------------------------------------------------

SignalHandlers::SignalHandlers(std::unique_ptr<Own> own) : own_(std::move(own)) {}

absl::StatusOr<SignalHandlers> SignalHandlers::Create() {
  const absl::StatusOr<SignalPost*> post = SignalPost::Take();
  if (!post.ok()) return post.status();
  return SignalHandlers(std::make_unique<Own>(**post));
}

SignalHandlers::SignalHandlers() {
  absl::StatusOr<SignalHandlers> made = Create();
  if (!made.ok()) {
    internal::Fatal(absl::StrCat("pid ", getpid(), ": SignalHandlers: ", made.status().message()));
  }
  *this = *std::move(made);
}

SignalHandlers::~SignalHandlers() = default;
SignalHandlers::SignalHandlers(SignalHandlers&& other) noexcept = default;
SignalHandlers& SignalHandlers::operator=(SignalHandlers&& other) noexcept = default;

absl::Status SignalHandlers::Handle(int signal, Handler handler,
                                    const SignalOptions& options) const {
  return own_ == nullptr ? WasMoved() : own_->Handle(signal, std::move(handler), options);
}
absl::Status SignalHandlers::Restore(int signal) const {
  return own_ == nullptr ? WasMoved() : own_->Restore(signal);
}
int SignalHandlers::fileno() const { return own_ == nullptr ? -1 : own_->fileno(); }
int SignalHandlers::RunPending() const { return own_ == nullptr ? 0 : own_->RunPending(); }
absl::Status SignalHandlers::Run(absl::Duration timeout) const {
  return own_ == nullptr ? WasMoved() : own_->Run(timeout);
}
absl::Status SignalHandlers::Start() const { return own_ == nullptr ? WasMoved() : own_->Start(); }

// To send --------------------------------------------------------------------------------------

absl::Status Kill(pid_t pid, int signal) {
  if (pid <= 0) {
    return absl::InvalidArgumentError(absl::StrCat(pid, " is not the pid of a process"));
  }
  if (kill(pid, signal) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("signal ", signal, " to pid ", pid));
}

void EndBySignal(int signal) {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  internal::TerminateChildren();
  internal::FlushOutput();
  // To this thread: of kill(2) it might return before another one has it.
  raise(signal);
  _exit(128 + signal);  // of one that ends nobody
}

}  // namespace mp
