#include "tests/support/fuse.h"

#include <signal.h>
#include <sys/types.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>

namespace mp::testing {
namespace {

constexpr greg_t kTrapFlag = 0x100;

// That of this process, which has lit it.
constinit Fuse* burning = nullptr;

}  // namespace

void Fuse::Lay(int64_t length) {
  length_ = length;
  pid_ = 0;
  burnt_ = 0;
  out_ = false;
  laid_ = true;
}

void Fuse::Light() {
  if (!laid_.exchange(false)) return;
  pid_ = getpid();
  burning = this;
  struct sigaction action = {};
  action.sa_sigaction = &Step;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGTRAP, &action, nullptr);
  raise(SIGTRAP);
}

void Fuse::PutOut() { out_ = true; }

// The first one comes from raise(), all others from a step.
void Fuse::Step(int /*signal*/, siginfo_t* /*info*/, void* context) {
  Fuse& fuse = *burning;
  greg_t& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
  if (fuse.out_.load(std::memory_order_relaxed)) {
    flags &= ~kTrapFlag;
    return;
  }
  flags |= kTrapFlag;
  const int64_t burnt = fuse.burnt_.load(std::memory_order_relaxed);
  if (burnt == fuse.length_) kill(getpid(), SIGKILL);
  fuse.burnt_.store(burnt + 1, std::memory_order_relaxed);
}

}  // namespace mp::testing
