// Forkserver: a small process that is spawned once, and forks children for those who ask for them.
//
// Who asks sends a ForkRequest through a pipe that all of the family share, with a socket of its
// own; the server decodes it, as what a fork is to have, forks, and drops its own. The child tells
// that it is there (server_reply.h) before it does anything else, and is killed or not from then on
// like any; the server tells how it ended. The server ends when nobody has its pipe any more and
// its children have ended. One that was killed is replaced at the next start; what it had forked
// goes on, but nobody knows how that ends: exit code 255.
//
// Death:    of who asks: the child is there, or not. Of the server before the child told of itself:
//           there is none, since the other end of the socket was the server's and the child's
//           alone; another server is asked.
// Fork:     children of any method use the same server.
// Threads:  any number at once.

#ifndef MP_MP_INTERNAL_FORKSERVER_H_
#define MP_MP_INTERNAL_FORKSERVER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "mp/internal/child_order.h"
#include "mp/internal/children.h"

namespace mp::internal {

// kInvalidArgument: what the child is to do cannot be sent there. kUnavailable: the server was
// killed at each of three starts.
absl::StatusOr<std::shared_ptr<Child>> ForkByServer(ChildOrder order);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_FORKSERVER_H_
