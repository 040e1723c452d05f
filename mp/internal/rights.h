// Rights: descriptors that go with the bytes of a message through a socket (SCM_RIGHTS), up to
// kMostDescriptors (descriptor_packets.h).
//
//   SendWithRights(writing, &number, sizeof(number), fds, MSG_NOSIGNAL);
//   int fds[kMostDescriptors];
//   Rights rights = ReceiveWithRights(reading, &number, sizeof(number), absl::MakeSpan(fds), 0);

#ifndef MP_MP_INTERNAL_RIGHTS_H_
#define MP_MP_INTERNAL_RIGHTS_H_

#include <sys/types.h>

#include <cstddef>

#include "absl/types/span.h"

namespace mp::internal {

// As sendmsg(2), and again after a signal. What it returns, and errno.
ssize_t SendWithRights(int socket, const void* bytes, size_t size, absl::Span<const int> fds,
                       int flags);

struct Rights {
  ssize_t size;  // what recvmsg(2) has returned
  size_t count;  // of descriptors, which are the caller's to close, and close-on-exec
  bool all;      // there were no more: for which there is no room in `fds`, or in this process
};
// As recvmsg(2), and again after a signal. The first ones are in `fds`.
Rights ReceiveWithRights(int socket, void* bytes, size_t size, absl::Span<int> fds, int flags);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_RIGHTS_H_
