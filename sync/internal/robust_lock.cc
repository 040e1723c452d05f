#include "sync/internal/robust_lock.h"

#include <string_view>

#include "absl/status/statusor.h"
#include "shared/internal/handle.h"
#include "shared/internal/object.h"
#include "shared/internal/object_type.h"
#include "sync/internal/lock_state.h"

namespace mp::internal {

absl::StatusOr<LockState*> RobustLock::Make(ObjectType type, std::string_view name) {
  return MakeObject<LockState>(type, name, [type](LockState& state) {
    state.Init(/*recursive=*/type == ObjectType::kRLock);
  });
}

LockState* RobustLock::MakeOrDie(ObjectType type, std::string_view name) {
  return OrCannotMake(Make(type, name), type, sizeof(LockState), name);
}

absl::StatusOr<RobustLock> RobustLock::Create(ObjectType type, std::string_view name) {
  const absl::StatusOr<LockState*> state = Make(type, name);
  if (!state.ok()) return state.status();
  return RobustLock(Handle<LockState>(*state));
}

RobustLock::RobustLock(ObjectType type, std::string_view name) : state_(MakeOrDie(type, name)) {}

}  // namespace mp::internal
