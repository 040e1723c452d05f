// ForkserverMain: what the fork server does.

#ifndef MP_MP_INTERNAL_FORKSERVER_MAIN_H_
#define MP_MP_INTERNAL_FORKSERVER_MAIN_H_

#include <signal.h>

#include <cstdint>

#include "absl/status/status.h"
#include "mp/connection.h"

namespace mp::internal {

// What ends a whole group: a Ctrl-C, a terminal that is closed, a supervisor. The server ends when
// nobody is left that could ask it, and until then tells how its children end. A bit for each,
// as in a ChildOrder, by which it is started so.
inline constexpr uint64_t kIgnoredByServer =
    uint64_t{1} << (SIGINT - 1) | uint64_t{1} << (SIGTERM - 1) | uint64_t{1} << (SIGHUP - 1) |
    uint64_t{1} << (SIGQUIT - 1);

// Runs `preload`, if there is one; then forks those that are asked for, until nobody can ask any
// more and all of them have ended. It has one thread, and does not listen to Ctrl-C.
absl::Status ForkserverMain(const Connection& requests, void (*preload)());

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_FORKSERVER_MAIN_H_
