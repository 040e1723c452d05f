#include "shared/internal/spinning.h"

#include <sched.h>

#include <cstdint>

namespace mp::internal {

bool Spinning::Begin() {
  constexpr uint32_t kLookEvery = 256;
  constexpr uint32_t kTryEvery = 16;
  if (count_++ % kLookEvery == 0) {
    cpu_set_t usable;
    alone_ = sched_getaffinity(0, sizeof(usable), &usable) == 0 && CPU_COUNT(&usable) == 1;
  }
  return !alone_ && (credit_ > 0 || count_ % kTryEvery == 0);
}

void Spinning::Pause() { __builtin_ia32_pause(); }
void Spinning::Yield() { sched_yield(); }

}  // namespace mp::internal
