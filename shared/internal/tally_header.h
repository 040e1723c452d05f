// TallyHeader: a count (holds.h) that is a number: of permits that are left, of those who are still
// to come.
//
// Layout: CountedHeader (its initial value is what the number began with), of its count
//   first   value (bits 0-30); sleepers (31): somebody may sleep on the low half

#ifndef MP_SHARED_INTERNAL_TALLY_HEADER_H_
#define MP_SHARED_INTERNAL_TALLY_HEADER_H_

#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/holds.h"

namespace mp::internal {

struct TallyHeader : CountedHeader {
  static constexpr uint64_t kValue = 0x7fffffff;
  static constexpr uint64_t kSleepers = 0x80000000;

  // By the maker.
  void Init(uint64_t value) { InitCount(value, value); }
  FutexWord& word() { return LowHalf(count.first()); }
  uint64_t value() const { return count.first().load(std::memory_order_acquire) & kValue; }
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_TALLY_HEADER_H_
