#include "shared/internal/waiter.h"

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "shared/internal/cancel_scope.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/sentry.h"
#include "shared/internal/spinning.h"

namespace mp::internal {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
// Beyond the next tick, or each nap sets the hardware's timer, which in a virtual machine costs
// more than the sleep.
constexpr int64_t kFirstNap = 20 * kMillisecond;
constexpr int64_t kBlindNap = 50 * kMillisecond;
constexpr int64_t kNapPerSleeper = 100 * kMillisecond;
constexpr int64_t kNapInScope = 1000 * kMillisecond;
constexpr int kMostScopes = 8;

timespec After(int64_t nanoseconds) {
  constexpr int64_t kSecond = 1000 * kMillisecond;
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  nanoseconds += time.tv_nsec;
  time.tv_sec += nanoseconds / kSecond;
  time.tv_nsec = nanoseconds % kSecond;
  return time;
}

bool IsBefore(const timespec& a, const timespec& b) {
  return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

// While it lives: the burial of who changed the word, or cancelled, and did not come to wake this
// thread does so.
class Expects {
 public:
  Expects(Lane* lane, uint32_t value, const FutexWord* cancel) : lane_(lane) {
    if (lane == nullptr) return;
    lane->expects.store(value, std::memory_order_relaxed);
    lane->cancel.store(reinterpret_cast<uint64_t>(cancel), std::memory_order_relaxed);
    CompilerFence();
  }
  ~Expects() {
    CompilerFence();
    if (lane_ != nullptr) lane_->cancel.store(0, std::memory_order_relaxed);
  }
  Expects(const Expects&) = delete;
  Expects& operator=(const Expects&) = delete;

 private:
  Lane* const lane_;
};

}  // namespace

using Result = Waiter::Result;

Result Waiter::LookAndSpin() const {
  Result seen = Look();
  if (!seen.has_value() && options_.spin) SpinUntil([&] { return (seen = Look()).has_value(); });
  return seen;
}

WaitResult Waiter::Sleep(const Undertaker& undertaker) const {
  const timespec short_sleep = internal::After(Spinning::kShortSleep);
  for (int64_t nap = kFirstNap;; nap = kBlindNap) {
    // One that found none may find one later: many threads that start at once wait for the page of
    // lanes that one of them adds.
    Lane* const lane = lanes_.OfThisThread(undertaker.self);
    const SleepsOn note(lane, word_);
    const Expects expected(lane, value_, CancelWord());
    Result result;
    if (options_.nap || lane == nullptr) result = Nap(nap);
    if (options_.nap && nap == kFirstNap) {
      Spinning::Slept(result.has_value() && IsBefore(internal::After(0), short_sleep));
    }
    while (!result.has_value() && lane != nullptr) result = Watch(undertaker);
    if (result.has_value()) return *result;
    LookIfOverdue(undertaker);
  }
}

WaitResult Waiter::SleepWithoutSlot() const {
  Result result = Nap(kFirstNap);
  while (!result.has_value()) result = Nap(kBlindNap);
  return *result;
}

Result Waiter::Look() const {
  if (word_.load(std::memory_order_acquire) != value_) return WaitResult::kChanged;
  if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_acquire) != 0) {
    return WaitResult::kCancelled;
  }
  if (options_.deaths != nullptr &&
      lanes_.deaths().load(std::memory_order_acquire) != *options_.deaths) {
    return WaitResult::kDeath;
  }
  if (Cancelled()) return WaitResult::kTimedOut;
  return std::nullopt;
}

// The one whose waiter is woken by the burial of who has changed it. Of others it learns when its
// nap is over.
const FutexWord* Waiter::CancelWord() const {
  return options_.cancel == nullptr && scope_ != nullptr ? &scope_->word() : options_.cancel;
}

// `time`, or the caller's deadline if that is before.
bool Waiter::Bound(timespec& time) const {
  const bool last = options_.deadline != nullptr && !IsBefore(time, *options_.deadline);
  if (last) time = *options_.deadline;
  return last;
}

Result Waiter::After(FutexResult result, bool is_last) const {
  if (result == FutexResult::kWoken) return WaitResult::kWoken;
  if (const Result found = Look(); found.has_value()) return found;
  if (result == FutexResult::kTimedOut && is_last) return WaitResult::kTimedOut;
  return std::nullopt;
}

