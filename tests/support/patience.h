// tests/support/patience.h
//
// Patience: waitpid(2) that looks up once in a while. A child that reports is
// noticed at once; while it does not, the caller can see every millisecond
// whether it sleeps, and give up.

#ifndef MP_TESTS_SUPPORT_PATIENCE_H_
#define MP_TESTS_SUPPORT_PATIENCE_H_

#include <signal.h>
#include <sys/types.h>
#include <time.h>

#include <functional>
#include <optional>

namespace mp::testing {

// A timer interrupts the waiting thread with kSignal while WaitFor() runs, and
// only then. One object per thread at a time; a forked child makes its own.
class Patience {
 public:
  static constexpr int kSignal = 50;  // a real-time signal that nobody uses here

  Patience();
  ~Patience();
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  // Waits until child `pid` stops or ends and returns its wait status. Calls
  // `tick` about every millisecond until it returns false: then nullopt.
  std::optional<int> WaitFor(pid_t pid, const std::function<bool()>& tick);

 private:
  timer_t timer_;
  struct sigaction old_action_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_PATIENCE_H_
