#include "mp/internal/self.h"

#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/sentinel.h"
#include "mp/start_method.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"

namespace mp::internal {
namespace {

constinit Self* self_of_child = nullptr;  // null: this is the main process
constinit Atomic<int> places_given = 0;

}  // namespace

const Self& GetSelf() {
  if (self_of_child != nullptr) return *self_of_child;
  // Never destroyed: at-exit handlers may still ask.
  static const Self& main = *new Self;
  return main;
}

absl::StatusOr<Who> WhoIsThis() {
  absl::StatusOr<Sentinel> sentinel = Sentinel::Open(getpid());
  if (!sentinel.ok()) return sentinel.status();
  const Self& self = GetSelf();
  return Who{.pid = getpid(),
             .name = self.name,
             .daemon = self.daemon,
             .sentinel = std::make_shared<const Sentinel>(*std::move(sentinel))};
}

Place NextPlace() {
  // Relaxed: a number and nothing else.
  const int number = places_given.fetch_add(1, std::memory_order_relaxed) + 1;
  const Place& mine = GetSelf().place;
  return mine.empty() ? absl::StrCat(number) : absl::StrCat(mine, ":", number);
}

void BecomeInChild(Self& self) {
  // Our parent's sentinel of its own parent.
  if (self_of_child != nullptr) self_of_child->parent.reset();
  self_of_child = &self;
  SetStartMethod(self.start_method);
  if (Domain* domain = Domain::Current(); domain != nullptr) {
    domain->TellName(self.name, self.daemon);
  }
  places_given.store(0, std::memory_order_relaxed);
}

}  // namespace mp::internal
