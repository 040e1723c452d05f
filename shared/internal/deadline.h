// Deadline: a timeout as the point on CLOCK_MONOTONIC at which it ends, which is what
// the system calls take. Computed once, so that interrupted waits do not add up.
// And the timeouts and times of <chrono> as the timeouts that this library takes.

#ifndef MP_SHARED_INTERNAL_DEADLINE_H_
#define MP_SHARED_INTERNAL_DEADLINE_H_

#include <time.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "absl/time/time.h"

namespace mp::internal {

// Longer timeouts are as good as for ever.
inline constexpr int kCenturyInHours = 24 * 36525;

// Far-away deadlines are brought within what the kernel can add up.
inline timespec MonotonicDeadline(absl::Duration timeout) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::ToTimespec(absl::DurationFromTimespec(now) +
                          std::clamp(timeout, absl::ZeroDuration(), absl::Hours(kCenturyInHours)));
}

// The point at which a timeout ends, for calls to which none, nullptr, means for ever.
class Deadline {
 public:
  explicit Deadline(absl::Duration timeout) : is_ever_(timeout == absl::InfiniteDuration()) {
    if (!is_ever_) time_ = MonotonicDeadline(timeout);
  }
  const timespec* get() const { return is_ever_ ? nullptr : &time_; }

 private:
  const bool is_ever_;
  timespec time_ = {};
};

// Never, and no cancellation (cancel_scope.h) ends the wait before.
inline constexpr timespec kUncancelled = {std::numeric_limits<time_t>::max(), 0};

inline bool IsUncancelled(const timespec* deadline) {
  return deadline != nullptr && deadline->tv_sec == kUncancelled.tv_sec;
}

inline bool IsPast(const timespec& deadline) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec > deadline.tv_sec ||
         (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec);
}

// For the next lock of one who has got the first by `deadline`, and would leave something half
// done: a second from now, in `second`. Null, for ever, where the first is.
inline const timespec* DeadlineOfWhoHasBegun(const timespec* deadline, timespec& second) {
  if (deadline == nullptr) return nullptr;
  second = MonotonicDeadline(absl::Seconds(1));
  return &second;
}

// In seconds, for a first look: no duration overflows it, though it is not exact.
using RoughSeconds = std::chrono::duration<double>;
inline constexpr RoughSeconds kRoughCentury = std::chrono::hours(kCenturyInHours);

// Rounded up to a nanosecond. Not a number counts as zero.
template <typename Rep, typename Period>
absl::Duration FromChronoTimeout(const std::chrono::duration<Rep, Period>& timeout) {
  const RoughSeconds rough(timeout);
  if (!(rough > RoughSeconds::zero())) return absl::ZeroDuration();
  if (rough > kRoughCentury) return absl::InfiniteDuration();
  return absl::FromChrono(std::chrono::ceil<std::chrono::nanoseconds>(timeout));
}

// What is left now until `time`.
template <typename Clock, typename Since>
absl::Duration FromChronoTime(const std::chrono::time_point<Clock, Since>& time) {
  const auto now = Clock::now();
  // The exact difference may overflow.
  const RoughSeconds rough =
      RoughSeconds(time.time_since_epoch()) - RoughSeconds(now.time_since_epoch());
  if (rough > kRoughCentury) return absl::InfiniteDuration();
  if (rough < -kRoughCentury) return absl::ZeroDuration();
  return FromChronoTimeout(time - now);
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_DEADLINE_H_
