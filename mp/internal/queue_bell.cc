#include "mp/internal/queue_bell.h"

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/internal/doorbell.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/owner.h"

namespace mp::internal {
namespace {

constexpr uint64_t kFirst = 6;

BellList* ListOf(const QueueState& state) {
  return reinterpret_cast<BellList*>(state.bells.load(std::memory_order_relaxed));
}

uint64_t CountOf(const BellList* list) {
  return list == nullptr ? 0 : list->count.load(std::memory_order_relaxed);
}

}  // namespace

bool QueueBell::Ring(QueueState& state, QueueEvent) const {
  BellList* const list = ListOf(state);
  if (CountOf(list) == 0) return true;
  if (!Doorbell::Ring(absl::MakeConstSpan(list->numbers, CountOf(list)))) return false;
  // Before: they ring again.
  // After:  who waits still arms it anew.
  // Test:   QueueWaitCrashTest.WhoWaitsByDescriptorIsCalled
  list->count.store(0, std::memory_order_relaxed);
  return true;
}

bool QueueBell::Add(QueueState& state, uint64_t number) {
  BellList* list = ListOf(state);
  const uint64_t count = CountOf(list);
  for (uint64_t i = 0; i < count; ++i) {
    if (list->numbers[i].load(std::memory_order_relaxed) == number) return true;
  }
  if (list == nullptr || count == list->capacity) {
    const uint64_t capacity = list == nullptr ? kFirst : 2 * list->capacity;
    const absl::StatusOr<void*> block = Domain::Current()->Allocate(
        sizeof(BellList) + capacity * sizeof(Word), alignof(BellList), Owner::Object(&state));
    if (!block.ok()) return false;
    auto* const next = static_cast<BellList*>(*block);
    next->capacity = capacity;
    for (uint64_t i = 0; i < count; ++i) {
      next->numbers[i].store(list->numbers[i].load(std::memory_order_relaxed),
                             std::memory_order_relaxed);
    }
    next->count.store(count, std::memory_order_relaxed);
    // Before, after: one of the two is a stray block (Q3).
    state.bells.store(reinterpret_cast<uint64_t>(next), std::memory_order_release);
    if (list != nullptr) Domain::Current()->Free(list);
    list = next;
  }
  list->numbers[count].store(number, std::memory_order_relaxed);
  list->count.store(count + 1, std::memory_order_release);
  return true;
}

void QueueBell::Remove(QueueState& state, uint64_t number) {
  BellList* const list = ListOf(state);
  const uint64_t count = CountOf(list);
  for (uint64_t i = 0; i < count; ++i) {
    if (list->numbers[i].load(std::memory_order_relaxed) != number) continue;
    // Before the next line is done, one rings twice.
    list->numbers[i].store(list->numbers[count - 1].load(std::memory_order_relaxed),
                           std::memory_order_relaxed);
    list->count.store(count - 1, std::memory_order_release);
    return;
  }
}

}  // namespace mp::internal
