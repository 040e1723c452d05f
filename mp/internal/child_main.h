// ChildMain: what a forked child does from the fork to its _exit.

#ifndef MP_MP_INTERNAL_CHILD_MAIN_H_
#define MP_MP_INTERNAL_CHILD_MAIN_H_

#include "mp/internal/self.h"
#include "mp/internal/target.h"

namespace mp::internal {

// What a child is to be is made before the fork: here nothing is allocated and little
// written, since each page that the child is the first to write to is copied. Both stay
// where they are. Runs the target, destroys it, then runs what the child itself registered
// to run at exit, and ends.
[[noreturn]] void ChildMain(Self& self, StoredTarget& target) noexcept;

// The same in a child that is a program of its own from its beginning: its at-exit handlers and
// static objects are its own, also those from before its target, which come last.
[[noreturn]] void SpawnedChildMain(Self& self, StoredTarget& target) noexcept;

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CHILD_MAIN_H_
