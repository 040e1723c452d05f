// All of mp.

#ifndef MP_MP_MP_H_
#define MP_MP_MP_H_

#include "mp/cancellation.h"           // IWYU pragma: export
#include "mp/codec.h"                  // IWYU pragma: export
#include "mp/cpu_count.h"              // IWYU pragma: export
#include "mp/fd.h"                     // IWYU pragma: export
#include "mp/forkserver.h"             // IWYU pragma: export
#include "mp/frame.h"                  // IWYU pragma: export
#include "mp/init.h"                   // IWYU pragma: export
#include "mp/joinable_queue.h"         // IWYU pragma: export
#include "mp/loan.h"                   // IWYU pragma: export
#include "mp/on_parent_exit.h"         // IWYU pragma: export
#include "mp/or_die.h"                 // IWYU pragma: export
#include "mp/os_pipe.h"                // IWYU pragma: export
#include "mp/pipe.h"                   // IWYU pragma: export
#include "mp/pool.h"                   // IWYU pragma: export
#include "mp/popen.h"                  // IWYU pragma: export
#include "mp/process.h"                // IWYU pragma: export
#include "mp/process_info.h"           // IWYU pragma: export
#include "mp/process_pool_executor.h"  // IWYU pragma: export
#include "mp/progress_bar.h"           // IWYU pragma: export
#include "mp/queue.h"                  // IWYU pragma: export
#include "mp/signals.h"                // IWYU pragma: export
#include "mp/simple_queue.h"           // IWYU pragma: export
#include "mp/start_method.h"           // IWYU pragma: export
#include "mp/timer.h"                  // IWYU pragma: export
#include "mp/wait.h"                   // IWYU pragma: export
#include "shared/allocator.h"          // IWYU pragma: export
#include "shared/domain.h"             // IWYU pragma: export
#include "shared/inspect.h"            // IWYU pragma: export
#include "shared/raw_array.h"          // IWYU pragma: export
#include "shared/raw_value.h"          // IWYU pragma: export
#include "shared/shared.h"             // IWYU pragma: export
#include "sync/array.h"                // IWYU pragma: export
#include "sync/barrier.h"              // IWYU pragma: export
#include "sync/condition.h"            // IWYU pragma: export
#include "sync/event.h"                // IWYU pragma: export
#include "sync/latch.h"                // IWYU pragma: export
#include "sync/lock.h"                 // IWYU pragma: export
#include "sync/lock_guard.h"           // IWYU pragma: export
#include "sync/once.h"                 // IWYU pragma: export
#include "sync/rlock.h"                // IWYU pragma: export
#include "sync/rwlock.h"               // IWYU pragma: export
#include "sync/semaphore.h"            // IWYU pragma: export
#include "sync/value.h"                // IWYU pragma: export

#endif  // MP_MP_MP_H_
