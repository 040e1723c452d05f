#include "mp/internal/descriptor_packets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"

namespace mp::internal {
namespace {

struct Control {
  alignas(cmsghdr) char bytes[CMSG_SPACE(kMostDescriptors * sizeof(int))];
};

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
  Control control = {};
  iovec bytes = {.iov_base = &number, .iov_len = sizeof(number)};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
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
  Control control = {};
  iovec bytes = {.iov_base = &next, .iov_len = sizeof(next)};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  ssize_t size;
  do {
    size = recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size != sizeof(next)) return DescriptorsPeeked::kMissing;
  bool all = (message.msg_flags & MSG_CTRUNC) == 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      if (!list.Add(fd)) all = false;
    }
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
