// Permits: a count of how many may do something at once. A permit is taken without a hold
// (holds.h), and then is nobody's; or with one, and then comes back when its process dies.
//
//   if (object.TryAcquire(/*slept=*/false)) ...                     // nobody's
//   if (object.TryAcquire(table, *hold, /*slept=*/false)) ...       // the hold's
//   object.Release(table, *hold);
//
// Layout: TallyHeader, whose value is how many are left.

#ifndef MP_SHARED_INTERNAL_PERMITS_H_
#define MP_SHARED_INTERNAL_PERMITS_H_

#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/holds.h"
#include "shared/internal/tally_header.h"

namespace mp::internal {

struct PermitsHeader : TallyHeader {
  static constexpr int kMostValue = 0x7fffffff;

  Word& permits() { return count.first(); }

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
