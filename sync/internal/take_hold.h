// TakeHold: a free hold (shared/internal/holds.h), for an operation that cannot go on without; and
// TryTakeHold, for one that can.

#ifndef MP_SYNC_INTERNAL_TAKE_HOLD_H_
#define MP_SYNC_INTERNAL_TAKE_HOLD_H_

#include <string_view>

#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/internal/fatal.h"
#include "shared/internal/holds.h"
#include "shared/internal/object_header.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/wait.h"

namespace mp::internal {

// nullptr: there is no memory, or no room in the domain.
inline Hold* TryTakeHold() {
  // Of a thread that has a lane death, or execve(), is told at once; of one that has never slept
  // nobody would learn before the next look at all processes, once a second.
  if (!HoldTable::HasCached()) LaneForNotes();
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.ThisProcess().identity();
  Hold* const hold = domain.holds().Take(self);
  if (hold != nullptr) return hold;
  // What the dead have is free when they are buried, by whomever, and be it not to the end.
  domain.BuryTheDead(Evidence::kThorough);
  return domain.holds().Take(self);
}

// Ends the process where there is none; `what` would be one more of `object`.
inline Hold* TakeHold(const ObjectHeader& object, std::string_view what) {
  Hold* const hold = TryTakeHold();
  if (hold == nullptr) {
    Fatal(absl::StrCat(object.Describe(),
                       ": there is no memory, or no room in the domain, for one more ", what));
  }
  return hold;
}

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_TAKE_HOLD_H_
