// ArrayState: the cell of an Array, whatever its elements are: a handle to its lock alone may be
// the last one, and then ends all of it.
//
// Layout: LockState, which is its lock unless it was made with another's, then
//   field   written by    meaning
//   data    maker, once   a block, which the object owns, with the elements
//   size    maker, once   how many
//
//   Repair after a death: none. The block is the object's, so whoever gives back what a dead
//   process left of the one gives back the other.

#ifndef MP_SYNC_INTERNAL_ARRAY_STATE_H_
#define MP_SYNC_INTERNAL_ARRAY_STATE_H_

#include <cstddef>

#include "sync/internal/lock_state.h"

namespace mp::internal {

struct ArrayState : LockState {
  void* data;
  size_t size;
};
static_assert(sizeof(ArrayState) <= 120);  // with its owner word, 128 bytes

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_ARRAY_STATE_H_
