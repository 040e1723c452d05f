// tests/model/step.h
//
// What stands in for atomics, mutexes and system calls in a model tells the explorer before
// each operation that it is about to happen, and after it what the actor saw of it:
//
//   TakeStep({.what = "load", .address = this});
//   const T value = value_;
//   Saw(value);
//
// Between two steps of an actor nobody else runs. Where no actor runs (setting up, and in checks)
// neither does anything.

#ifndef MP_TESTS_MODEL_STEP_H_
#define MP_TESTS_MODEL_STEP_H_

#include <cstdint>
#include <string_view>

namespace mp::model {

struct Step {
  const char* what;
  // The object in shared memory that it is about, and what is stored, for the schedule that is
  // printed. nullptr: it concerns everybody.
  const void* address = nullptr;
  bool write = false;
  uint64_t value = 0;
  // The actor waits until this says true: of the run's state only.
  bool (*ready)(const void* argument) = nullptr;
  const void* argument = nullptr;
  // It need not wait for ever: Outcome::kTimedOut.
  bool timed = false;
};

enum class Outcome { kGo, kTimedOut };

Outcome TakeStep(const Step& step);
// What the actor learned in its step: all that its further way can depend on.
void Saw(uint64_t value);

// Who runs: from 1 on, as a number that no two actors have. Of a check: a number of its own.
int ActorNumber();
// What the actor holds, and its death leaves: `release` is called with it then.
void Holds(void* what, void (*release)(void* what));
void HoldsNoMore(void* what);

// The run has failed: does not return to an actor.
[[noreturn]] void Fail(std::string_view message);

}  // namespace mp::model

#endif  // MP_TESTS_MODEL_STEP_H_
