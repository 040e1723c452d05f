#include "mp/internal/descriptor_packets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "mp/internal/rights.h"

namespace mp::internal {
namespace {

// The number of the first packet. False: there is none.
bool NextNumber(int socket, uint64_t& number) {
  ssize_t size;
  do {
    size = recv(socket, &number, sizeof(number), MSG_PEEK | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  return size == sizeof(number);
}

// Without room for its descriptors, which so are closed.
void DropNext(int socket) {
  uint64_t number;
  while (recv(socket, &number, sizeof(number), MSG_DONTWAIT) < 0 && errno == EINTR) {
  }
}

}  // namespace

bool DescriptorList::Add(int fd) {
  if (fd <= STDERR_FILENO) {
    const int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    if (moved < 0) return false;
    fd = moved;
  }
  fds_.push_back(fd);
  return true;
}

void DescriptorList::Clear() {
  for (const int fd : fds_) {
    if (fd >= 0) close(fd);
  }
  fds_.clear();
}

DescriptorsSent SendDescriptors(int socket, uint64_t number, absl::Span<const int> fds) {
  const ssize_t sent =
      SendWithRights(socket, &number, sizeof(number), fds, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) return DescriptorsSent::kSent;
  switch (errno) {
    case EAGAIN:
      return DescriptorsSent::kFull;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
      return DescriptorsSent::kOver;
    case ETOOMANYREFS:
      return DescriptorsSent::kTooMany;
    case EBADF:
      return DescriptorsSent::kNoDescriptor;
    default:
      return DescriptorsSent::kNoMemory;
  }
}

DescriptorsPeeked PeekDescriptors(int socket, uint64_t number, DescriptorList& list) {
  list.Clear();
  uint64_t next;
  for (;;) {
    if (!NextNumber(socket, next) || next > number) return DescriptorsPeeked::kMissing;
    if (next == number) break;
    DropNext(socket);
  }
  int fds[kMostDescriptors];
  const Rights rights =
      ReceiveWithRights(socket, &next, sizeof(next), absl::MakeSpan(fds), MSG_PEEK | MSG_DONTWAIT);
  if (rights.size != sizeof(next)) return DescriptorsPeeked::kMissing;
  bool all = rights.all;
  for (const int fd : absl::MakeConstSpan(fds, rights.count)) {
    if (!list.Add(fd)) all = false;
  }
  if (all) return DescriptorsPeeked::kThere;
  list.Clear();
  return DescriptorsPeeked::kNoRoom;
}

void DropDescriptors(int socket, uint64_t number) {
  uint64_t next;
  while (NextNumber(socket, next) && next <= number) DropNext(socket);
}

}  // namespace mp::internal
