#include "sync/internal/condition_state.h"

#include <time.h>

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp::internal {
namespace {

// The parts of a signal.
struct Signal {
  static constexpr uint64_t kMost = 0xffff;

  bool sleepers;
  uint32_t notifies;
  uint64_t tokens;
  uint64_t waiting;

  static Signal Of(uint64_t word) {
    return {(word & 1) != 0, static_cast<uint32_t>(word) >> 1, word >> 32 & kMost, word >> 48};
  }
  // As it has to be.
  uint64_t Word() const {
    if (waiting == 0) return uint64_t{notifies << 1};
    return waiting << 48 | std::min(tokens, waiting) << 32 | uint64_t{notifies << 1} |
           uint64_t{sleepers};
  }
};

}  // namespace

// Of those who wait the living.
uint64_t ConditionState::CountAnew(uint64_t waiting) {
  return std::min<uint64_t>(waiting, CountSleepersOn(word()));
}

int ConditionState::Notify(int count) {
  uint64_t seen = signal.load(std::memory_order_acquire);
  for (;;) {
    const Signal before = Signal::Of(seen);
    if (count <= 0 || before.waiting == 0) return 0;
    Signal after = before;
    // Of somebody who was notified, and has not yet taken it, or never will.
    const bool anew = before.tokens != 0 && Deaths() != 0;
    if (anew) {
      after.waiting = CountAnew(before.waiting);
      after.tokens = std::min(before.tokens, after.waiting);
    }
    const uint64_t chosen = std::min<uint64_t>(count, after.waiting - after.tokens);
    after.tokens += chosen;
    after.notifies = before.notifies + 1;
    after.sleepers = before.sleepers && after.tokens < after.waiting;
    // Before: nobody is notified.
    // After:  `chosen` of them are, and find it when they look; the burial of who dies before it
    //         has woken them makes them look.
    // Test:   ConditionCrashTest.WhoIsNotifiedIsWoken
    if (signal.compare_exchange_weak(seen, after.Word(), std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
      // What was a dead one's may be a sleeper's now.
      return before.sleepers ? static_cast<int>(anew ? after.tokens : chosen) : 0;
    }
  }
}

bool ConditionState::Waiter::Register() {
  uint64_t seen = state_.signal.load(std::memory_order_acquire);
  uint64_t counted;
  do {
    Signal signal = Signal::Of(seen);
    notifies_ = signal.notifies;
    if (lane_ == nullptr) return true;
    if (signal.waiting == Signal::kMost) {
      // Without this one, which has its note already.
      signal.waiting = state_.CountAnew(signal.waiting + 1) - 1;
      if (signal.waiting >= Signal::kMost) return false;
    }
    ++signal.waiting;
    counted = signal.Word();
    // Before: it does not wait.
    // After:  it does, until it goes; if it dies before, it is counted too many.
    // Test:   ConditionCrashTest.AWaiterMayDie
  } while (!state_.signal.compare_exchange_weak(seen, counted, std::memory_order_acq_rel,
                                                std::memory_order_acquire));
  return true;
}

// Of one that is not counted: it looks up before long, as if it had been notified.
bool ConditionState::Waiter::Nap(const timespec* deadline) const {
  constexpr absl::Duration kNap = absl::Milliseconds(50);
  const timespec nap_end = MonotonicDeadline(kNap);
  const bool is_last = deadline != nullptr &&
                       absl::DurationFromTimespec(*deadline) < absl::DurationFromTimespec(nap_end);
  const uint64_t seen = state_.signal.load(std::memory_order_acquire);
  if (Signal::Of(seen).notifies != notifies_) return true;
  const WaitResult result = internal::Wait(state_.word(), static_cast<uint32_t>(seen),
                                           {.deadline = is_last ? deadline : &nap_end,
                                            .spin = false,
                                            .heeds_thread = !IsUncancelled(deadline)});
  // The wake was of one that is counted, and may sleep behind this one.
  if (result == WaitResult::kWoken) FutexWake(state_.word(), 1);
  return result != WaitResult::kTimedOut || !(is_last || CancelScope::CancelledOf(deadline));
}

bool ConditionState::Waiter::MayGo(uint64_t seen) const {
  const Signal signal = Signal::Of(seen);
  return signal.notifies != notifies_ && signal.tokens != 0;
}

bool ConditionState::Waiter::TakeToken() {
  seen_ = state_.signal.load(std::memory_order_acquire);
  for (;;) {
    if (!MayGo(seen_)) return false;
    Signal signal = Signal::Of(seen_);
    --signal.tokens;
    --signal.waiting;
    // Before: notified or not, it has not gone; another may go in its place.
    // After:  it goes. If it dies before it acts, its death is told to all who wait.
    // Test:   ConditionCrashTest.AWokenWaiterThatDiesPassesItOn
    if (state_.signal.compare_exchange_weak(seen_, signal.Word(), std::memory_order_acq_rel,
                                            std::memory_order_acquire)) {
      return true;
    }
  }
}

void ConditionState::Waiter::Leave() {
  uint64_t seen = state_.signal.load(std::memory_order_acquire);
  uint64_t left;
  do {
    Signal signal = Signal::Of(seen);
    if (signal.waiting == 0) return;  // counted anew meanwhile
    --signal.waiting;
    left = signal.Word();
    // Before: it waits; if it dies, it is counted too many.
    // After:  it does not.
    // Test:   ConditionCrashTest.ATimedWaitMayDie
  } while (!state_.signal.compare_exchange_weak(seen, left, std::memory_order_acq_rel,
                                                std::memory_order_acquire));
}

bool ConditionState::Waiter::Wait(const timespec* deadline) {
  if (lane_ == nullptr) return Nap(deadline);
  // A look, and a token taken, while the notifier still holds the lock takes from its processor the
  // words that it has to write again to release it: a round trip then takes 1.5 us instead of 0.6.
  constexpr int kPausesPerLook = 16;
  if (SpinUntil<kPausesPerLook>([this] {
        return MayGo(state_.signal.load(std::memory_order_acquire)) && lock_.HolderTid() == 0 &&
               TakeToken();
      })) {
    return true;
  }
  for (;;) {
    if (TakeToken()) return true;
    Signal signal = Signal::Of(seen_);
    const bool notified = signal.notifies != notifies_;
    const uint32_t deaths = Deaths();  // before the look
    if (notified && lane_->told.load(std::memory_order_acquire) != 0) {
      // Who died may have taken the token with it.
      Leave();
      return true;
    }
    if (!signal.sleepers) {
      signal.sleepers = true;
      if (!state_.signal.compare_exchange_strong(seen_, signal.Word(), std::memory_order_acq_rel)) {
        continue;
      }
      seen_ = signal.Word();
    }
    const WaitResult result = internal::Wait(
        state_.word(), static_cast<uint32_t>(seen_),
        {.deadline = deadline, .deaths = notified ? &deaths : nullptr, .spin = false});
    if (result == WaitResult::kTimedOut) {
      if (TakeToken()) return true;
      Leave();
      return false;
    }
  }
}

}  // namespace mp::internal
