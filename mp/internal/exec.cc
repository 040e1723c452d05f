#include "mp/internal/exec.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mp/internal/descriptor_moves.h"
#include "mp/internal/sentinel.h"

// The child runs on memory of its parent's that sanitizers keep books on, and never returns: what
// it entered in them would stay.
#define MP_INTERNAL_IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

namespace mp::internal {
namespace {

// Since Linux 5.4; as a constant only in newer C libraries.
constexpr auto kPidfd = static_cast<idtype_t>(3);

// The kernel's words for signals: also those that the C library keeps to itself.
constexpr int kLastSignal = 64;
using SignalMask = uint64_t;
struct SignalAction {
  void (*handler)(int);
  uint64_t flags;
  void (*restorer)();
  SignalMask mask;
};
constexpr SignalAction kDefaultAction = {};
const SignalAction kIgnoreAction = {.handler = SIG_IGN, .flags = 0, .restorer = nullptr, .mask = 0};

// Enough for the dynamic linker, which the first call of a function may need.
constexpr size_t kStackSize = size_t{32} << 10;

struct Range {
  unsigned first;
  unsigned last;
};

// All that the child needs, made before it is there, and what it has to say.
struct Start {
  const ExecRequest& request;
  const char* const* paths;
  size_t path_count;
  const DescriptorMove* moves;
  size_t move_count;
  const Range* closed;
  size_t closed_count;
  SignalMask signals;  // to be blocked in the program

  // Set by the child where it fails.
  int error = 0;
  const char* call = nullptr;
  const char* file = nullptr;
};

// Only system calls, and none through a function that a sanitizer could have replaced.
[[noreturn]] MP_INTERNAL_IN_CHILD void FailInChild(Start& start, const char* call,
                                                   const char* file = nullptr) {
  start.error = errno;
  start.call = call;
  start.file = file;
  for (;;) syscall(SYS_exit_group, 127);
}

MP_INTERNAL_IN_CHILD void MoveDescriptorsInChild(Start& start) {
  int spare = -1;
  for (size_t i = 0; i < start.move_count; ++i) {
    const DescriptorMove& move = start.moves[i];
    if (move.from == move.to) {
      if (syscall(SYS_fcntl, move.from, F_SETFD, 0) != 0) FailInChild(start, "fcntl(F_SETFD)");
    } else if (move.to == DescriptorMove::kSpare) {
      spare = static_cast<int>(syscall(SYS_fcntl, move.from, F_DUPFD_CLOEXEC, 0));
      if (spare < 0) FailInChild(start, "fcntl(F_DUPFD)");
    } else if (move.from == DescriptorMove::kSpare) {
      if (syscall(SYS_dup3, spare, move.to, 0) < 0) FailInChild(start, "dup3");
      syscall(SYS_close, spare);
    } else if (syscall(SYS_dup3, move.from, move.to, 0) < 0) {
      FailInChild(start, "dup3");
    }
  }
  for (size_t i = 0; i < start.closed_count; ++i) {
    const Range& range = start.closed[i];
    if (syscall(SYS_close_range, range.first, range.last, 0) != 0) {
      FailInChild(start, "close_range");
    }
  }
}

// The child has actions of its own, but a handler would run on this process's memory.
MP_INTERNAL_IN_CHILD void RemoveHandlersInChild(const Start& start) {
  for (int signal = 1; signal <= kLastSignal; ++signal) {
    const bool ignored = (start.request.ignored_signals >> (signal - 1) & 1) != 0;
    if (!ignored && !start.request.reset_signals) {
      SignalAction action;
      if (syscall(SYS_rt_sigaction, signal, nullptr, &action, sizeof(SignalMask)) != 0 ||
          action.handler == SIG_IGN) {
        continue;
      }
    }
    // Not for SIGKILL and SIGSTOP, which have no handlers.
    syscall(SYS_rt_sigaction, signal, ignored ? &kIgnoreAction : &kDefaultAction, nullptr,
            sizeof(SignalMask));
  }
}

MP_INTERNAL_IN_CHILD int RunInChild(void* argument) {
  Start& start = *static_cast<Start*>(argument);
  const ExecRequest& request = start.request;
  RemoveHandlersInChild(start);
  MoveDescriptorsInChild(start);
  if (request.new_session && syscall(SYS_setsid) < 0) FailInChild(start, "setsid");
  if (request.process_group != kSameGroup && syscall(SYS_setpgid, 0, request.process_group) != 0) {
    FailInChild(start, "setpgid");
  }
  if (request.cwd != nullptr && syscall(SYS_chdir, request.cwd) != 0) {
    FailInChild(start, "chdir", request.cwd);
  }
  if (request.before != nullptr) request.before(request.before_argument);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &start.signals, nullptr, sizeof(SignalMask));

