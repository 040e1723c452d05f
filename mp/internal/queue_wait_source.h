// QueueWaitSource: what Wait() (mp/wait.h) does with a queue.

#ifndef MP_MP_INTERNAL_QUEUE_WAIT_SOURCE_H_
#define MP_MP_INTERNAL_QUEUE_WAIT_SOURCE_H_

#include <memory>

#include "mp/internal/joinable_state.h"
#include "mp/internal/queue_state.h"
#include "mp/internal/wait_source.h"
#include "shared/internal/handle.h"

namespace mp::internal {

std::shared_ptr<WaitSource> MakeQueueWaitSource(const Handle<QueueState>& state);
std::shared_ptr<WaitSource> MakeJoinableWaitSource(const Handle<JoinableState>& state);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_QUEUE_WAIT_SOURCE_H_
