// Spawn: a child that is this program again, from its beginning.
//
//   parent                                     child
//   claims a slot; what the child is to do     -
//   is a block of the domain, which is the
//   child's
//   starts the program (exec.h), with a note   tells its pid in the slot; then it is the
//   in its environment (spawn_marker.h)        program, which begins
//   -                                          joins the domain at its first use, Init() at the
//                                              latest; its slot is LIVE
//   -                                          Init() decodes the block, gives it back, and runs
//                                              what it says
//
// Death:    whoever dies, at whatever instruction: the slot and the block come back with the burial
//           of the child, or of the parent where there is no child yet.

#ifndef MP_MP_INTERNAL_SPAWN_H_
#define MP_MP_INTERNAL_SPAWN_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "mp/internal/child_order.h"
#include "mp/internal/children.h"

namespace mp::internal {

// `executable`: "": the program itself. kInvalidArgument: it is another program, or the order
// cannot be sent.
absl::StatusOr<std::shared_ptr<Child>> Spawn(const ChildOrder& order,
                                             const std::string& executable = "");

// Of Init(): what a child is to have, too; and whether there is one that knows what to do.
void NoteArguments(int argc, char** argv);
bool ArgumentsAreNoted();
// In a process that was spawned it does what that is to do, and does not return.
void RunIfSpawned();

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_SPAWN_H_
