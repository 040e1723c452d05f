// RobustLock: a handle to a lock (lock_state.h): what a Lock and an RLock are made of.

#ifndef MP_SYNC_INTERNAL_ROBUST_LOCK_H_
#define MP_SYNC_INTERNAL_ROBUST_LOCK_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/object_type.h"
#include "sync/internal/lock_state.h"

namespace mp::internal {

class RobustLock {
 public:
  static absl::StatusOr<RobustLock> Create(ObjectType type, std::string_view name);
  // Ends the process where Create() would return a status.
  RobustLock(ObjectType type, std::string_view name);
  // That of a Lock or an RLock.
  template <typename L>
  static const RobustLock& Of(const L& lock) {
    return lock.lock_;
  }
  // The lock that an object of another type has in its cell.
  explicit RobustLock(const Handle<LockState>& state) : state_(state) {}
  // A Lock or an RLock that refers to it; what its holder may do is up to the lock itself.
  template <typename L>
  L As() const {
    return L(*this);
  }

  LockState* operator->() const { return state_.get(); }

 private:
  friend struct HandleAccess;

  explicit RobustLock(LockState* state) : state_(state) {}

  static absl::StatusOr<LockState*> Make(ObjectType type, std::string_view name);
  static LockState* MakeOrDie(ObjectType type, std::string_view name);

  Handle<LockState> state_;
};

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_ROBUST_LOCK_H_
