#include "shared/internal/wait.h"

#include <time.h>

#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/sentry.h"
#include "shared/internal/waiter.h"

namespace mp::internal {

WaitResult Wait(const FutexWord& word, uint32_t value, const WaitOptions& options) {
  Domain& domain = *Domain::Current();
  Waiter waiter(word, value, options, domain.lanes(), domain.sentry_post());
  if (const Waiter::Result seen = waiter.LookAndSpin(); seen.has_value()) return *seen;
  const WaitResult result =
      Domain::HasSlot() ? waiter.Sleep(domain.ThisUndertaker()) : waiter.SleepWithoutSlot();
  if (result == WaitResult::kTimedOut) LookForTheDead();
  return result;
}

void LookForTheDead() {
  Domain& domain = *Domain::Current();
  if (Domain::HasSlot()) Sentry(domain.ThisUndertaker(), domain.sentry_post()).Look();
}

bool LookForTheDeadRarely() {
  constexpr int64_t kPause = 10;  // milliseconds
  static constinit thread_local int64_t next = 0;
  static constinit thread_local uint32_t generation = 0;
  if (generation != ForkGeneration()) {
    generation = ForkGeneration();  // that was its parent's
    next = 0;
  }
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  const int64_t milliseconds = int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
  if (milliseconds < next) return false;
  next = milliseconds + kPause;
  LookForTheDead();
  return true;
}

uint32_t Deaths() { return Domain::Current()->lanes().deaths().load(std::memory_order_acquire); }

uint64_t CountSleepersOn(const FutexWord& word) { return Domain::Current()->lanes().CountOn(word); }

Lane* LaneForNotes() {
  Domain* domain = Domain::Current();
  if (domain == nullptr || !Domain::HasSlot()) return nullptr;
  return domain->lanes().OfThisThread(domain->ThisProcess().identity());
}

}  // namespace mp::internal
