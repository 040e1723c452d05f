// HeldLocks: how many Locks and RLocks the calling thread holds.
//
// The kernel goes through the newest 2,048 robust mutexes of a thread that dies, and no
// further. Who would hold more is stopped before, so that all come back, also the thread's
// lane, the sentry's duty and the locks of the heap, which come on top.

#ifndef MP_SHARED_INTERNAL_HELD_LOCKS_H_
#define MP_SHARED_INTERNAL_HELD_LOCKS_H_

namespace mp::internal {

class HeldLocks {
 public:
  static constexpr int kMost = 2000;

  static bool IsFull() { return count_ >= kMost; }
  static void Add() { ++count_; }
  static void Remove() { --count_; }
  // In a child of fork, first of all: it holds none.
  static void ForgetInChild() { count_ = 0; }

 private:
  static inline constinit thread_local int count_ = 0;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_HELD_LOCKS_H_
