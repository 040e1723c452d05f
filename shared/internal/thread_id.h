// ThreadId: the kernel's id of the calling thread, without a system call after the first.

#ifndef MP_SHARED_INTERNAL_THREAD_ID_H_
#define MP_SHARED_INTERNAL_THREAD_ID_H_

#include <sys/types.h>
#include <unistd.h>

namespace mp::internal {

class ThreadId {
 public:
  static pid_t OfThisThread() {
    if (id_ == 0) id_ = gettid();
    return id_;
  }
  // In a child of fork, first of all.
  static void ForgetInChild() { id_ = 0; }

 private:
  friend struct ThreadIdTestPeer;

  static inline constinit thread_local pid_t id_ = 0;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_THREAD_ID_H_
