// EventState: the cell of an Event, and how its word is set and waited for.
//
// Layout
//   word   all   whether it is set (bit 0); whether there may be sleepers (1); how often it
//                was set (2-). Each change commits; its low half is slept on
//
//   Repair after a death: none. Whom a setter did not come to wake is woken by its burial.

#ifndef MP_SYNC_INTERNAL_EVENT_STATE_H_
#define MP_SYNC_INTERNAL_EVENT_STATE_H_

#include <time.h>

#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/object_header.h"

namespace mp::internal {

struct EventState : ObjectHeader {
  static constexpr uint64_t kSet = 1;
  static constexpr uint64_t kSleepers = 2;
  static constexpr int kCountShift = 2;

  Word word;

  void Init() { word.store(0, std::memory_order_relaxed); }
  void FreeBlocks() {}

  uint64_t Look() const { return word.load(std::memory_order_acquire); }
  static bool IsSet(uint64_t seen) { return (seen & kSet) != 0; }

  void Set();
  void Clear() {
    // Before: it is set, or was not.
    // After:  it is not; who waited for it before sees that it was.
    // Test:   EventCrashTest.NobodyMissesAPulse
    word.fetch_and(~kSet, std::memory_order_acq_rel);  // [B] with [A], in Set()
  }
  // Until it is set, or was since `seen`, when it was not. False: not by `deadline`.
  [[nodiscard]] bool WaitSince(uint64_t seen, const timespec* deadline);
};

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_EVENT_STATE_H_
