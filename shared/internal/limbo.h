// Limbo: where an object is that has lost its last stake (stakes.h), and that a child may have
// inherited a handle to. Who dropped the stake ends it, with ~T, when it learns that no such
// child is left; when that one dies first, a burial gives the memory back without ~T.

#ifndef MP_SHARED_INTERNAL_LIMBO_H_
#define MP_SHARED_INTERNAL_LIMBO_H_

#include <cstddef>

#include "shared/internal/object_header.h"
#include "shared/internal/stakes.h"

namespace mp::internal {

// The end of an object that has no stake; its cell is this process's.
using EndObject = void (*)(ObjectHeader* cell);
// Ends an object that has lost its last stake, if there is one, now or, where it is busy or a child
// may have inherited a handle, when that is over; unless such a child has brought it back to life.
void EndOrLeave(const Stakes::Look& object, EndObject end);
// Ends those of this process's objects in limbo that nobody can have any more. Called when
// it has learned of a death, or is short of memory. Whether there were any.
bool EndObjectsInLimbo();
// While it lives nothing ends with ~T in this thread: what is in limbo waits for the next look. For
// who holds a lock that a ~T may want.
class EndsWait {
 public:
  EndsWait() { ++depth_; }
  ~EndsWait() { --depth_; }
  EndsWait(const EndsWait&) = delete;
  EndsWait& operator=(const EndsWait&) = delete;

  static bool Any() { return depth_ != 0; }

 private:
  static inline constinit thread_local int depth_ = 0;
};
// Drops the handles that lie in the object's cell and blocks, for who gives those back without
// ~T. Objects that end by it end without ~T, too: nobody here knows of what type they are.
void DropHandlesOf(ObjectHeader* cell);
// The same for `size` bytes of the domain at `memory`: a message's, say.
void DropHandlesIn(void* memory, size_t size);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_LIMBO_H_
