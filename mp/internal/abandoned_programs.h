// Abandoned programs: those that still run, and whose Popen is gone. They are reaped when somebody
// looks: until then one that has ended keeps its place in the table of processes.

#ifndef MP_MP_INTERNAL_ABANDONED_PROGRAMS_H_
#define MP_MP_INTERNAL_ABANDONED_PROGRAMS_H_

#include <memory>

#include "mp/internal/children.h"

namespace mp::internal {

// A child of this process.
void AbandonProgram(std::unique_ptr<Child> program);

// Reaps those that have ended.
void ReapAbandonedPrograms();

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_ABANDONED_PROGRAMS_H_