  const char* file = nullptr;
  int error = ENOENT;
  for (size_t i = 0; i < start.path_count; ++i) {
    syscall(SYS_execve, start.paths[i], request.argv, request.envp);
    // One that may not be run is not what was meant if there is another; who finds none tells why.
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    if (file == nullptr || !missing) {
      file = start.paths[i];
      error = errno;
    }
    if (!missing && errno != EACCES) break;
  }
  errno = error;
  FailInChild(start, "exec", file);
}

// glibc's clone(), by the name that no sanitizer replaces: Clang's for threads takes the child for
// one with memory of its own, and then finds this thread changed by it.
extern "C" int CloneUnseen(int (*function)(void*), void* stack, int flags, void* argument,
                           ...) __asm__("__clone");

// Runs the child on a stack of its own, until it is another program or has ended. Returns its pid,
// or -1 and errno.
MP_INTERNAL_IN_CHILD pid_t Clone(Start& start, int& pidfd) {
  alignas(16) char stack[kStackSize];
  return CloneUnseen(&RunInChild, stack + kStackSize,
                     CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &start, &pidfd, nullptr,
                     nullptr);
}

absl::Status StatusOf(int error, const Start& start) {
  std::string what = start.call;
  if (start.file != nullptr) absl::StrAppend(&what, " ", start.file);
  if (error == ENOENT && start.path_count > 1 && start.file == start.paths[0]) {
    absl::StrAppend(&what, ", or one of ", start.path_count - 1, " other paths");
  }
  absl::StrAppend(&what, ": ", std::strerror(error));
  if (error == ENOEXEC) return absl::InvalidArgumentError(what);
  if (error == EAGAIN || error == ENOMEM) return absl::ResourceExhaustedError(what);
  return absl::ErrnoToStatus(error, what);
}

// What lies between the numbers that the child is to have, and after them.
std::vector<Range> RangesBetween(absl::Span<const std::pair<int, int>> descriptors) {
  std::vector<unsigned> kept;
  kept.reserve(descriptors.size());
  for (const auto& [from, to] : descriptors) kept.push_back(static_cast<unsigned>(to));
  std::sort(kept.begin(), kept.end());
  std::vector<Range> ranges;
  unsigned next = 0;
  for (const unsigned number : kept) {
    if (number > next) ranges.push_back({next, number - 1});
    next = number + 1;
  }
  ranges.push_back({next, ~0U});
  return ranges;
}

// Somebody else may have: a handler that waits for any child, or the kernel, where SIGCHLD is
// ignored.
void Reap(int pidfd) {
  siginfo_t info;
  while (waitid(kPidfd, static_cast<id_t>(pidfd), &info, WEXITED) != 0 && errno == EINTR) {
  }
}

}  // namespace

absl::StatusOr<Executed> Exec(const ExecRequest& request) {
  const std::vector<DescriptorMove> moves = PlanDescriptorMoves(request.descriptors);
  const std::vector<Range> closed =
      request.close_others ? RangesBetween(request.descriptors) : std::vector<Range>();
  ExecRequest complete = request;
  if (complete.envp == nullptr) complete.envp = environ;

  // In the child no handler may run, nor may this thread be cancelled while it waits for it.
  const SignalMask all = ~SignalMask{0};
  SignalMask blocked;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &blocked, sizeof(SignalMask));
  Start start = {.request = complete,
                 .paths = request.paths.data(),
                 .path_count = request.paths.size(),
                 .moves = moves.data(),
                 .move_count = moves.size(),
                 .closed = closed.data(),
                 .closed_count = closed.size(),
                 .signals = request.reset_signals ? 0 : blocked};
  int pidfd = -1;
  const pid_t pid = Clone(start, pidfd);
  const int error = errno;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, sizeof(SignalMask));

  if (pid < 0) {
    start.call = "clone";
    return StatusOf(error, start);
  }
  if (start.call != nullptr) {
    Reap(pidfd);
    close(pidfd);
    return StatusOf(start.error, start);
  }
  absl::StatusOr<Sentinel> sentinel = Sentinel::Take(pidfd);
  if (!sentinel.ok()) {
    // It had the number of a standard descriptor, and there is no other: the last one, perhaps.
    kill(pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return sentinel.status();
  }
  return Executed{.pid = pid, .sentinel = *std::move(sentinel)};
}

}  // namespace mp::internal
