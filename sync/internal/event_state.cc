#include "sync/internal/event_state.h"

#include <time.h>

#include <cstdint>

#include "shared/internal/futex.h"
#include "shared/internal/wait.h"

namespace mp::internal {

void EventState::Set() {
  uint64_t seen = word.load(std::memory_order_relaxed);
  uint64_t set;
  do {
    // Where it is set, by storing the same: a look alone may come before what was done before this
    // call can be seen. Who clears it in between would find neither that nor the event set, and
    // sleep for ever.
    // Test:   OrderingTest.WhatWasDoneBeforeASetIsSeenAfterAClearOrItIsSet
    set = IsSet(seen) ? seen : ((seen >> kCountShift) + 1) << kCountShift | kSet;
    // Before: it is not set.
    // After:  it is; the burial of who dies before the next line wakes all whose word has changed.
    // Test:   EventCrashTest.WhoWaitsIsWokenWhoeverDies
  } while (!word.compare_exchange_weak(seen, set, std::memory_order_acq_rel,  // [A] with [B]
                                       std::memory_order_relaxed));
  // Nobody sleeps for one that is set.
  if ((seen & kSleepers) == 0) return;
  FutexWake(LowHalf(word), kWakeAll);
}

bool EventState::WaitSince(uint64_t seen, const timespec* deadline) {
  const uint64_t count = seen >> kCountShift;
  return SleepWhile(word, kSleepers, deadline,
                    [count](uint64_t now) { return !IsSet(now) && now >> kCountShift == count; });
}

}  // namespace mp::internal
