// Object: the making and the end of what is in a cell. The cell of an object begins with an
// ObjectHeader (object_header.h); what has one as its base and goes on with the state of a type
// is referred to by a Handle (handle.h).

#ifndef MP_SHARED_INTERNAL_OBJECT_H_
#define MP_SHARED_INTERNAL_OBJECT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/internal/atomic.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"

namespace mp::internal {

// A cell of `size` bytes for an object, with its name and one handle, not yet
// seen by anybody: the caller makes the rest of the state, and then publishes it.
absl::StatusOr<ObjectHeader*> MakeCell(size_t size, size_t alignment, std::string_view name);
void PublishCell(ObjectHeader* cell, ObjectType type);
// The first step of its end: its cell is this process's again, to free what the object has.
void RetireCell(ObjectHeader* cell);
// Frees a cell, retired or never published, and its name. The object's other blocks are
// gone.
void FreeCell(ObjectHeader* cell);

// The end of a constructor that cannot get what it needs.
[[noreturn]] void CannotMake(ObjectType type, size_t size, std::string_view name,
                             const absl::Status& why);

// A new object; `init(state)` makes what follows its header.
template <typename State, typename Init>
absl::StatusOr<State*> MakeObject(ObjectType type, std::string_view name, const Init& init) {
  const absl::StatusOr<ObjectHeader*> cell = MakeCell(sizeof(State), alignof(State), name);
  if (!cell.ok()) return cell.status();
  auto* state = static_cast<State*>(*cell);
  init(*state);
  PublishCell(state, type);
  return state;
}
// What was made, of `size` bytes to who asked for it; or the end of its constructor.
template <typename State>
State* OrCannotMake(const absl::StatusOr<State*>& made, ObjectType type, size_t size,
                    std::string_view name) {
  if (!made.ok()) CannotMake(type, size, name, made.status());
  return *made;
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_OBJECT_H_
