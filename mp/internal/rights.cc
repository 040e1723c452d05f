#include "mp/internal/rights.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/types/span.h"
#include "mp/internal/descriptor_packets.h"

namespace mp::internal {
namespace {

struct Control {
  alignas(cmsghdr) char bytes[CMSG_SPACE(kMostDescriptors * sizeof(int))];
};

msghdr MessageOf(iovec& bytes) {
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  return message;
}

}  // namespace

ssize_t SendWithRights(int socket, const void* bytes, size_t size, absl::Span<const int> fds,
                       int flags) {
  iovec all = {.iov_base = const_cast<void*>(bytes), .iov_len = size};
  msghdr message = MessageOf(all);
  Control control;
  if (!fds.empty()) {
    const size_t fds_size = fds.size() * sizeof(int);
    std::memset(control.bytes, 0, CMSG_SPACE(fds_size));
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fds_size);
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds_size);
    std::memcpy(CMSG_DATA(head), fds.data(), fds_size);
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, flags);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

Rights ReceiveWithRights(int socket, void* bytes, size_t size, absl::Span<int> fds, int flags) {
  iovec all = {.iov_base = bytes, .iov_len = size};
  msghdr message = MessageOf(all);
  Control control;
  message.msg_control = control.bytes;
  // Not CMSG_SPACE, in whose padding the kernel would put one more.
  message.msg_controllen = CMSG_LEN(fds.size() * sizeof(int));
  Rights rights = {.size = 0, .count = 0, .all = false};
  do {
    rights.size = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  } while (rights.size < 0 && errno == EINTR);
  if (rights.size < 0) return rights;
  rights.all = (message.msg_flags & MSG_CTRUNC) == 0;
  // One header: the kernel puts all into it.
  const cmsghdr* const head = CMSG_FIRSTHDR(&message);
  if (head == nullptr || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) {
    return rights;
  }
  rights.count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  std::memcpy(fds.data(), CMSG_DATA(head), rights.count * sizeof(int));
  return rights;
}

}  // namespace mp::internal
