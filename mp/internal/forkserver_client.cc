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

// Held across a fork, so that a child finds what it guards whole.
constinit std::mutex mutex;

// Under the mutex; never destroyed.
KnownForkserver::Client& Known() {
  static auto& known = *new KnownForkserver::Client;
  return known;
}

[[gnu::constructor(101)]] void RegisterForkHandlers() {
  pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); });
}

}  // namespace

KnownForkserver::Client KnownForkserver::Get() {
  const std::lock_guard lock(mutex);
  return Known();
}

absl::StatusOr<KnownForkserver::Client> KnownForkserver::GetOrStart(
    absl::FunctionRef<absl::StatusOr<Client>()> start) {
  const std::lock_guard lock(mutex);
  if (Known() == nullptr) {
    absl::StatusOr<Client> started = start();
    if (!started.ok()) return started.status();
    Known() = *std::move(started);
  }
  return Known();
}

void KnownForkserver::Adopt(Client server) {
  if (server == nullptr) return;
  const std::lock_guard lock(mutex);
  std::swap(Known(), server);  // the other one is dropped after the lock
}

void KnownForkserver::Forget(const Client& server) {
  {
    const std::lock_guard lock(mutex);
    if (Known() == server) Known() = nullptr;
  }
  if (server->child == nullptr) return;
  // So that it is reaped: it may not have come to its end yet.
  server->child->Signal(SIGKILL);
  server->child->JoinToTheEnd();
}

}  // namespace mp::internal
