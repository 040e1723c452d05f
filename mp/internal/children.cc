#include "mp/internal/children.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/sentinel.h"
#include "mp/internal/server_reply.h"
#include "shared/domain.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object.h"

namespace mp::internal {
namespace {

// Since Linux 5.4; as a constant only in newer C libraries.
constexpr auto kPidfd = static_cast<idtype_t>(3);

using Children = std::vector<std::shared_ptr<Child>>;

// A fork finds the list of its parent; it is empty to all but `owner`, until AddChild()
// makes it the fork's own. (To destroy what is in it at once would make every child pay
// for its siblings.) Held across a fork, so that nobody finds it locked or half changed.
constinit std::mutex mutex;
constinit pid_t owner = 0;               // under mutex
constinit Children* children = nullptr;  // under mutex; never destroyed, for at-exit handlers

// Under mutex.
bool IsOwner() { return owner == getpid(); }

}  // namespace

std::optional<int> Child::ExitCode() {
  {
    const std::lock_guard lock(mutex_);
    if (exit_code_.has_value()) return exit_code_;
    exit_code_ = ReapLocked();
    if (!exit_code_.has_value()) return std::nullopt;
    // Nobody who has locked the list waits for a child's lock.
    const std::lock_guard list_lock(mutex);
    if (IsOwner()) {
      std::erase_if(*children, [this](const auto& child) { return child.get() == this; });
    }
  }
  // Without the lock: destructors of objects in limbo may ask, too.
  Bury(id_);
  return exit_code_;
}

std::optional<int> Child::ReapLocked() {
  if (server_.fd() >= 0) {
    if (!sentinel_.Wait(absl::ZeroDuration())) return std::nullopt;
    // The server reaps it, and tells: soon, if it is not busy, or stopped; or it is dead.
    return TryReceiveExitCode(server_.fd(), kStatusTaken);
  }
  siginfo_t info = {};  // si_pid stays 0 while the child runs
  if (waitid(kPidfd, sentinel_.fd(), &info, WEXITED | WNOHANG) != 0) {
    if (errno == ECHILD) return kStatusTaken;
    sentinel_.FailClosed();
  }
  if (info.si_pid == 0) return std::nullopt;
  return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

void Child::Bury(ProcessId id) {
  if (id == 0) return;
  Domain::Current()->Bury(id);
  EndObjectsInLimbo();
}

void Child::JoinToTheEnd() {
  // Outside the lock, so that others can ask meanwhile; and without taking the status,
  // which is for ExitCode() alone. That one also judges what went wrong here.
  for (;;) {
    siginfo_t info;
    if (waitid(kPidfd, sentinel_.fd(), &info, WEXITED | WNOWAIT) != 0 && errno == ECHILD) {
      static_cast<void>(sentinel_.WaitUntil(kUncancelled));
    }
    if (ExitCode().has_value()) return;
    AwaitTold(kUncancelled);
  }
}

// It has ended, but nobody has said how: the server is yet to tell; or a debugger that traces it is
// told first.
void Child::AwaitTold(const timespec& deadline) const {
  if (server_.fd() < 0) return absl::SleepFor(absl::Milliseconds(1));
  pollfd told = {.fd = server_.fd(), .events = POLLIN, .revents = 0};
  PollUntil({&told, 1}, &deadline);
}

bool Child::Join(absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration() && CancelScope::Innermost() == nullptr) {
    JoinToTheEnd();
    return true;
  }
  const timespec deadline = MonotonicDeadline(timeout);
  while (sentinel_.WaitUntil(deadline)) {
    if (ExitCode().has_value()) return true;
    if (CancelScope::IsLate(&deadline)) return false;
    AwaitTold(deadline);
  }
  return false;
}

void Child::Signal(int signal) {
  // Asked first: where the status was taken before the sentinel was opened, this can be
  // the sentinel of a stranger.
  if (ExitCode().has_value()) return;
  syscall(SYS_pidfd_send_signal, sentinel_.fd(), signal, nullptr, 0);
}

void PrepareForChildren() {
  [[maybe_unused]] static const bool once = [] {
    children = new Children;
    pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); });
    // Not reached in a child that we start; a fork of the program's own that exits has
    // none of these children, perhaps some of its own.
    return std::atexit(&EndChildren) == 0;
  }();
}

void AddChild(std::shared_ptr<Child> child) {
  Children inherited;  // destroyed after the lock
  const std::lock_guard lock(mutex);
  if (!IsOwner()) {
    inherited.swap(*children);
    owner = getpid();
  }
  children->push_back(std::move(child));
}

std::vector<std::shared_ptr<Child>> LiveChildren() {
  Children live;
  {
    const std::lock_guard lock(mutex);
    if (IsOwner()) live = *children;
  }
  std::erase_if(live, [](const auto& child) { return child->ExitCode().has_value(); });
  return live;
}

void ReapAbandonedChildren() {
  Children abandoned;
  {
    const std::lock_guard lock(mutex);
    if (!IsOwner()) return;
    for (const auto& child : *children) {
      if (child.use_count() == 1) abandoned.push_back(child);
    }
  }
  for (const auto& child : abandoned) child->ExitCode();
}

namespace {

// Those that are to end with this process, or all, but for those that are detached.
void EndThem(bool all) {
  auto attached = [] {
    Children live = LiveChildren();
    std::erase_if(
        live, [](const auto& child) { return child->on_parent_exit() == OnParentExit::kDetach; });
    return live;
  };
  // Again, since other threads may still start some.
  for (Children live = attached(); !live.empty(); live = attached()) {
    for (const auto& child : live) {
      if (all || child->on_parent_exit() == OnParentExit::kKill) child->Signal(SIGTERM);
    }
    // A program may exit within a scope that is cancelled.
    for (const auto& child : live) child->JoinToTheEnd();
  }
}

}  // namespace

void EndChildren() { EndThem(/*all=*/false); }

void TerminateChildren() { EndThem(/*all=*/true); }

}  // namespace mp::internal
