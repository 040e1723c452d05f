#include "shared/internal/spinning.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>

namespace mp::internal {

Spinning::Looks Spinning::Begin() {
  constexpr uint32_t kTryEvery = 16;
  const bool tries = count_++ % kTryEvery == 0;
  const int yields = long_credit_ > 0 ? kManyYields : credit_ > 0 || tries ? kYields : 0;
  return {.pauses = yields != 0 && (pause_credit_ > 0 || tries) ? kPauses : 0, .yields = yields};
}

int Spinning::After(int credit, bool paid) {
  return paid ? std::min(credit + kGain, kMost) : std::max(credit - 1, 0);
}

void Spinning::End(Paid paid) {
  credit_ = After(credit_, paid != Paid::kNot);
  pause_credit_ = After(pause_credit_, paid == Paid::kInPauses);
  if (paid == Paid::kNot) long_credit_ = std::max(long_credit_ - 1, 0);
}

void Spinning::Slept(bool was_short) {
  short_sleeps_ = was_short ? short_sleeps_ + 1 : 0;
  if (short_sleeps_ < kShortSleeps) return;
  short_sleeps_ = 0;
  long_credit_ = std::min(long_credit_ + 1, kMostLong);
}

void Spinning::Pause() { __builtin_ia32_pause(); }
void Spinning::Yield() { sched_yield(); }

}  // namespace mp::internal
