// ServerReply: what the one who asks the fork server for a child is told, through a socket of its
// own that went with the request.
//
//   kStarted   by the child itself, with its pidfd, before it does anything else
//   kFailed    by the server: there is none, and why; or by the child, which ends at once
//   kEnded     by the server, which has reaped it; last
//   the end    the server is dead. If nothing came before it there is no child

#ifndef MP_MP_INTERNAL_SERVER_REPLY_H_
#define MP_MP_INTERNAL_SERVER_REPLY_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "mp/fd.h"

namespace mp::internal {

struct ServerReply {
  enum class Kind : int32_t { kStarted, kFailed, kEnded, kNone };

  Kind kind = Kind::kNone;
  pid_t pid = 0;
  uint64_t id = 0;             // of the child's slot
  int exit_code = 0;           // kEnded
  absl::StatusCode code = {};  // kFailed
  std::string text = {};       // kFailed, for its status
  Fd sentinel = {};            // kStarted

  // Whether it was sent: not where nobody is left to be told.
  [[nodiscard]] bool SendTo(int socket) const;
  static void SendFailure(int socket, const absl::Status& why);
  // Waits for one. kNone: the end.
  static ServerReply ReceiveFrom(int socket);
};

// Without waiting. Nothing: not yet; `never`: nobody will tell.
std::optional<int> TryReceiveExitCode(int socket, int never);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_SERVER_REPLY_H_