// On the word alone.
Result Waiter::Nap(int64_t nanoseconds) const {
  timespec end = internal::After(nanoseconds);
  const bool is_last = Bound(end);
  return After(FutexWait(word_, value_, &end), is_last);
}

// On the word, and others before it.
Result Waiter::SleepOn(std::vector<FutexExpectation>& words, timespec end) const {
  const bool is_last = Bound(end);
  size_t woken = 0;
  FutexResult result = FutexWaitAny(words, &end, woken);
  if (result == FutexResult::kUnsupported) return Nap(kBlindNap);
  // Ours is the last: had it been woken, it were that.
  if (result == FutexResult::kWoken && woken + 1 != words.size()) result = FutexResult::kChanged;
  return After(result, is_last);
}

void Waiter::AddOwn(std::vector<FutexExpectation>& words) const {
  // The kernel takes none twice.
  auto add = [&words](const FutexWord& word, uint32_t value) {
    const auto address = reinterpret_cast<uint64_t>(&word);
    if (std::none_of(words.begin(), words.end(),
                     [=](const FutexExpectation& other) { return other.address == address; })) {
      words.emplace_back(word, value);
    }
  };
  if (options_.cancel != nullptr) add(*options_.cancel, 0);
  // Within more than that one learns of the others when a nap is over.
  int scopes = kMostScopes;
  for (const CancelScope* scope = scope_; scope != nullptr && scopes > 0; scope = scope->outer()) {
    add(scope->word(), 0);
    --scopes;
  }
  if (options_.deaths != nullptr) words.emplace_back(lanes_.deaths(), *options_.deaths);
  words.emplace_back(word_, value_);
}

// Who is the sentry may be stopped: then others look in its place.
void Waiter::LookIfOverdue(const Undertaker& undertaker) const {
  if (Sentry::IsOverdue(post_)) Sentry(undertaker, post_).Look();
}

Result Waiter::Watch(const Undertaker& undertaker) const {
  RobustMutex& duty = post_.duty;
  switch (duty.TryLock()) {
    case RobustMutex::Result::kOwnerDied:
      duty.MarkConsistent();
      [[fallthrough]];
    case RobustMutex::Result::kAcquired: {
      const Result result = WatchAsSentry(undertaker);
      static_cast<void>(duty.Unlock());
      return result;
    }
    case RobustMutex::Result::kHeldByCaller:  // in a handler of a signal that came then
      return Nap(kBlindNap);
    case RobustMutex::Result::kBusy:
      break;
  }
  const Result result = SleepBesideSentry(undertaker);
  // The sentry's unlock may have woken this thread as its successor, too.
  if (result.has_value() && duty.HolderTid() == 0) FutexWake(duty.word(), 1);
  return result;
}

WaitResult Waiter::WatchAsSentry(const Undertaker& undertaker) const {
  // Before: nobody sleeps on this thread's end of duty; a nap of somebody's finds it.
  // After:  the unlock, or the death, wakes one of the others.
  // Test:   SentryCrashTest.ADutyIsHandedOn
  post_.duty.AnnounceSleepers();
  Sentry sentry(undertaker, post_);
  std::vector<FutexExpectation> words;
  for (;;) {
    words.clear();
    // Read before the look: who comes after it changes it.
    FutexWord& arrivals = lanes_.arrivals();
    words.emplace_back(arrivals, arrivals.load(std::memory_order_acquire));
    AddOwn(words);
    const timespec next = sentry.Look(words);
    if (const Result result = Look(); result.has_value()) return *result;
    if (const Result result = SleepOn(words, next); result.has_value()) return *result;
  }
}

Result Waiter::SleepBesideSentry(const Undertaker& undertaker) const {
  uint32_t seen = post_.duty.word().load(std::memory_order_relaxed);
  if (RobustMutex::HolderIn(seen) == 0 || !post_.duty.AnnounceSleeper(seen)) return Look();
  std::vector<FutexExpectation> words;
  words.emplace_back(post_.duty.word(), seen);
  AddOwn(words);
  const auto sleepers = static_cast<int64_t>(post_.sleepers.load(std::memory_order_relaxed));
  int64_t nap = kNapPerSleeper * std::max<int64_t>(sleepers, 1);
  // Who cancelled may have died before it woke this thread, which has a note of one word at most.
  if (scope_ != nullptr) nap = std::min(nap, kNapInScope);
  const Result result = SleepOn(words, internal::After(nap));
  if (!result.has_value()) LookIfOverdue(undertaker);
  return result;
}

}  // namespace mp::internal
