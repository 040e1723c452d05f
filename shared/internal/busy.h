// Busy: whether an object, of any type, is in the hands of some thread that may have no handle to
// it any more: then it does not end yet.

#ifndef MP_SHARED_INTERNAL_BUSY_H_
#define MP_SHARED_INTERNAL_BUSY_H_

#include "shared/internal/lock_header.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/permits.h"

namespace mp::internal {

// A lock that is held; or a semaphore of which there are permits, which a burial may be about to
// give back.
inline bool IsBusy(const ObjectHeader& object, const PermitTable& permits) {
  const ObjectType type = object.type();
  if (IsLock(type)) return static_cast<const LockHeader&>(object).Busy();
  return HasPermits(type) && permits.IsHeld(static_cast<const PermitsHeader&>(object));
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_BUSY_H_
