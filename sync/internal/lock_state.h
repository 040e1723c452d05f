// LockState: the cell of a Lock or an RLock (robust_lock.h), and the base of those that carry a
// lock of their own.
//
// Layout: LockHeader (its mutex is recursive for an RLock), then
//   field   written by   meaning
//   notes   the holder   bit 0: from a holder's death until MarkConsistent()
//                        bits 1-: whom the holder has to wake once it has released the lock: how
//                        many (bits 1-16, all of them set: all), on which word (17-63, its
//                        address); 0: nobody
//
//   Repair after a death: who gets EOWNERDEAD sets bit 0, then makes the mutex consistent. Dying
//   in between gives EOWNERDEAD to the next one. Whom the dead one had to wake is woken by its
//   burial, and once more by the next one's release.

#ifndef MP_SYNC_INTERNAL_LOCK_STATE_H_
#define MP_SYNC_INTERNAL_LOCK_STATE_H_

#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/lock_header.h"
#include "shared/internal/object_type.h"

namespace mp::internal {

struct LockState : LockHeader {
  static constexpr uint64_t kOwnerDied = 1;
  static constexpr int kCountShift = 1;
  static constexpr int kWordShift = 17;
  static constexpr uint64_t kMostCount = 0xffff;

  Word notes;

  void Init(bool recursive) {
    mutex.Init(recursive);
    notes.store(0, std::memory_order_relaxed);
  }
  // The end of whatever it is the base of: the last handle may be one to the lock alone.
  void FreeBlocks() {
    if (type() == ObjectType::kArray) FreeElements();
  }

 private:
  void FreeElements();
};

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_LOCK_STATE_H_
