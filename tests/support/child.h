// tests/support/child.h
//
// Child: a process that plays a part in a test, step by step.
//
//   Child child([&](Steps& step) {
//     lock.Acquire();
//     step("acquired");            // stands here until the test lets it go on
//     EXPECT_EQ(*counter, 1);      // fails the test in the parent
//     lock.Release();
//   });
//   child.RunTo("acquired");       // it has the lock
//   ...
//   EXPECT_EQ(child.Finish(), 0);  // its exit code, as of Process::exitcode()
//
// To see a child block: let it go, and wait until it sleeps.
//
//   child.RunTo("before");
//   child.Go();
//   child.WaitUntilAsleep();       // in a futex or another system call
//
// A child is forked without exec, cannot outlive the test, and never returns
// into it. Whatever is expected of it and does not come (a step, sleep, its
// end) fails the test with words on where it is, at the latest after
// HangLimit().

#ifndef MP_TESTS_SUPPORT_CHILD_H_
#define MP_TESTS_SUPPORT_CHILD_H_

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace mp::testing {

// The child's end: it calls step("name") where the test may want to find it.
class Steps {
 public:
  // Says that the child is here and waits until the test lets it go on.
  void operator()(std::string_view step);

 private:
  friend class Child;
  explicit Steps(int channel) : channel_(channel) {}
  const int channel_;
};

class Child {
 public:
  // Forks and starts `body`: callable with a Steps& or with nothing. It returns
  // nothing, or an exit code (0 if it returns nothing, 1 if an expectation
  // failed). The thread that calls this must outlive the child.
  template <class Body>
  requires std::invocable<Body&, Steps&> || std::invocable<Body&>
  explicit Child(Body body) : Child(Tag{}, MainOf(std::move(body))) {}

  ~Child();  // kills it if it is still there, and reports what it had to say
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Lets it go on, through other steps if need be, until it stands at `step`.
  // False, and the test has failed, if it never gets there.
  bool RunTo(std::string_view step);

  // Lets it go on from the step at which it stands, and does not wait.
  void Go();

  // Waits until its main thread sleeps in a system call, not at a step. False,
  // and the test has failed, if it ends, or comes to a step instead.
  bool WaitUntilAsleep();

  // Lets it run through all steps to its end. Returns its exit code, or minus
  // the number of the signal that ended it. May be called again.
  int Finish();

  // Kills it where it is, and reaps it.
  void Kill(int signal = SIGKILL);

  // Stops it where it is, and lets it go on. Stop() returns when it stands.
  void Stop();
  void Continue();

  // Whether it has not yet ended. Does not wait.
  bool Running();

  pid_t pid() const { return pid_; }

 private:
  struct Tag {};
  using Main = std::function<int(Steps&)>;
  enum class Event { kStep, kEnd, kLate };

  Child(Tag, const Main& main);

  template <class Body>
  static Main MainOf(Body body) {
    return [body = std::move(body)](Steps& steps) mutable -> int {
      const auto call = [&]() -> decltype(auto) {
        if constexpr (std::invocable<Body&, Steps&>) {
          return body(steps);
        } else {
          return body();
        }
      };
      if constexpr (std::is_void_v<decltype(call())>) {
        call();
        return 0;
      } else {
        return call();
      }
    };
  }

  [[noreturn]] static void RunInChild(int channel, const Main& main);
  Event NextEvent(std::chrono::milliseconds limit);
  bool Receive();
  void Reap();
  std::string Describe() const;

  pid_t pid_ = 0;
  int channel_ = -1;
  int pidfd_ = -1;
  bool standing_ = false;  // at step_, until the next Go()
  bool reaped_ = false;
  int exitcode_ = 0;  // if reaped_
  std::string step_;  // the last one it came to
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_CHILD_H_
