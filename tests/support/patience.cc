#include "tests/support/patience.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace mp::testing {
namespace {

constexpr long kTickNanoseconds = 1'000'000;

void DoNothing(int) {}

void SetTimer(timer_t timer, long nanoseconds) {
  itimerspec spec = {};
  spec.it_value.tv_nsec = nanoseconds;
  // It repeats: a tick just before the wait begins is lost, the next one is
  // not.
  spec.it_interval.tv_nsec = nanoseconds;
  timer_settime(timer, 0, &spec, nullptr);
}

}  // namespace

Patience::Patience() {
  struct sigaction action = {};
  action.sa_handler = DoNothing;  // no SA_RESTART: the wait has to return
  sigaction(kSignal, &action, &old_action_);
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kSignal;
  event._sigev_un._tid = static_cast<int>(syscall(SYS_gettid));
  if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) {
    perror("test patience: timer_create");
    abort();
  }
}

Patience::~Patience() {
  timer_delete(timer_);
  sigaction(kSignal, &old_action_, nullptr);
}

std::optional<int> Patience::WaitFor(pid_t pid, const std::function<bool()>& tick) {
  int status = 0;
  // Not waitpid(): it is a cancellation point and sanitizers delay signals in
  // it; the raw call returns on every tick.
  const auto wait = [&](int options) {
    return syscall(SYS_wait4, pid, &status, __WALL | options, nullptr);
  };
  // A child that shares this processor, and does not do much, has reported when it is our turn
  // again. To set the timer takes as long as that.
  sched_yield();
  if (wait(WNOHANG) == pid) return status;
  SetTimer(timer_, kTickNanoseconds);
  std::optional<int> result;
  for (;;) {
    const long reported = wait(0);
    if (reported == pid) {
      result = status;
      break;
    }
    if (errno != EINTR) {
      perror("test patience: wait4");
      abort();
    }
    if (!tick()) break;
  }
  SetTimer(timer_, 0);
  return result;
}

}  // namespace mp::testing
