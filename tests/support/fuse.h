// tests/support/fuse.h
//
// Fuse: a process that kills itself at the n-th instruction from a mark on. For what
// RunCrashSweep() (crash.h) cannot have as its operation: what a process does that the library has
// started, between one call of the test's code and the next.
//
//   Inherited<Fuse> fuse;
//   fuse->Lay(100);            // in the parent: whoever comes to Light() first dies 100
//   instructions
//   ...                        // behind it, unless it comes to PutOut() before
//   ... in the child: fuse->Light(); ... the library ... fuse->PutOut();
//   fuse->burnt();             // how many instructions it was
//
// It steps through itself with the processor's trap flag: each instruction is a SIGTRAP, which
// counts. Asleep it does not count. Where signals are blocked, SIGTRAP itself ends the process. It
// has one thread, and no children meanwhile.

#ifndef MP_TESTS_SUPPORT_FUSE_H_
#define MP_TESTS_SUPPORT_FUSE_H_

#include <signal.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace mp::testing {

class Fuse {
 public:
  static constexpr int64_t kEndless = INT64_MAX;

  // Nobody has lit it.
  void Lay(int64_t length);
  // In the one that is to die. Of many that come here, the first; others go on.
  void Light();
  // In any process: who has lit it goes on as others do.
  void PutOut();

  // Of who has lit it; 0: nobody.
  pid_t pid() const { return pid_.load(); }
  int64_t burnt() const { return burnt_.load(); }

 private:
  static void Step(int signal, siginfo_t* info, void* context);

  std::atomic<bool> laid_{false};
  std::atomic<pid_t> pid_{0};
  std::atomic<int64_t> burnt_{0};
  std::atomic<bool> out_{false};
  int64_t length_ = kEndless;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_FUSE_H_
