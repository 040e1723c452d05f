#include "tests/model/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define MP_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MP_ADDRESS_SANITIZER 1
#endif
#endif

#ifdef MP_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace mp::model {
namespace {

// Who switched, and to whom: for who arrives.
Fiber* from = nullptr;
Fiber* to = nullptr;

}  // namespace

Fiber::Fiber() = default;

Fiber::Fiber(size_t stack_size) {
  const auto page = static_cast<size_t>(getpagesize());
  mapping_size_ = stack_size + page;
  mapping_ = mmap(nullptr, mapping_size_, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (mapping_ == MAP_FAILED || mprotect(mapping_, page, PROT_NONE) != 0) {
    perror("a stack for a fiber");
    std::abort();
  }
  stack_ = static_cast<char*>(mapping_) + page;
  stack_size_ = stack_size;
}

Fiber::~Fiber() {
  if (mapping_ == nullptr) return;
#ifdef MP_ADDRESS_SANITIZER
  ASAN_UNPOISON_MEMORY_REGION(stack_, stack_size_);
#endif
  munmap(mapping_, mapping_size_);
}

void Fiber::Begin(std::function<void()> body) {
#ifdef MP_ADDRESS_SANITIZER
  ASAN_UNPOISON_MEMORY_REGION(stack_, stack_size_);
#endif
  body_ = std::move(body);
  fake_stack_ = nullptr;
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = stack_size_;
  context_.uc_link = nullptr;
  makecontext(&context_, &Fiber::Enter, 0);
  fresh_ = true;
}

void Fiber::Enter() {
  Fiber* const self = to;
  self->Arrive();
  self->body_();
  std::abort();
}

void Fiber::Switch(Fiber& other, bool for_ever) {
  from = this;
  to = &other;
#ifdef MP_ADDRESS_SANITIZER
  __sanitizer_start_switch_fiber(for_ever ? nullptr : &fake_stack_, other.stack_,
                                 other.stack_size_);
#else
  (void)for_ever;
#endif
  // Not swapcontext(), which asks the kernel for the signal mask each time.
  if (__builtin_setjmp(place_) == 0) other.Resume();
  Arrive();
}

// A function of its own, as __builtin_longjmp() demands.
void Fiber::Resume() {
  if (std::exchange(fresh_, false)) {
    setcontext(&context_);
  } else {
    __builtin_longjmp(place_, 1);
  }
}

void Fiber::LeaveForEverTo(Fiber& other) {
  Switch(other, true);
  std::abort();
}

void Fiber::Arrive() {
#ifdef MP_ADDRESS_SANITIZER
  const void* stack = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(fake_stack_, &stack, &size);
  // The stack of the thread itself is learned from here.
  from->stack_ = const_cast<void*>(stack);
  from->stack_size_ = size;
#endif
}

}  // namespace mp::model
