#include "mp/internal/archive.h"

#include <pthread.h>

#include <cereal/cereal.hpp>
#include <optional>

namespace mp::internal {
namespace {

// The table of the versions of classes has a mutex, which the child of a fork must not find locked
// by a thread that it does not have.
using Versions = cereal::detail::StaticObject<cereal::detail::Versions>;

std::optional<Versions::LockGuard>& HeldAcrossFork() {
  static auto& held = *new std::optional<Versions::LockGuard>;  // threads may fork late
  return held;
}

[[gnu::constructor]] void RegisterForkHandlers() {
  HeldAcrossFork().reset();  // made now, not during a fork
  pthread_atfork([] { HeldAcrossFork().emplace(Versions::lock()); },
                 [] { HeldAcrossFork().reset(); }, [] { HeldAcrossFork().reset(); });
}

}  // namespace
}  // namespace mp::internal
