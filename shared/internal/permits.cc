#include "shared/internal/permits.h"

#include <cstdint>
#include <optional>

#include "shared/internal/futex.h"
#include "shared/internal/object_type.h"

namespace mp::internal {
namespace {

// One more: sleepers are woken by who adds it, which they say anew if there are more of them.
void WakeSleepers(PermitsHeader& object, uint64_t seen, uint64_t count) {
  if ((seen & PermitsHeader::kSleepers) == 0) return;
  FutexWake(object.word(), static_cast<int>(count));
}

// What is left after one is taken.
uint64_t AfterAcquire(uint64_t seen, bool slept) {
  return (seen - 1) | (slept ? PermitsHeader::kSleepers : 0);
}

// Of several that were woken, or of one that was woken for several permits: the next one is.
void PassOn(PermitsHeader& object, uint64_t left, bool slept) {
  if (slept && (left & PermitsHeader::kValue) != 0) FutexWake(object.word(), 1);
}

}  // namespace

bool PermitsHeader::TryAcquire(bool slept) {
  uint64_t seen = permits().load(std::memory_order_relaxed);
  uint64_t left;
  do {
    if ((seen & kValue) == 0) return false;
    left = AfterAcquire(seen, slept);
    // Before: one more is left.
    // After:  it is taken, by nobody who is known.
    // Test:   SemaphoreCrashTest.AcquireAndRelease
  } while (!permits().compare_exchange_weak(seen, left, std::memory_order_acq_rel,
                                            std::memory_order_relaxed));
  PassOn(*this, left, slept);
  return true;
}

bool PermitsHeader::TryRelease(uint64_t released) {
  const uint64_t limit = most();
  uint64_t seen = permits().load(std::memory_order_relaxed);
  do {
    if ((seen & kValue) + released > limit) return false;
    // Before: they are taken.
    // After:  they are left; the burial of who dies before it has woken the sleepers does so.
    // Test:   SemaphoreCrashTest.WhoSleepsIsWokenWhoeverDies
  } while (!permits().compare_exchange_weak(seen, (seen & ~kSleepers) + released,
                                            std::memory_order_acq_rel, std::memory_order_relaxed));
  WakeSleepers(*this, seen, released);
  return true;
}

uint64_t PermitsHeader::most() const {
  return type() == ObjectType::kBoundedSemaphore ? initial.load(std::memory_order_relaxed)
                                                 : uint64_t{kMostValue};
}

bool PermitsHeader::TryAcquire(HoldTable& holds, Hold& hold, bool slept) {
  uint64_t left = 0;
  auto take = [&](uint64_t seen) -> std::optional<uint64_t> {
    if ((seen & kValue) == 0) return std::nullopt;
    return left = AfterAcquire(seen, slept);
  };
  if (!holds.Change(*this, hold, HoldTable::kTaking, permits().load(std::memory_order_relaxed),
                    take)) {
    return false;
  }
  hold.End(/*held=*/true);
  PassOn(*this, left, slept);
  return true;
}

bool PermitsHeader::Release(HoldTable& holds, Hold& hold) {
  const uint64_t limit = most();
  uint64_t before = 0;
  uint64_t added = 0;
  auto give = [&](uint64_t seen) -> std::optional<uint64_t> {
    before = seen;
    added = (seen & kValue) < limit ? 1 : 0;
    return (seen & ~kSleepers) + added;
  };
  // It has the permit until that is back; the burial of who dies before it has woken a sleeper
  // does so.
  static_cast<void>(holds.Change(*this, hold, HoldTable::kGiving,
                                 permits().load(std::memory_order_relaxed), give));
  hold.End(/*held=*/false);
  WakeSleepers(*this, before, 1);
  return added != 0;
}

}  // namespace mp::internal
