#include "mp/internal/parent_watch.h"

#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "shared/internal/atomic.h"

namespace mp::internal {
namespace {

constinit Atomic<bool> watching = false;

// A descriptor table with `fd` alone. Had it more, it would keep pipes open that the
// process closes, and their readers would wait for ever.
void KeepOnly(unsigned int fd) {
  if (close_range(fd + 1, ~0U, CLOSE_RANGE_UNSHARE) != 0) return;
  close_range(0, fd - 1, 0);
}

void* Watch(void* fd_as_pointer) {
  const int fd = static_cast<int>(reinterpret_cast<intptr_t>(fd_as_pointer));
  pthread_setname_np(pthread_self(), "mp-parent-watch");
  KeepOnly(static_cast<unsigned int>(fd));
  watching.store(true, std::memory_order_release);  // [A] with [B]
  watching.notify_one();
  pollfd parent = {.fd = fd, .events = POLLIN, .revents = 0};
  while (poll(&parent, 1, -1) != 1) {
  }
  kill(getpid(), SIGKILL);
  return nullptr;
}

int StartThread(const pthread_attr_t* attributes, int fd) {
  pthread_t thread;
  return pthread_create(&thread, attributes, &Watch,
                        reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
}

}  // namespace

absl::Status DieWithParentInChild(const Sentinel& parent) {
  sigset_t all;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setsigmask_np(&attributes, &all);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  watching.store(false, std::memory_order_relaxed);
  int error = StartThread(&attributes, parent.fd());
  if (error == EINVAL) {
    // The program's thread-local variables alone are larger than that.
    pthread_attr_setstacksize(&attributes, 8 << 20);
    error = StartThread(&attributes, parent.fd());
  }
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    return absl::ResourceExhaustedError(
        "no thread is left to watch the parent; raise RLIMIT_NPROC, pids.max or the memory limit");
  }
  // The target may close every descriptor: not before the thread has its own.
  watching.wait(false, std::memory_order_acquire);  // [B] with [A]
  return absl::OkStatus();
}

}  // namespace mp::internal
