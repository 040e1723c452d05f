// CounterState: the cell of a Semaphore or a BoundedSemaphore, a count of permits
// (shared/internal/permits.h), and the waiting for one of them.
//
// Layout: as of a count.

#ifndef MP_SYNC_INTERNAL_COUNTER_STATE_H_
#define MP_SYNC_INTERNAL_COUNTER_STATE_H_

#include <time.h>

#include <cstdint>

#include "shared/internal/lane.h"
#include "shared/internal/permits.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp::internal {

struct CounterState : PermitsHeader {
  void FreeBlocks() {}

  // `try_take(slept)` until it is true. False: not by `deadline`.
  template <typename TryTake>
  bool WaitToTake(const timespec* deadline, const TryTake& try_take);
};

template <typename TryTake>
bool CounterState::WaitToTake(const timespec* deadline, const TryTake& try_take) {
  if (SpinUntil([&] { return value() != 0 && try_take(false); })) return true;
  // Until the permit is its own and the others are seen to, a wake that it gets is passed on
  // when it dies.
  const SleepsOn note(LaneForNotes(), word());
  for (bool slept = false;; slept = true) {
    if (try_take(slept)) return true;
    uint64_t seen = permits().load(std::memory_order_acquire);
    if ((seen & kValue) != 0) continue;
    if ((seen & kSleepers) == 0) {
      if (!permits().compare_exchange_strong(seen, seen | kSleepers, std::memory_order_acq_rel)) {
        continue;
      }
      seen |= kSleepers;
    }
    if (internal::Wait(word(), static_cast<uint32_t>(seen),
                       {.deadline = deadline, .spin = false}) == WaitResult::kTimedOut) {
      return try_take(true);
    }
  }
}

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_COUNTER_STATE_H_
