// Permits: a count of how many may do something at once. A permit is taken without a hold
// (holds.h), and then is nobody's; or with one, and then comes back when its process dies.
//
//   if (object.TryAcquire(/*slept=*/false)) ...                     // nobody's
//   if (object.TryAcquire(table, *hold, /*slept=*/false)) ...       // the hold's
//   object.Release(table, *hold);
//
// Layout: CountedHeader (its initial value is how many permits there were), of its count
//   first   value (bits 0-30): how many are left; sleepers (31): somebody may sleep on the low half

#ifndef MP_SHARED_INTERNAL_PERMITS_H_
#define MP_SHARED_INTERNAL_PERMITS_H_

#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/holds.h"

namespace mp::internal {

struct PermitsHeader : CountedHeader {
  static constexpr uint64_t kValue = 0x7fffffff;
  static constexpr uint64_t kSleepers = 0x80000000;
  static constexpr int kMostValue = 0x7fffffff;

  // By the maker.
  void Init(uint64_t value) { InitCount(value, value); }
  Word& permits() { return count.first(); }
  FutexWord& word() { return LowHalf(count.first()); }
  uint64_t value() const { return count.first().load(std::memory_order_acquire) & kValue; }

  // `slept`: others may sleep still.
  [[nodiscard]] bool TryAcquire(bool slept);
  // False: there would be more than most(). Who sleeps is woken.
  [[nodiscard]] bool TryRelease(uint64_t released);

  // With a hold. False: there is none left.
  [[nodiscard]] bool TryAcquire(HoldTable& holds, Hold& hold, bool slept);
  // Who sleeps is woken. False: there were as many as there can be, and are no more.
  bool Release(HoldTable& holds, Hold& hold);

  // How many there can be left.
  uint64_t most() const;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_PERMITS_H_
