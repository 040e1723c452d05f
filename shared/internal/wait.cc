#include "shared/internal/wait.h"

#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/waiter.h"

namespace mp::internal {

WaitResult Wait(const FutexWord& word, uint32_t value, const WaitOptions& options) {
  Domain& domain = *Domain::Current();
  Waiter waiter(word, value, options, domain.lanes(), domain.sentry_post());
  if (const Waiter::Result seen = waiter.LookAndSpin(); seen.has_value()) return *seen;
  return Domain::HasSlot() ? waiter.Sleep(domain.ThisUndertaker()) : waiter.SleepWithoutSlot();
}

uint32_t Deaths() { return Domain::Current()->lanes().deaths().load(std::memory_order_acquire); }

uint64_t CountSleepersOn(const FutexWord& word) { return Domain::Current()->lanes().CountOn(word); }

Lane* LaneForNotes() {
  Domain* domain = Domain::Current();
  if (domain == nullptr || !Domain::HasSlot()) return nullptr;
  return domain->lanes().OfThisThread(domain->ThisProcess().identity());
}

}  // namespace mp::internal
