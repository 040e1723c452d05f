// SentryPost: the place in the domain of whoever watches over the family while others sleep.
// What that one does is in sentry.h.
//
// Layout
//   field     written by    meaning
//   duty      pthread       held by the sentry; its word has kSleepers while others sleep on it
//   looked    who looks     CLOCK_MONOTONIC in milliseconds of the last look at all processes
//   sleepers  who looks     how many threads slept then
//
//   S1  Who holds `duty` is about to look, or sleeps on all that a look has found.
//   S2  Its unlock, and its death, wake one of those who sleep on its word.
//   Repair after a death: the one who was woken takes `duty` and looks. Where that one dies,
//   too, before it has it and its word has kSleepers again, one whose nap ends does.

#ifndef MP_SHARED_INTERNAL_SENTRY_POST_H_
#define MP_SHARED_INTERNAL_SENTRY_POST_H_

#include "shared/internal/atomic.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

struct SentryPost {
  RobustMutex duty;
  Word looked;
  Word sleepers;

  void Format() {
    duty.Init(/*recursive=*/false);
    looked.store(0, std::memory_order_relaxed);
    sleepers.store(0, std::memory_order_relaxed);
  }
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_SENTRY_POST_H_
