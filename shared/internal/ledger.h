// Ledger: to which objects that others made this process has handles of its own, and how
// many. For all handles to one object it has one handle in the domain, which keeps the object
// alive and is found by this process's burial.
//
// Threads: from any number. A child of fork has none of its parent's.
// Memory:  16 bytes of the domain an object, and an entry of this process's.

#ifndef MP_SHARED_INTERNAL_LEDGER_H_
#define MP_SHARED_INTERNAL_LEDGER_H_

#include "shared/internal/object_header.h"
#include "shared/internal/stakes.h"

namespace mp::internal {

// One more handle, where the caller has a stake in the object. Ends the process where the domain
// has no memory.
void TakeForeign(ObjectHeader* object);
// One more, copied from one that is counted. False: that is not; then neither is the copy.
[[nodiscard]] bool CopyForeign(ObjectHeader* object);
// One less. Returns the object if that was its last stake, else none; also where the handle was
// not counted.
[[nodiscard]] Stakes::Look DropForeign(ObjectHeader* object);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_LEDGER_H_
