#include "mp/internal/forkserver_main.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/connection.h"
#include "mp/fd.h"
#include "mp/internal/child_main.h"
#include "mp/internal/child_order.h"
#include "mp/internal/children.h"
#include "mp/internal/flush.h"
#include "mp/internal/fork_request.h"
#include "mp/internal/forkserver_client.h"
#include "mp/internal/sending_end.h"
#include "mp/internal/sentinel.h"
#include "mp/internal/server_reply.h"
#include "shared/domain.h"

namespace mp::internal {
namespace {

class Server {
 public:
  Server(const Connection& requests, Sentinel self)
      : requests_(requests), self_(std::make_shared<const Sentinel>(std::move(self))) {}

  absl::Status Run();

 private:
  struct Forked {
    pid_t pid;
    ProcessId id;
    Sentinel sentinel;
    Fd reply;
  };

  void TakeRequests();
  void Fork(ForkRequest request);
  [[noreturn]] void BecomeChild(ForkRequest request);
  static void Reap(const Forked& child);

  const Connection& requests_;
  const std::shared_ptr<const Sentinel> self_;
  bool anybody_asks_ = true;
  bool no_descriptors_ = false;  // for the next request, which waits
  std::vector<Forked> children_;
};

absl::Status Server::Run() {
  const absl::StatusOr<int> door = requests_.fileno();
  if (!door.ok()) return door.status();
  while (anybody_asks_ || !children_.empty()) {
    std::vector<pollfd> ready;
    ready.reserve(children_.size() + 1);
    for (const Forked& child : children_) {
      ready.push_back({.fd = child.sentinel.fd(), .events = POLLIN, .revents = 0});
    }
    // Negative numbers are passed over.
    const bool asks = anybody_asks_ && !no_descriptors_;
    ready.push_back({.fd = asks ? *door : -1, .events = POLLIN, .revents = 0});
    // What keeps it from a descriptor may be another process, which does not tell of its end.
    constexpr int kAgain = 100;
    if (poll(ready.data(), ready.size(), no_descriptors_ ? kAgain : -1) < 0 && errno != EINTR) {
      return absl::ErrnoToStatus(errno, "forkserver: poll");
    }
    no_descriptors_ = false;
    size_t i = 0;
    std::erase_if(children_, [&](const Forked& child) {
      if (ready[i++].revents == 0) return false;
      Reap(child);
      return true;
    });
    if (anybody_asks_) TakeRequests();
  }
  return absl::OkStatus();
}

void Server::TakeRequests() {
  for (;;) {
    absl::StatusOr<ForkRequest> request = requests_.Recv<ForkRequest>(absl::ZeroDuration());
    if (request.ok()) {
      Fork(*std::move(request));
      continue;
    }
    if (absl::IsDeadlineExceeded(request.status())) return;
    if (absl::IsResourceExhausted(request.status())) {
      no_descriptors_ = true;
      return;
    }
    if (absl::IsOutOfRange(request.status())) {
      anybody_asks_ = false;
      return;
    }
    // What could not be decoded; who asked for it has been told.
  }
}

// As when a process forks itself: what was decoded is the child's by inheritance.
void Server::Fork(ForkRequest request) {
  FlushOutput();
  const pid_t pid = fork();
  if (pid == 0) BecomeChild(std::move(request));
  if (pid < 0) {
    ServerReply::SendFailure(request.reply.get(), absl::ResourceExhaustedError(absl::StrCat(
                                                      "forkserver: fork: ", std::strerror(errno))));
    return;
  }
  // The child's now, and with it a descriptor, which the sentinel may need: that of its parent.
  request.order = ChildOrder();
  absl::StatusOr<Sentinel> sentinel = Sentinel::Open(pid);
  Forked child = {.pid = pid,
                  .id = Domain::LastForked(),
                  .sentinel = sentinel.ok() ? *std::move(sentinel) : Sentinel(),
                  .reply = std::move(request.reply)};
  if (child.sentinel.fd() < 0) {
    // One that nobody could wait for.
    kill(pid, SIGKILL);
    Reap(child);
    return;
  }
  children_.push_back(std::move(child));
}

// The server has its own, the others by default.
void TakeSignals(uint64_t ignored) {
  for (int number = 1; number <= 64; ++number) {
    if ((ignored >> (number - 1) & 1) != 0) {
      signal(number, SIG_IGN);
    } else if (number == SIGINT) {
      signal(number, SIG_DFL);
    }
  }
}

void Server::BecomeChild(ForkRequest request) {
  for (Forked& sibling : children_) {
    sibling.reply.Close();
    close(sibling.sentinel.fd());
  }
  TakeSignals(request.order.ignored_signals);
  if (!Domain::HasSlot()) {
    ServerReply::SendFailure(
        request.reply.get(),
        absl::ResourceExhaustedError(
            "the table of processes is full; a larger reserve (ConfigureDomain(), "
            "MP_RESERVE) has more slots"));
    _exit(0);
  }
  absl::StatusOr<Connection> requests = SendingEnd::Join(requests_, std::move(request.requests));
  if (!requests.ok()) {
    ServerReply::SendFailure(request.reply.get(), requests.status());
    _exit(0);
  }
  requests_.Close();
  // Not a Sentinel, which could need another number: it is there to be sent, and no longer.
  Fd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!self.has_value()) {
    ServerReply::SendFailure(request.reply.get(),
                             absl::ErrnoToStatus(errno, "forkserver: pidfd_open"));
    _exit(0);
  }
  const bool told = ServerReply{.kind = ServerReply::Kind::kStarted,
                                .pid = getpid(),
                                .id = Domain::Current()->ThisProcess().identity(),
                                .sentinel = std::move(self)}
                        .SendTo(request.reply.get());
  if (!told) {
    // Or who asked is dead, and nobody knows of this one.
    ServerReply::SendFailure(
        request.reply.get(),
        absl::ResourceExhaustedError("forkserver: too many descriptors are on their way"));
    _exit(0);
  }
  request.reply.Close();
  if (!request.order.folder.empty()) {
    // As a program that is started in a folder that is gone: it is nowhere.
    [[maybe_unused]] const int result = chdir(request.order.folder.c_str());
  }
  // Where it stays: at-exit handlers may ask who this process is.
  auto& order = *new ChildOrder(std::move(request.order));
  KnownForkserver::Adopt(
      std::make_shared<ForkserverClient>(ForkserverClient{*std::move(requests), self_}));
  ChildMain(order.self, *order.target);
}

void Server::Reap(const Forked& child) {
  int status = 0;
  pid_t reaped;
  do {
    reaped = waitpid(child.pid, &status, 0);
  } while (reaped < 0 && errno == EINTR);
  const int code = reaped < 0            ? Child::kStatusTaken
                   : WIFSIGNALED(status) ? -WTERMSIG(status)
                                         : WEXITSTATUS(status);
  const bool told =
      ServerReply{
          .kind = ServerReply::Kind::kEnded, .pid = child.pid, .id = child.id, .exit_code = code}
          .SendTo(child.reply.get());
  // Who asked buries it; if that is dead, there may be nobody else who looks.
  if (!told) Child::Bury(child.id);
}

}  // namespace

absl::Status ForkserverMain(const Connection& requests, void (*preload)()) {
  signal(SIGINT, SIG_IGN);
  if (preload != nullptr) preload();
  absl::StatusOr<Sentinel> self = Sentinel::Open(getpid());
  if (!self.ok()) return self.status();
  return Server(requests, *std::move(self)).Run();
}

}  // namespace mp::internal
