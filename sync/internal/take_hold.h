// TakeHold: a free hold (shared/internal/holds.h), for an operation that cannot go on without.

#ifndef MP_SYNC_INTERNAL_TAKE_HOLD_H_
#define MP_SYNC_INTERNAL_TAKE_HOLD_H_

#include <string_view>

#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/internal/fatal.h"
#include "shared/internal/holds.h"
#include "shared/internal/object_header.h"
#include "shared/internal/wait.h"

namespace mp::internal {

// Ends the process where there is none; `what` would be one more of `object`.
inline Hold* TakeHold(const ObjectHeader& object, std::string_view what) {
  // Of a thread that has a lane death, or execve(), is told at once; of one that has never slept
  // nobody would learn before he looks, once a second.
  if (!HoldTable::HasCached()) LaneForNotes();
  Domain& domain = *Domain::Current();
  Hold* const hold = domain.holds().Take(domain.ThisProcess().identity());
  if (hold == nullptr) {
    Fatal(absl::StrCat(object.Describe(),
                       ": there is no memory, or no room in the domain, for one more ", what));
  }
  return hold;
}

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_TAKE_HOLD_H_
