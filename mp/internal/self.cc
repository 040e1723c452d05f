#include "mp/internal/self.h"

#include "absl/strings/str_cat.h"
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
  if (Domain* domain = Domain::Current(); domain != nullptr) {
    domain->TellName(self.name, self.daemon);
  }
  places_given.store(0, std::memory_order_relaxed);
}

}  // namespace mp::internal
