#include "mp/internal/forkserver_main.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
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
#include "mp/internal/descriptor.h"
#include "mp/internal/descriptor_set.h"
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
  // `door`: readable where there is one of them.
  Server(const Connection& requests, int door, Sentinel self)
      : requests_(requests), door_(door), self_(std::make_shared<const Sentinel>(std::move(self))) {
    OpenSpare();
  }

  absl::Status Run();

 private:
  struct Forked {
    pid_t pid;
    ProcessId id;
    Sentinel sentinel;
    Fd reply;
  };

  void RaiseLimit();
  void LowerLimitInChild() const;
  void OpenSpare();
  void CloseSpare();

  absl::StatusOr<bool> ReapEnded(int door, int timeout);
  void TakeRequests();
  bool Refuse();
  void Fork(ForkRequest request);
  [[noreturn]] void BecomeChild(ForkRequest request);
  static void Reap(const Forked& child);

  const Connection& requests_;
  const int door_;
  const std::shared_ptr<const Sentinel> self_;
  rlim_t soft_limit_ = RLIM_INFINITY;  // of descriptors, as a child is to have it
  Descriptor spare_;                   // for the reply of a request that is refused
  bool anybody_asks_ = true;
  bool no_descriptors_ = false;  // not even for that: the next request waits
  std::vector<Forked> children_;
  DescriptorSet own_;  // the children's, and the spare one: no child is to have them
};

// Descriptors ----------------------------------------------------------------------------------

// Each child needs two, as long as it lives.
void Server::RaiseLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  soft_limit_ = std::exchange(limit.rlim_cur, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Not where a fork handler has made it less.
void Server::LowerLimitInChild() const {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= soft_limit_) return;
  limit.rlim_cur = soft_limit_;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void Server::OpenSpare() {
  absl::StatusOr<Descriptor> spare =
      Descriptor::Own(open("/dev/null", O_RDONLY | O_CLOEXEC), "open /dev/null");
  if (!spare.ok()) return;
  spare_ = *std::move(spare);
  own_.Add(spare_.fd());
}

void Server::CloseSpare() {
  if (spare_.fd() < 0) return;
  own_.Remove(spare_.fd());
  spare_ = Descriptor();
}

// What it does ---------------------------------------------------------------------------------

absl::Status Server::Run() {
  RaiseLimit();
  while (anybody_asks_ || !children_.empty()) {
    const bool asks = anybody_asks_ && !no_descriptors_;
    // What keeps it from a descriptor may be another process, which does not tell of its end.
    constexpr int kAgain = 100;
    const absl::StatusOr<bool> reaped = ReapEnded(asks ? door_ : -1, no_descriptors_ ? kAgain : -1);
    if (!reaped.ok()) return reaped.status();
    no_descriptors_ = false;
    if (anybody_asks_) TakeRequests();
  }
  return absl::OkStatus();
}

// Waits for one that ends, or for `door`, if it is one. Whether any had ended.
absl::StatusOr<bool> Server::ReapEnded(int door, int timeout) {
  std::vector<pollfd> ready;
  ready.reserve(children_.size() + 1);
  for (const Forked& child : children_) {
    ready.push_back({.fd = child.sentinel.fd(), .events = POLLIN, .revents = 0});
  }
  // Negative numbers are passed over.
  ready.push_back({.fd = door, .events = POLLIN, .revents = 0});
  if (poll(ready.data(), ready.size(), timeout) < 0 && errno != EINTR) {
    return absl::ErrnoToStatus(errno, "forkserver: poll");
  }
  size_t i = 0;
  const size_t reaped = std::erase_if(children_, [&](const Forked& child) {
    if (ready[i++].revents == 0) return false;
    Reap(child);
    own_.Remove(child.sentinel.fd());
    own_.Remove(child.reply.get());
    return true;
  });
  return reaped > 0;
}

void Server::TakeRequests() {
  // Before it looks again who has ended: how, somebody may be waiting to be told.
  constexpr int kMostAtOnce = 8;
  for (int i = 0; i < kMostAtOnce; ++i) {
    absl::StatusOr<ForkRequest> request = requests_.Recv<ForkRequest>(absl::ZeroDuration());
    if (request.ok()) {
      Fork(*std::move(request));
      continue;
    }
    if (absl::IsDeadlineExceeded(request.status())) return;
    if (absl::IsResourceExhausted(request.status())) {
      // Perhaps until one is reaped that has ended.
      const absl::StatusOr<bool> reaped = ReapEnded(-1, 0);
      if ((reaped.ok() && *reaped) || Refuse()) continue;
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

// The next request, for whose descriptors there is no room. False: nor is there for its reply.
bool Server::Refuse() {
  CloseSpare();
  absl::StatusOr<Descriptor> reply = SendingEnd::TakeFirstDescriptor(requests_);
  if (reply.ok()) {
    ServerReply::SendFailure(
        reply->fd(),
        absl::ResourceExhaustedError(absl::StrCat(
            "forkserver: with ", children_.size(),
            " children it has no descriptors left for what another one needs: see RLIMIT_NOFILE")));
    *reply = Descriptor();  // makes room
  }
  OpenSpare();
  return reply.ok();
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
  own_.Add(child.sentinel.fd());
  own_.Add(child.reply.get());
  children_.push_back(std::move(child));
}

// The server has its own, the others by default.
void TakeSignals(uint64_t ignored) {
  for (int number = 1; number <= 64; ++number) {
    if ((ignored >> (number - 1) & 1) != 0) {
      signal(number, SIG_IGN);
    } else if ((kIgnoredByServer >> (number - 1) & 1) != 0) {
      signal(number, SIG_DFL);
    }
  }
}

void Server::BecomeChild(ForkRequest request) {
  own_.CloseAll();
  LowerLimitInChild();
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
  // Here, and not only by who asked: that one may be dead; and what the child's order referred to
  // last is in this process's limbo, from where nobody else takes it. Before it is told: who has
  // joined the child finds nothing of it.
  Child::Bury(child.id);
  // False: who asked is dead, or no longer interested.
  static_cast<void>(ServerReply{
      .kind = ServerReply::Kind::kEnded, .pid = child.pid, .id = child.id, .exit_code = code}
                        .SendTo(child.reply.get()));
}

}  // namespace

absl::Status ForkserverMain(const Connection& requests, void (*preload)()) {
  absl::StatusOr<Sentinel> self = Sentinel::Open(getpid());
  if (!self.ok()) return self.status();
  const absl::StatusOr<int> door = requests.fileno();
  if (!door.ok()) return door.status();
  // Has its descriptors whatever the preload leaves.
  Server server(requests, *door, *std::move(self));
  if (preload != nullptr) preload();
  return server.Run();
}

}  // namespace mp::internal
