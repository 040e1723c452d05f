#include "mp/internal/server_reply.h"

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace mp::internal {
namespace {

struct Packet {
  ServerReply::Kind kind;
  pid_t pid;
  uint64_t id;
  int32_t exit_code;
  int32_t code;
  uint32_t text_size;
  char text[500];
};

// Of one descriptor.
struct Control {
  alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

bool ServerReply::SendTo(int socket) const {
  Packet packet = {.kind = kind,
                   .pid = pid,
                   .id = id,
                   .exit_code = exit_code,
                   .code = static_cast<int32_t>(code),
                   .text_size = static_cast<uint32_t>(std::min(text.size(), sizeof(Packet::text))),
                   .text = {}};
  std::memcpy(packet.text, text.data(), packet.text_size);
  iovec bytes = {.iov_base = &packet, .iov_len = sizeof(packet)};
  Control control = {};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (sentinel.has_value()) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof(control.bytes);
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = sentinel.get();
    std::memcpy(CMSG_DATA(head), &fd, sizeof(fd));
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof(packet));
}

void ServerReply::SendFailure(int socket, const absl::Status& why) {
  const ServerReply reply = {
      .kind = Kind::kFailed, .code = why.code(), .text = std::string(why.message())};
  // Who is not there to be told does not ask.
  static_cast<void>(reply.SendTo(socket));
}

ServerReply ServerReply::ReceiveFrom(int socket) {
  Packet packet = {};
  iovec bytes = {.iov_base = &packet, .iov_len = sizeof(packet)};
  Control control = {};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  ssize_t received;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  ServerReply reply;
  if (received != static_cast<ssize_t>(sizeof(packet))) return reply;
  reply.kind = packet.kind;
  reply.pid = packet.pid;
  reply.id = packet.id;
  reply.exit_code = packet.exit_code;
  reply.code = static_cast<absl::StatusCode>(packet.code);
  reply.text.assign(packet.text, std::min<size_t>(packet.text_size, sizeof(packet.text)));
  const cmsghdr* const head = CMSG_FIRSTHDR(&message);
  if (head != nullptr && head->cmsg_type == SCM_RIGHTS) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(head), sizeof(fd));
    reply.sentinel = Fd(fd);
  }
  return reply;
}

std::optional<int> ReceiveExitCode(int socket) {
  for (;;) {
    const ServerReply reply = ServerReply::ReceiveFrom(socket);
    if (reply.kind == ServerReply::Kind::kEnded) return reply.exit_code;
    if (reply.kind == ServerReply::Kind::kNone) return std::nullopt;
  }
}

}  // namespace mp::internal
