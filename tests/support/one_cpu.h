// tests/support/one_cpu.h
//
// OneCpu: keeps the calling thread, and the children it forks, on one processor
// for a while. Processes that take turns, as tracer and victim do, hand over
// some three times faster there.

#ifndef MP_TESTS_SUPPORT_ONE_CPU_H_
#define MP_TESTS_SUPPORT_ONE_CPU_H_

#include <sched.h>

#include <cstddef>

namespace mp::testing {

class OneCpu {
 public:
  OneCpu() { Bind(); }
  ~OneCpu() { Release(); }
  OneCpu(const OneCpu&) = delete;
  OneCpu& operator=(const OneCpu&) = delete;

  // To the processor on which the caller runs now.
  void Bind() {
    const int cpu = sched_getcpu();
    if (bound_ || cpu < 0 || cpu >= CPU_SETSIZE) return;
    if (sched_getaffinity(0, sizeof(before_), &before_) != 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(cpu), &one);
    bound_ = sched_setaffinity(0, sizeof(one), &one) == 0;
  }

  // To run anywhere again; in a forked child, for that child only.
  void Release() {
    if (bound_) sched_setaffinity(0, sizeof(before_), &before_);
    bound_ = false;
  }

 private:
  cpu_set_t before_;
  bool bound_ = false;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_ONE_CPU_H_
