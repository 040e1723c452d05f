// CancelScope: while it lives, the waits of its thread end when a word is not 0.
//
//   if (CancelScope::Cancelled()) ...            // by one of those that the thread is in
//
// A wait that is ended so is one whose time is over: kTimedOut of Wait() (wait.h), late of what
// polls. So it leaves what a timeout leaves, and there is no third way out of a wait to get right.
// Only where the public name for that is a status, another one is given: LateStatus().
//
// The waits that may not end without what they wait for, those of `void Acquire()` and the like,
// have kUncancelled (deadline.h) as their deadline. Where the deadline is null, a wait heeds it.
//
// What calls those who sleep in poll(2) is a matter of who derives from this: mp/cancellation.h.
//
// Threads: of the one that makes it, and ends it. Signal handlers in that thread may look.
// Fork:    a child has none of them.
// Cost:    who is about to sleep reads a variable of its thread.

#ifndef MP_SHARED_INTERNAL_CANCEL_SCOPE_H_
#define MP_SHARED_INTERNAL_CANCEL_SCOPE_H_

#include <time.h>

#include <string_view>

#include "absl/status/status.h"
#include "shared/internal/atomic.h"
#include "shared/internal/deadline.h"
#include "shared/internal/futex.h"

namespace mp::internal {

class CancelScope {
 public:
  // The calling thread's; nullptr: it is in none.
  static const CancelScope* Innermost() { return innermost_; }
  // Those that a wait until `deadline` is to heed.
  static const CancelScope* HeededUntil(const timespec* deadline) {
    return IsUncancelled(deadline) ? nullptr : innermost_;
  }
  // Whether any of the calling thread's is.
  static bool Cancelled() { return AnyCancelled(innermost_); }
  // Whether a wait until `deadline` has to end before.
  static bool CancelledOf(const timespec* deadline) { return AnyCancelled(HeededUntil(deadline)); }
  // Whether it has to end now.
  static bool IsLate(const timespec* deadline) {
    return (deadline != nullptr && IsPast(*deadline)) || CancelledOf(deadline);
  }

  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

  // Not 0: it is cancelled, for ever.
  const FutexWord& word() const { return word_; }
  const CancelScope* outer() const { return outer_; }

  // By its thread: a descriptor that is readable when, and only when, it is cancelled. Negative:
  // there is none; look now and then. Who cancels may die before it is readable.
  virtual int Bell() const = 0;

 protected:
  explicit CancelScope(const FutexWord& word) : word_(word), outer_(innermost_) {}
  ~CancelScope() = default;

  // What derives from it enters when it is made, and leaves before it ends.
  void Enter();
  void Leave() {
    // In a child that was forked within it, it is not.
    if (innermost_ == this) innermost_ = outer_;
    CompilerFence();
  }

 private:
  static bool AnyCancelled(const CancelScope* scope) {
    for (; scope != nullptr; scope = scope->outer_) {
      // Not acquire alone: who polls has just said where it is to be called. [B] with [A]
      if (scope->word_.load(std::memory_order_seq_cst) != 0) return true;
    }
    return false;
  }
  [[gnu::constructor(101)]] static void RegisterForkHandler();

  static inline constinit thread_local const CancelScope* innermost_ = nullptr;

  const FutexWord& word_;
  const CancelScope* const outer_;
};

// What a wait that was in vain returns: kCancelled where its thread is cancelled, else
// kDeadlineExceeded.
absl::Status LateStatus(std::string_view why);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_CANCEL_SCOPE_H_
