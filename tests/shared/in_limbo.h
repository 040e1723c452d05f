// tests/shared/in_limbo.h
//
// An object in limbo whose maker is dead, and an undertaker to take it from there.

#ifndef MP_TESTS_SHARED_IN_LIMBO_H_
#define MP_TESTS_SHARED_IN_LIMBO_H_

#include <time.h>

#include <string>

#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/burial.h"
#include "shared/internal/object.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/process_table.h"

namespace mp {
namespace internal {

// As the calling process's burials do it.
struct BurialTestPeer {
  static bool TakeFromLimbo(ObjectHeader& object) {
    const Undertaker undertaker = OfThisProcess();
    return undertaker.TakeFromLimbo(object, *undertaker.processes.Family());
  }
  static bool FreeTaken(ObjectHeader& object, const timespec& deadline) {
    return OfThisProcess().FreeTaken(object, deadline);
  }

 private:
  static Undertaker OfThisProcess() {
    static Word limbo = 0;
    Domain& domain = *Domain::Current();
    return {domain.header(), domain.processes(), domain.heap(), limbo,
            domain.AsHolder().identity()};
  }
};

}  // namespace internal

namespace testing {

// Has a name, so that it has a block, too. Nobody who is there may have inherited it; who is
// forked from now on may.
inline internal::ObjectHeader& MakeOrphanInLimbo() {
  Domain& domain = *Domain::Current();
  internal::ProcessTable& processes = domain.processes();
  const internal::ProcessId maker = *processes.ClaimForChild(domain.ThisProcess().identity());
  processes.ChildNotForked(maker);
  // Few to a slab: who looks at all blocks is soon done.
  internal::ObjectHeader& object = **internal::MakeCell(8000, 16, std::string(7000, 'o'));
  internal::PublishCell(&object, internal::ObjectType::kRawValue);
  object.maker.store(maker);
  object.dropped.store(processes.Clock());
  return object;
}

}  // namespace testing
}  // namespace mp

#endif  // MP_TESTS_SHARED_IN_LIMBO_H_
