// Waiter: one call of Wait(). The phases are told in wait.h; what they are done with is handed in,
// so that a model can do it with few.
//
//   Waiter waiter(word, value, options, lanes, post);
//   if (const Waiter::Result seen = waiter.LookAndSpin(); seen.has_value()) return *seen;
//   return waiter.Sleep(undertaker);
//
// Who this process is, is asked for only when it is to sleep.

#ifndef MP_SHARED_INTERNAL_WAITER_H_
#define MP_SHARED_INTERNAL_WAITER_H_

#include <time.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "shared/internal/burial.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/sentry_post.h"
#include "shared/internal/wait.h"

namespace mp::internal {

class Waiter {
 public:
  // nullopt: not yet.
  using Result = std::optional<WaitResult>;

  Waiter(const FutexWord& word, uint32_t value, const WaitOptions& options, LaneTable& lanes,
         SentryPost& post)
      : word_(word),
        value_(value),
        options_(options),
        scope_(options.heeds_thread ? CancelScope::HeededUntil(options.deadline) : nullptr),
        lanes_(lanes),
        post_(post) {}

  Result LookAndSpin() const;

  // `undertaker` buries as the calling process.
  WaitResult Sleep(const Undertaker& undertaker) const;
  // Of a process without a slot, which can have no lane, and buries nobody.
  WaitResult SleepWithoutSlot() const;

 private:
  Result Look() const;
  bool Bound(timespec& time) const;
  Result After(FutexResult result, bool is_last) const;
  Result Nap(int64_t nanoseconds) const;
  Result SleepOn(std::vector<FutexExpectation>& words, timespec end) const;
  bool Cancelled() const { return scope_ != nullptr && CancelScope::Cancelled(); }
  const FutexWord* CancelWord() const;
  void AddOwn(std::vector<FutexExpectation>& words) const;
  void LookIfOverdue(const Undertaker& undertaker) const;
  Result Watch(const Undertaker& undertaker) const;
  WaitResult WatchAsSentry(const Undertaker& undertaker) const;
  Result SleepBesideSentry(const Undertaker& undertaker) const;

  const FutexWord& word_;
  const uint32_t value_;
  const WaitOptions& options_;
  const CancelScope* const scope_;  // the innermost; nullptr: none
  LaneTable& lanes_;
  SentryPost& post_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_WAITER_H_
