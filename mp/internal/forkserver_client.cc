#include "mp/internal/forkserver_client.h"

#include <pthread.h>
#include <signal.h>

#include <mutex>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mp::internal {
namespace {

// Held across a fork, so that a child finds what it guards whole. While a server is started with it
// held, others are taken that forks hold, too: so a fork takes it first, which it does if it was
// registered last, by whoever first wants it.
std::mutex& Mutex() {
  static constinit std::mutex mutex;
  [[maybe_unused]] static const bool once =
      pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); }) == 0;
  return mutex;
}

// Under the mutex; never destroyed.
KnownForkserver::Client& Known() {
  static auto& known = *new KnownForkserver::Client;
  return known;
}

}  // namespace

KnownForkserver::Client KnownForkserver::Get() {
  const std::lock_guard lock(Mutex());
  return Known();
}

absl::StatusOr<KnownForkserver::Client> KnownForkserver::GetOrStart(
    absl::FunctionRef<absl::StatusOr<Client>()> start) {
  const std::lock_guard lock(Mutex());
  if (Known() == nullptr) {
    absl::StatusOr<Client> started = start();
    if (!started.ok()) return started.status();
    Known() = *std::move(started);
  }
  return Known();
}

void KnownForkserver::Adopt(Client server) {
  if (server == nullptr) return;
  const std::lock_guard lock(Mutex());
  std::swap(Known(), server);  // the other one is dropped after the lock
}

void KnownForkserver::Forget(const Client& server) {
  {
    const std::lock_guard lock(Mutex());
    if (Known() == server) Known() = nullptr;
  }
  if (server->child == nullptr) return;
  // So that it is reaped: it may not have come to its end yet.
  server->child->Signal(SIGKILL);
  server->child->JoinToTheEnd();
}

}  // namespace mp::internal
