// tests/support/no_look_is_due.h
//
// NoLookIsDue: while it lives, all processes of the family have been looked at lately (sentry.h),
// so that what a victim does whose time is over does not depend on the clock.

#ifndef MP_TESTS_SUPPORT_NO_LOOK_IS_DUE_H_
#define MP_TESTS_SUPPORT_NO_LOOK_IS_DUE_H_

#include <time.h>

#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/sentry_post.h"

namespace mp::testing {

class NoLookIsDue {
 public:
  NoLookIsDue() { LookedAt(Now() + kDay); }
  ~NoLookIsDue() { LookedAt(Now()); }
  NoLookIsDue(const NoLookIsDue&) = delete;
  NoLookIsDue& operator=(const NoLookIsDue&) = delete;

 private:
  // In milliseconds, as in the post.
  static constexpr int64_t kDay = 86'400'000;
  static int64_t Now() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1000;
  }
  static void LookedAt(int64_t time) {
    (*Domain::Get())->sentry_post().looked.store(static_cast<uint64_t>(time));
  }
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_NO_LOOK_IS_DUE_H_
