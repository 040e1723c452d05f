// tests/support/tracer.h
//
// Victim: a process that runs one operation under ptrace, so that it can be
// brought to any instruction of it and killed there.
//
//   Patience patience;
//   Victim victim(patience, prepare, operation);   // stands before the operation
//   victim.Step();                                 // one instruction
//   victim.RunTo(address);                         // to a breakpoint
//   victim.Kill();                                 // SIGKILL, and reaped
//
// Nothing but what is between the operation's marks is stepped. The victim is
// forked without exec, so its addresses are the caller's. Only the thread that
// makes a Victim may use it: to the kernel, that thread is the tracer.
//
// A breakpoint is an int3 in the victim's copy of the program, not a debug register: many
// virtual machines have none, or accept an address and then never stop there. What the victim
// forks inherits it, and another thread of the victim dies of it. So a fork is passed by Step().

#ifndef MP_TESTS_SUPPORT_TRACER_H_
#define MP_TESTS_SUPPORT_TRACER_H_

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "tests/support/operation.h"
#include "tests/support/patience.h"

namespace mp::testing {

class Victim {
 public:
  // Why the victim stands still.
  enum class Stop {
    kStepped,    // after one instruction
    kAtAddress,  // before the instruction at the breakpoint
    kAsleep,     // not stopped: asleep in a system call; go on with Await()
    kStuck,      // not stopped: slept all through the Await()
    kAtEnd,      // at the closing mark: the operation is complete
    kDied,       // it ended; death() tells how
  };

  // Forks a victim. It runs `prepare` freely (empty: nothing) and stops before
  // `operation`. If it dies on the way, alive() is false.
  Victim(Patience& patience, const std::function<void()>& prepare, const Operation& operation);
  ~Victim();  // kills it if it is alive
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  // One instruction; a system call is one, and so is a call of the vdso. A string
  // instruction with a rep prefix is two: its first round, then all others at once.
  Stop Step();

  // Runs until it is about to execute the instruction at `address`, which is not where it
  // stands now. kStepped: it has not moved, for there can be no breakpoint.
  Stop RunTo(uintptr_t address);

  // Runs on without stopping anywhere before the end of the operation.
  Stop RunToEnd();

  // After kAsleep or kStuck: waits for what the interrupted Step, RunTo or
  // RunToEnd waited for. kAsleep again only if it was awake in between; kStuck
  // when it was not, and `limit` passed.
  Stop Await(std::chrono::milliseconds limit);

  // Lets it run from the closing mark to its _exit, and reaps it.
  void Finish();

  // SIGKILL and reaped, wherever it stands or sleeps.
  void Kill();

  bool alive() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  uintptr_t pc() const;                               // of a stopped victim: the next instruction
  bool AtSyscall() const;                             // the next instruction enters the kernel
  bool AtFork() const;                                // and makes a process or a thread there
  bool Repeating() const { return repeating_ != 0; }  // in the middle of a rep
  const std::string& death() const { return death_; }

 private:
  Stop Resume(int request);
  Stop FinishRepetition();
  Stop LeaveKernelsCode();
  size_t RepeatedLength(uintptr_t address) const;
  void Died(int status);
  bool SetBreakpoint(uintptr_t address);
  void ClearBreakpoint();
  bool Hit();

  Patience& patience_;
  pid_t pid_ = 0;
  uintptr_t breakpoint_ = 0;  // where an int3 stands; 0: nowhere
  long replaced_ = 0;         // the eight bytes from there on, as they were
  uintptr_t repeating_ = 0;   // string instruction of which one round was made
  int request_ = 0;           // of the last Resume
  int64_t slept_at_ = -1;     // context switches when last reported asleep
  std::string death_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_TRACER_H_
