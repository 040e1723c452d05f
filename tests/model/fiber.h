// tests/model/fiber.h
//
// Fiber: a function with a stack of its own that runs when it is switched to, and stops
// when it switches away. All of them run on one thread, so nothing happens but what is asked for.
//
//   Fiber main;                      // who runs now
//   Fiber other(64 << 10);
//   other.Begin([&] { ...; other.SwitchTo(main); });
//   main.SwitchTo(other);            // returns when somebody switches to `main`

#ifndef MP_TESTS_MODEL_FIBER_H_
#define MP_TESTS_MODEL_FIBER_H_

#include <ucontext.h>

#include <cstddef>
#include <functional>

namespace mp::model {

class Fiber {
 public:
  Fiber();                            // for the stack that runs already
  explicit Fiber(size_t stack_size);  // with a new stack, and a page below it that nobody may touch
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // It will run `body`, which may not return. What ran there before is forgotten, as it stands.
  void Begin(std::function<void()> body);

  // By the fiber that runs.
  void SwitchTo(Fiber& other) { Switch(other, false); }
  [[noreturn]] void LeaveForEverTo(Fiber& other);

 private:
  static void Enter();
  void Switch(Fiber& other, bool for_ever);
  __attribute__((noinline)) void Resume();
  void Arrive();

  ucontext_t context_;  // where it begins
  bool fresh_ = false;  // and is to begin
  void* place_[5];      // else: where it stopped
  void* mapping_ = nullptr;
  size_t mapping_size_ = 0;
  // For the address sanitizer.
  void* stack_ = nullptr;
  size_t stack_size_ = 0;
  void* fake_stack_ = nullptr;
  std::function<void()> body_;
};

}  // namespace mp::model

#endif  // MP_TESTS_MODEL_FIBER_H_
