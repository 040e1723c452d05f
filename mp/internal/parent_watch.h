// Ties the life of this process to that of its parent.
//
// PR_SET_PDEATHSIG would end it with the *thread* that started it. So a thread waits on
// the parent's sentinel, all signals blocked, in a descriptor table of its own, which
// nothing that the rest of the process does can reach.

#ifndef MP_MP_INTERNAL_PARENT_WATCH_H_
#define MP_MP_INTERNAL_PARENT_WATCH_H_

#include "absl/status/status.h"
#include "mp/internal/sentinel.h"

namespace mp::internal {

// From now on this process is killed (SIGKILL) when the process of `parent` ends, or at
// once if it has ended. Once in a process. kResourceExhausted: no thread is to be had.
absl::Status DieWithParentInChild(const Sentinel& parent);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_PARENT_WATCH_H_
