#include "mp/internal/no_sigpipe.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <cerrno>

namespace mp::internal {
namespace {

sigset_t OnlySigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  return set;
}

}  // namespace

NoSigpipe::NoSigpipe() {
  sigset_t pending;
  sigpending(&pending);
  was_pending_ = sigismember(&pending, SIGPIPE) == 1;
  const sigset_t sigpipe = OnlySigpipe();
  pthread_sigmask(SIG_BLOCK, &sigpipe, &blocked_);
}

NoSigpipe::~NoSigpipe() { pthread_sigmask(SIG_SETMASK, &blocked_, nullptr); }

void NoSigpipe::TakeBack() const {
  if (was_pending_) return;
  const sigset_t sigpipe = OnlySigpipe();
  const timespec at_once = {};
  while (sigtimedwait(&sigpipe, nullptr, &at_once) < 0 && errno == EINTR) {
  }
}

}  // namespace mp::internal
