// LockHeader: what the cell of a lock begins with: an object, and the mutex that it is.

#ifndef MP_SHARED_INTERNAL_LOCK_HEADER_H_
#define MP_SHARED_INTERNAL_LOCK_HEADER_H_

#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

struct LockHeader : ObjectHeader {
  RobustMutex mutex;

  // A held mutex is in its holder's list of robust mutexes; to use its memory for another
  // would cut off all behind it, which then nobody gets back when the holder dies.
  bool Busy() const { return mutex.HolderTid() != 0; }
};

// Whether its cell begins with a LockHeader.
constexpr bool IsLock(ObjectType type) {
  switch (type) {
    case ObjectType::kLock:
    case ObjectType::kRLock:
    case ObjectType::kCondition:
    case ObjectType::kValue:
    case ObjectType::kArray:
    case ObjectType::kRwLock:
    case ObjectType::kOnce:
      return true;
    default:
      return false;
  }
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_LOCK_HEADER_H_
