// LatchHeader: a count that goes down to nothing, once. Who has a hold (holds.h) is counted down by
// its process's death, if it was not before.
//
// Layout: TallyHeader, whose value is how many are to come.

#ifndef MP_SHARED_INTERNAL_LATCH_HEADER_H_
#define MP_SHARED_INTERNAL_LATCH_HEADER_H_

#include <algorithm>
#include <cstdint>
#include <optional>

#include "shared/internal/futex.h"
#include "shared/internal/holds.h"
#include "shared/internal/tally_header.h"

namespace mp::internal {

struct LatchHeader : TallyHeader {
  void CountDown(uint64_t by) {
    uint64_t seen = count.first().load(std::memory_order_relaxed);
    // Before: they are to come.
    // After:  they have; the burial of who dies before it has woken the sleepers does so.
    // Test:   LatchCrashTest.WhoWaitsIsWokenWhoeverDies
    while (!count.first().compare_exchange_weak(seen, After(seen, by), std::memory_order_acq_rel,
                                                std::memory_order_relaxed)) {
    }
    WakeAfter(seen, by);
  }
  // `hold` is one of those that are to come.
  void Join(HoldTable& holds, Hold& hold) {
    // No count changes but for the tag: by that it is there from one step on.
    static_cast<void>(holds.Change(*this, hold, HoldTable::kTaking,
                                   count.first().load(std::memory_order_relaxed),
                                   [](uint64_t seen) { return std::optional(seen); }));
    hold.End(/*held=*/true);
  }
  // Of several threads of its process one gets it, to count it down.
  bool TryClaim(Hold& hold) const {
    // Since it was found another may have counted it down, and have joined another latch with it:
    // the object is asked for here, where it is that of the state which is marked.
    const uint64_t state = hold.state.load(std::memory_order_acquire);
    // Before and after: it is held, to be counted down by this process, or its burial.
    // Test:   LatchCrashTest.WhoWaitsIsWokenWhoeverDies
    return (state & (Hold::kStep | Hold::kHeld | Hold::kMark)) == Hold::kHeld &&
           hold.Holds(*this) && hold.TryMark(state, Hold::kMark);
  }
  // One, with its hold.
  void CountDown(HoldTable& holds, Hold& hold) {
    uint64_t before = 0;
    static_cast<void>(holds.Change(*this, hold, HoldTable::kGiving,
                                   count.first().load(std::memory_order_relaxed),
                                   [&](uint64_t seen) -> std::optional<uint64_t> {
                                     before = seen;
                                     return After(seen, 1);
                                   }));
    hold.End(/*held=*/false);
    WakeAfter(before, 1);
  }

 private:
  // Whoever sleeps, sleeps until there is nothing left.
  static uint64_t After(uint64_t seen, uint64_t by) {
    const uint64_t left = (seen & kValue) - std::min(seen & kValue, by);
    return left == 0 ? 0 : left | (seen & kSleepers);
  }
  void WakeAfter(uint64_t before, uint64_t by) {
    if ((before & kSleepers) != 0 && After(before, by) == 0) FutexWake(word(), kWakeAll);
  }
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_LATCH_HEADER_H_
