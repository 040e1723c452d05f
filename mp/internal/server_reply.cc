#include "mp/internal/server_reply.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "mp/fd.h"
#include "mp/internal/rights.h"

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

// Nothing: there is none yet.
std::optional<ServerReply> Receive(int socket, int flags) {
  Packet packet = {};
  int fd = -1;
  const Rights rights = ReceiveWithRights(socket, &packet, sizeof(packet), {&fd, 1}, flags);
  if (rights.size < 0 && errno == EAGAIN) return std::nullopt;
  ServerReply reply;
  if (rights.count == 1) reply.sentinel = Fd(fd);
  if (rights.size != static_cast<ssize_t>(sizeof(packet))) return reply;
  reply.kind = packet.kind;
  reply.pid = packet.pid;
  reply.id = packet.id;
  reply.exit_code = packet.exit_code;
  reply.code = static_cast<absl::StatusCode>(packet.code);
  reply.text.assign(packet.text, std::min<size_t>(packet.text_size, sizeof(packet.text)));
  return reply;
}

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
  const int fd = sentinel.get();
  const auto fds = absl::MakeConstSpan(&fd, sentinel.has_value() ? 1 : 0);
  const ssize_t sent = SendWithRights(socket, &packet, sizeof(packet), fds, MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(sizeof(packet));
}

void ServerReply::SendFailure(int socket, const absl::Status& why) {
  const ServerReply reply = {
      .kind = Kind::kFailed, .code = why.code(), .text = std::string(why.message())};
  // Who is not there to be told does not ask.
  static_cast<void>(reply.SendTo(socket));
}

ServerReply ServerReply::ReceiveFrom(int socket) { return *Receive(socket, 0); }

std::optional<int> TryReceiveExitCode(int socket, int never) {
  for (;;) {
    const std::optional<ServerReply> reply = Receive(socket, MSG_DONTWAIT);
    if (!reply.has_value()) return std::nullopt;
    if (reply->kind == ServerReply::Kind::kEnded) return reply->exit_code;
    if (reply->kind == ServerReply::Kind::kNone) return never;
  }
}

}  // namespace mp::internal
