#include "tests/support/timed_calls.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <functional>

#include "tests/support/fork.h"
#include "tests/support/futex_waitv.h"

namespace mp::testing {
namespace {

enum class Clock { kNone, kSteady, kWall };

// Of a call that names its clock, and one that does not: that waits for so long, which no setting
// of a clock changes.
Clock Named(uint64_t clock) { return clock == CLOCK_REALTIME ? Clock::kWall : Clock::kSteady; }
Clock ForSoLong(bool timed) { return timed ? Clock::kSteady : Clock::kNone; }

Clock ClockOfFutex(uint64_t operation, uint64_t timeout) {
  if (timeout == 0) return Clock::kNone;
  switch (operation & static_cast<uint64_t>(FUTEX_CMD_MASK)) {
    case FUTEX_LOCK_PI:  // until a point of the wall clock, always
      return Clock::kWall;
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAIT_REQUEUE_PI:
    case FUTEX_LOCK_PI2:
      return (operation & FUTEX_CLOCK_REALTIME) != 0 ? Clock::kWall : Clock::kSteady;
    default:  // wakes; what stands there is no timeout
      return Clock::kNone;
  }
}

Clock ClockOf(uint64_t number, const uint64_t* arguments) {
  switch (number) {
    case SYS_futex:
      return ClockOfFutex(arguments[1], arguments[3]);
    case SYS_futex_waitv:
      return arguments[3] == 0 ? Clock::kNone : Named(arguments[4]);
    case SYS_clock_nanosleep:
      return (arguments[1] & TIMER_ABSTIME) != 0 ? Named(arguments[0]) : Clock::kSteady;
    case SYS_nanosleep:
      return Clock::kSteady;
    case SYS_poll:
      return ForSoLong(static_cast<int>(arguments[2]) > 0);
    case SYS_ppoll:
      return ForSoLong(arguments[2] != 0);
    case SYS_select:
    case SYS_pselect6:
      return ForSoLong(arguments[4] != 0);
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      return ForSoLong(static_cast<int>(arguments[3]) > 0);
    case SYS_epoll_pwait2:
    case SYS_semtimedop:
      return ForSoLong(arguments[3] != 0);
    case SYS_rt_sigtimedwait:
      return ForSoLong(arguments[2] != 0);
    case SYS_mq_timedsend:
    case SYS_mq_timedreceive:
      return arguments[4] != 0 ? Clock::kWall : Clock::kNone;
    default:
      return Clock::kNone;
  }
}

void Count(const __ptrace_syscall_info& info, TimedCalls& calls) {
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
  const Clock clock = ClockOf(info.entry.nr, info.entry.args);
  calls.by_steady_clock += clock == Clock::kSteady;
  calls.by_wall_clock += clock == Clock::kWall;
}

}  // namespace

TimedCalls WatchTimedCalls(const std::function<void()>& body) {
  constexpr int kFromSystemCall = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD
  const pid_t pid = ForkMortal([&] {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    body();
  });
  TimedCalls calls;
  bool begun = false;
  for (;;) {
    int status = 0;
    if (waitpid(pid, &status, __WALL) < 0) {
      if (errno == EINTR) continue;
      return calls;
    }
    if (!WIFSTOPPED(status)) {
      calls.status = status;
      return calls;
    }
    int signal = WSTOPSIG(status);
    if (!begun) {
      ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
      begun = true;
      signal = 0;
    } else if (signal == kFromSystemCall) {
      __ptrace_syscall_info info = {};
      ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
      Count(info, calls);
      signal = 0;
    }
    ptrace(PTRACE_SYSCALL, pid, nullptr, signal);
  }
}

}  // namespace mp::testing
