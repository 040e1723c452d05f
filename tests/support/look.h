// tests/support/look.h
//
// What the kernel tells about a process from outside: whether it sleeps, where,
// and since when nothing has moved. All of it is read from /proc; nothing is
// asked of the process itself, so it works on one that hangs.

#ifndef MP_TESTS_SUPPORT_LOOK_H_
#define MP_TESTS_SUPPORT_LOOK_H_

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace mp::testing {

// One thread, at one moment.
struct Look {
  char state = 0;         // as in /proc/PID/stat; 0: there is no such thread
  int64_t switches = -1;  // context switches so far, of both kinds
  long syscall = -1;      // number of the call it sleeps in; -1: not known, or running

  bool exists() const { return state != 0 && state != 'Z' && state != 'X'; }
  bool asleep() const { return state == 'S' || state == 'D'; }
};

// Looks at thread `tid` (a pid is its main thread). Allocates nothing.
Look LookAt(pid_t tid);

// Waits until thread `tid` is asleep in a system call: in any, or in one of
// `syscalls`. False if it ended instead, or HangLimit() passed.
bool WaitUntilAsleep(pid_t tid, std::initializer_list<long> syscalls = {});

// The same for one of the futex waits, which is how locks sleep.
bool WaitUntilAsleepInFutex(pid_t tid);

// Where the threads of `pid` are, as words for the one who reads the log:
// "123 (name): S in futex, futex_do_wait, 42 switches". Writes at most `size`
// bytes with the final zero, allocates nothing, returns the length.
size_t DescribeProcess(pid_t pid, char* text, size_t size);
std::string DescribeProcess(pid_t pid);

// The descendants of `pid`, without itself; at most `capacity`, children before
// grandchildren. Allocates nothing. Returns how many were written.
size_t Descendants(pid_t pid, pid_t* result, size_t capacity);

// For how long a group of processes, with their threads and descendants, has
// been asleep without one context switch: the verdict "it hangs" that a busy
// machine cannot falsify. A sample credits at most 20 ms, so that a stall of
// the whole machine, in which nobody could move, is not taken for a hang.
class QuietClock {
 public:
  explicit QuietClock(std::vector<pid_t> pids);

  // Looks now; meant to be called often, looks at most every 5 ms. Returns the
  // quiet time so far.
  std::chrono::nanoseconds Sample();

 private:
  using Clock = std::chrono::steady_clock;

  const std::vector<pid_t> pids_;
  Clock::time_point last_;
  uint64_t fingerprint_ = 0;  // of the last sample; 0: something was running
  std::chrono::nanoseconds quiet_{0};
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_LOOK_H_
