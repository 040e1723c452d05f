// tests/support/timed_calls.h
//
// WatchTimedCalls: by which clock a process waits, as its system calls have it. Who waits by the
// wall clock wakes early, or late, when that is set; a test cannot set it, but can look.
//
//   const TimedCalls calls = WatchTimedCalls([&] { (void)lock.Acquire(absl::Milliseconds(50)); });
//   EXPECT_EQ(calls.by_wall_clock, 0);

#ifndef MP_TESTS_SUPPORT_TIMED_CALLS_H_
#define MP_TESTS_SUPPORT_TIMED_CALLS_H_

#include <functional>

namespace mp::testing {

// How many calls there were that wait, and have a timeout.
struct TimedCalls {
  int by_steady_clock = 0;  // also those that say for how long, not until when
  int by_wall_clock = 0;
  int status = -1;  // how the process ended; 0: it returned from `body`
};

// Of a child that runs `body`. What its own children and threads do is not seen. The calling
// thread is its tracer.
TimedCalls WatchTimedCalls(const std::function<void()>& body);

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_TIMED_CALLS_H_
