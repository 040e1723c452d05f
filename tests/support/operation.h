// tests/support/operation.h
//
// Operation: a piece of code between two marks, at which its tracer finds it.

#ifndef MP_TESTS_SUPPORT_OPERATION_H_
#define MP_TESTS_SUPPORT_OPERATION_H_

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#if !defined(__x86_64__)
#error "The crash driver knows the marks and the registers of x86-64 only"
#endif

namespace mp::testing {

// Made from a callable without arguments. The marks are next to the call of the
// callable itself, so that what erases its type is not counted as the
// operation's instructions. Without a tracer, running it ends the process by
// SIGTRAP.
class Operation {
 public:
  Operation() = default;

  template <class Body>
  requires(!std::same_as<std::remove_cvref_t<Body>, Operation> &&
           std::invocable<std::remove_cvref_t<Body>&>)
      // It is assigned; what it takes is no Operation.
      // NOLINTNEXTLINE(google-explicit-constructor,bugprone-forwarding-reference-overload)
      Operation(Body&& body)
      : run_([body = std::forward<Body>(body)]() mutable {
          Mark();
          body();
          Mark();
        }) {}

  explicit operator bool() const { return run_ != nullptr; }
  void Run() const { run_(); }

 private:
  __attribute__((always_inline)) static inline void Mark() { asm volatile("int3" ::: "memory"); }

  std::function<void()> run_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_OPERATION_H_
