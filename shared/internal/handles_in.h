// HandlesIn: the handles that lie in a piece of the domain, whatever else does.

#ifndef MP_SHARED_INTERNAL_HANDLES_IN_H_
#define MP_SHARED_INTERNAL_HANDLES_IN_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "shared/heap.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

// Visits the words of the `size` bytes at `memory`, a block of the heap, that are handles. They
// may be dropped by that.
void ForEachHandleIn(const Heap& heap, void* memory, size_t size,
                     absl::FunctionRef<void(Word&)> visit);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_HANDLES_IN_H_
