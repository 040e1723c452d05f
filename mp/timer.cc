#include "mp/timer.h"

#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/descriptor.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"

namespace mp {
namespace {

absl::Status OfAnotherProcess() {
  return absl::FailedPreconditionError("a Timer of another process; make one in this one");
}

// To the kernel zero means none.
timespec AtLeastANanosecond(absl::Duration duration) {
  return absl::ToTimespec(
      std::clamp(duration, absl::Nanoseconds(1), absl::Hours(internal::kCenturyInHours)));
}

}  // namespace

absl::StatusOr<Timer> Timer::Create() {
  absl::StatusOr<internal::Descriptor> descriptor = internal::Descriptor::Own(
      timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create");
  if (!descriptor.ok()) return descriptor.status();
  return Timer(*std::move(descriptor));
}

Timer::Timer() {
  absl::StatusOr<Timer> made = Create();
  if (!made.ok()) {
    internal::Fatal(absl::StrCat("pid ", getpid(), ": Timer: ", made.status().message()));
  }
  *this = *std::move(made);
}

absl::Status Timer::Start(absl::Duration after, absl::Duration every) const {
  if (IsInherited()) return OfAnotherProcess();
  itimerspec time = {};
  time.it_value = AtLeastANanosecond(after);
  if (every > absl::ZeroDuration()) time.it_interval = AtLeastANanosecond(every);
  timerfd_settime(descriptor_.fd(), 0, &time, nullptr);
  return absl::OkStatus();
}

void Timer::Cancel() const {
  constexpr itimerspec kNever = {};
  if (!IsInherited()) timerfd_settime(descriptor_.fd(), 0, &kNever, nullptr);
}

uint64_t Timer::Expirations() const {
  uint64_t count = 0;
  if (IsInherited() || read(descriptor_.fd(), &count, sizeof(count)) != sizeof(count)) return 0;
  return count;
}

absl::StatusOr<uint64_t> Timer::Wait(absl::Duration timeout) const {
  if (IsInherited()) return OfAnotherProcess();
  const internal::Deadline deadline(timeout);
  for (;;) {
    if (const uint64_t count = Expirations(); count != 0) return count;
    pollfd polled = {.fd = descriptor_.fd(), .events = POLLIN, .revents = 0};
    if (internal::PollUntil({&polled, 1}, deadline.get()) == 0) {
      return internal::LateStatus("the timer has not expired in time");
    }
    internal::EndIfClosed({&polled, 1});
  }
}

}  // namespace mp
