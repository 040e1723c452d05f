// tests/support/alarms.h
//
// Alarms: while it lives, SIGALRM comes again and again, with a handler that returns and, unless
// told otherwise (SA_RESTART), does not ask for what it interrupted to be restarted: system calls
// end with EINTR.

#ifndef MP_TESTS_SUPPORT_ALARMS_H_
#define MP_TESTS_SUPPORT_ALARMS_H_

#include <signal.h>
#include <sys/time.h>

namespace mp::testing {

class Alarms {
 public:
  static constexpr int kEachMillisecond = 1000;
  static constexpr int kNever = 0;  // the test sends them

  // `handler` may only do what is safe in a signal handler.
  explicit Alarms(
      int microseconds = kEachMillisecond, void (*handler)(int) = [](int) {}, int flags = 0) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(SIGALRM, &action, &saved_);
    SetInterval(microseconds);
  }
  ~Alarms() {
    SetInterval(kNever);
    sigaction(SIGALRM, &saved_, nullptr);
  }
  Alarms(const Alarms&) = delete;
  Alarms& operator=(const Alarms&) = delete;

 private:
  static void SetInterval(int microseconds) {
    const itimerval interval = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &interval, nullptr);
  }

  struct sigaction saved_ = {};
};

// Interrupts one who sleeps (a Child), and has Alarms of its own, again and again: whether it
// sleeps on each time.
template <typename Sleeper>
[[nodiscard]] bool SleepsOnAfterAlarms(Sleeper& sleeper) {
  for (int i = 0; i < 5; ++i) {
    if (!sleeper.WaitUntilAsleep()) return false;
    kill(sleeper.pid(), SIGALRM);
  }
  return sleeper.WaitUntilAsleep();
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_ALARMS_H_
