// Busy: whether an object, of any type, is in the hands of some thread that may have no handle to
// it any more: then it does not end yet.

#ifndef MP_SHARED_INTERNAL_BUSY_H_
#define MP_SHARED_INTERNAL_BUSY_H_

#include "shared/internal/holds.h"
#include "shared/internal/lock_header.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"

namespace mp::internal {

// A lock that is held; or an object that processes have holds of, which a burial may be about to
// give back.
inline bool IsBusy(const ObjectHeader& object, const HoldTable& holds) {
  const ObjectType type = object.type();
  if (IsLock(type) && static_cast<const LockHeader&>(object).Busy()) return true;
  if (type == ObjectType::kRwLock) return holds.AnyOf(object);
  // Without a look at the holds where there was never any.
  return HasCount(type) && static_cast<const CountedHeader&>(object).count.second() != 0 &&
         holds.AnyOf(object);
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_BUSY_H_
