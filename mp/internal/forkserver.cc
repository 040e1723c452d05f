#include "mp/internal/forkserver.h"

#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/fd.h"
#include "mp/forkserver.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/fork_request.h"
#include "mp/internal/forkserver_client.h"
#include "mp/internal/forkserver_main.h"
#include "mp/internal/self.h"
#include "mp/internal/sentinel.h"
#include "mp/internal/server_reply.h"
#include "mp/internal/spawn.h"
#include "mp/internal/surroundings.h"
#include "mp/internal/target.h"
#include "mp/pipe.h"
#include "shared/internal/atomic.h"

namespace mp {
namespace internal {
namespace {

using Client = KnownForkserver::Client;

constinit Atomic<void (*)()> preload_function = nullptr;

absl::StatusOr<Client> Start() {
  absl::StatusOr<Who> parent = WhoIsThis();
  if (!parent.ok()) return parent.status();
  absl::StatusOr<std::pair<Connection, Connection>> pipe =
      CreatePipe({.duplex = false, .name = "forkserver"});
  if (!pipe.ok()) return pipe.status();
  ChildOrder order;
  // Nobody waits for it: it ends by itself.
  order.self = {.name = "forkserver",
                .start_method = StartMethod::kForkserver,
                .on_parent_exit = OnParentExit::kDetach,
                .parent = *std::move(parent)};
  order.ignored_signals = kIgnoredByServer;  // from its first instruction on
  order.target =
      StoreTarget(&ForkserverMain, pipe->first, preload_function.load(std::memory_order_relaxed));
  absl::StatusOr<std::shared_ptr<Child>> child = Spawn(order);
  pipe->first.Close();
  if (!child.ok()) return child.status();
  auto sentinel = std::shared_ptr<const Sentinel>(*child, &(*child)->sentinel());
  return std::make_shared<ForkserverClient>(
      ForkserverClient{std::move(pipe->second), std::move(sentinel), *std::move(child)});
}

// What became of a request that was sent, and whose answer is `reply`. Nothing: the server was
// killed before there was a child.
std::optional<absl::StatusOr<std::shared_ptr<Child>>> ChildOf(ServerReply reply, const Self& self,
                                                              Descriptor socket) {
  switch (reply.kind) {
    case ServerReply::Kind::kStarted: {
      absl::StatusOr<Sentinel> sentinel =
          reply.sentinel.has_value()
              ? Sentinel::Take(reply.sentinel.release())
              : absl::ResourceExhaustedError("no descriptor is left for the child's sentinel");
      if (!sentinel.ok()) {
        // One that nobody could wait for. The server, whose child it is, tells when it has ended;
        // until then its number is its own.
        kill(reply.pid, SIGKILL);
        static_cast<void>(ServerReply::ReceiveFrom(socket.fd()));
        Child::Bury(reply.id);
        return sentinel.status();
      }
      return std::make_shared<Child>(reply.pid, reply.id, Child::TraitsOf(self),
                                     *std::move(sentinel), std::move(socket));
    }
    case ServerReply::Kind::kEnded: {
      // Killed before it could tell of itself.
      Child::Bury(reply.id);
      absl::StatusOr<Sentinel> sentinel = Sentinel::OfTheDead();
      if (!sentinel.ok()) return sentinel.status();
      return std::make_shared<Child>(reply.pid, reply.id, Child::TraitsOf(self),
                                     *std::move(sentinel), reply.exit_code);
    }
    case ServerReply::Kind::kFailed: {
      // If the child itself has said so, it is still about to end.
      const ServerReply end = ServerReply::ReceiveFrom(socket.fd());
      if (end.kind == ServerReply::Kind::kEnded) Child::Bury(end.id);
      return absl::Status(reply.code, reply.text);
    }
    case ServerReply::Kind::kNone:
      break;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Child>> ForkByServer(ChildOrder order) {
  // One that is killed again and again has a reason that another one has, too.
  constexpr int kTries = 3;
  ForkRequest request;
  request.order = std::move(order);
  request.order.open_output = OpenOutput::Now();
  for (int i = 0; i < kTries; ++i) {
    const absl::StatusOr<Client> server = KnownForkserver::GetOrStart(&Start);
    if (!server.ok()) return server.status();
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
      return absl::ErrnoToStatus(errno, "socketpair");
    }
    request.reply = Fd(fds[1]);
    absl::StatusOr<Descriptor> socket = Descriptor::Own(fds[0], "socketpair");
    if (!socket.ok()) return socket.status();
    request.server = *server;
    const absl::Status sent = (*server)->requests.Send(request);
    // Only the server's, and the child's, are left.
    request.reply.Close();
    if (!sent.ok() && !absl::IsUnavailable(sent)) return sent;
    if (sent.ok()) {
      ServerReply answer = ServerReply::ReceiveFrom(socket->fd());
      auto child = ChildOf(std::move(answer), request.order.self, *std::move(socket));
      if (child.has_value()) return *std::move(child);
    }
    KnownForkserver::Forget(*server);
  }
  return absl::UnavailableError("the fork server was killed at each of three starts");
}

}  // namespace internal

void SetForkserverPreload(void (*preload)()) {
  internal::preload_function.store(preload, std::memory_order_relaxed);
}

}  // namespace mp
