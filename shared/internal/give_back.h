// GiveBack: what becomes of the holds (holds.h) of a dead process, for objects of any type that
// have a count.

#ifndef MP_SHARED_INTERNAL_GIVE_BACK_H_
#define MP_SHARED_INTERNAL_GIVE_BACK_H_

#include <sys/types.h>

#include "shared/internal/barrier_header.h"
#include "shared/internal/holds.h"
#include "shared/internal/latch_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/permits.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

inline void GiveBack(HoldTable& holds, CountedHeader& object, Hold& hold, pid_t pid) {
  switch (object.type()) {
    case ObjectType::kSemaphore:
    case ObjectType::kBoundedSemaphore:
      static_cast<PermitsHeader&>(object).Release(holds, hold);
      break;
    case ObjectType::kLatch:
      static_cast<LatchHeader&>(object).CountDown(holds, hold);
      break;
    case ObjectType::kBarrier:
      static_cast<BarrierHeader&>(object).Bury(hold, pid);
      break;
    default:
      break;
  }
}

// By its burial; `pid` was its pid.
inline void GiveBackHoldsOf(ProcessId dead, pid_t pid, HoldTable& holds) {
  holds.Bury(dead, [&](CountedHeader& object, Hold& hold) { GiveBack(holds, object, hold, pid); });
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_GIVE_BACK_H_
