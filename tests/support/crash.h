// tests/support/crash.h
//
// RunCrashSweep: kills a process at every instruction of an operation, and
// looks each time whether the others can go on.
//
//   Inherited<State> state;
//   CrashCase lock;
//   lock.name = "lock and unlock";
//   lock.set_up = [&] { state->Init(); };
//   lock.operation = [&] { state->Lock(); state->n++; state->Unlock(); };
//   lock.check = [&]() -> std::string {
//     state->Lock();                     // hangs: the sweep sees it
//     if (state->Torn()) return "torn";
//     state->Unlock();
//     return "";
//   };
//   const CrashReport report = RunCrashSweep(lock);
//   EXPECT_TRUE(report.Clean()) << report.Summary();
//
// At each point, in this order: set_up; a victim is forked and runs prepare; a
// sleeper is forked and falls asleep; the victim runs to the point, is killed
// and reaped; a fresh process runs check; the sleeper must return. First of all
// this is done once without a kill: a test that is wrong shows there.
//
// A victim that blocks is asleep within the operation, and killed there too. If
// there is `unblock`, it is then woken by it and killed at the points behind.
//
// What hangs is what sleeps without one context switch for `quiet`, the sleeper
// included. So code under test that waits with timeouts of up to t needs a
// quiet longer than t.
//
// A check cannot use EXPECT_…: it runs in another process and answers in words.

#ifndef MP_TESTS_SUPPORT_CRASH_H_
#define MP_TESTS_SUPPORT_CRASH_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/operation.h"

namespace mp::testing {

// One operation to kill. What runs in different processes meets in memory that
// children inherit (MAP_SHARED), which the test arranges.
struct CrashCase {
  std::string name;

  // In this process, before each point: fresh shared state. May be empty.
  std::function<void()> set_up;

  // In the victim, not stepped: touch thread-locals and statics, take what the
  // operation is to give back. May be empty.
  std::function<void()> prepare;

  // In the victim; killed at each of its instructions in turn. Any callable.
  Operation operation;

  // A live peer that is asleep in this when the operation begins, and has to
  // return by the end of check or by what check did. May be empty.
  std::function<void()> sleeper;

  // The sleeper comes when the victim sleeps within the operation, to queue up
  // behind it; a victim killed before has no sleeper.
  bool sleeper_queues_behind = false;

  // In this process: ends what the operation sleeps in. Called each time the
  // victim is seen asleep on its way, and once after the kill if never before,
  // so it can also let a sleeper go that stands at a Gate and holds a lock. May
  // be empty: then the operation's last point is its sleep.
  std::function<void()> unblock;

  // In a fresh process after the kill: "" or what is wrong.
  std::function<std::string()> check;
};

struct CrashOptions {
  CrashOptions();

  // At most this many points, spread evenly, each a random one of its stretch;
  // 0: every instruction. The ends and the system calls are always there. By
  // default 50, 12 where the tests are not optimized, 10 under a sanitizer, all with
  // MP_STRESS.
  size_t sample;

  uint64_t seed;  // default: MP_SEED, else 1

  // No context switch for this long: it hangs.
  std::chrono::milliseconds quiet{300};

  // Not done after this long, although it moves: it hangs, too.
  std::chrono::milliseconds limit;

  // Go to the points by single steps only. Slow; for tests of the sweep itself.
  bool single_steps = false;
};

// One kill that did harm.
struct BadPoint {
  enum class Kind { kHang, kLostWakeup, kFailure };
  Kind kind;
  size_t instruction;  // how many instructions the operation had executed
  bool asleep;         // killed in its sleep in the system call there
  std::string where;   // "function+0x1f", the instruction that was next
  std::string what;    // what check said, or where it sleeps
};

struct CrashReport {
  std::string name;
  uint64_t seed = 0;
  size_t instructions = 0;  // of the operation, counted once
  size_t sleeps = 0;        // of its system calls, how many slept
  size_t points = 0;        // kills
  size_t missed = 0;        // the operation took another way and ended before
  size_t stepped = 0;       // kills that needed single steps
  size_t hangs = 0;         // check hung
  size_t lost_wakeups = 0;  // the sleeper slept on
  size_t failures = 0;      // check said something, or died
  std::vector<BadPoint> bad;
  std::string error;  // why there was no sweep: the case itself is wrong
  double seconds = 0;

  // Kills were made and none did harm.
  bool Clean() const;

  // One line of numbers.
  std::string Headline() const;

  // The headline, then the bad points; neighbours of one kind in one function
  // share a line.
  std::string Summary() const;
};

// Prints the headline to stdout. The calling thread is the
// tracer; it needs no other help. Not to be called by two threads at once.
[[nodiscard]] CrashReport RunCrashSweep(const CrashCase& crash_case,
                                        const CrashOptions& options = {});

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_CRASH_H_
