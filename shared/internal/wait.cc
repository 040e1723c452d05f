#include "shared/internal/wait.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "shared/domain.h"
#include "shared/internal/process_table.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/sentry.h"
#include "shared/internal/sentry_post.h"

namespace mp::internal {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
// Beyond the next tick, or each nap sets the hardware's timer, which in a virtual machine costs
// more than the sleep.
constexpr int64_t kFirstNap = 20 * kMillisecond;
constexpr int64_t kBlindNap = 50 * kMillisecond;
constexpr int64_t kNapPerSleeper = 100 * kMillisecond;

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

// One call of Wait(). What returns nullopt is to be done again.
class Waiter {
 public:
  using Result = std::optional<WaitResult>;

  Waiter(const FutexWord& word, uint32_t value, const WaitOptions& options)
      : word_(word), value_(value), options_(options), domain_(*Domain::Current()) {}

  WaitResult Run() {
    if (const Result result = Look(); result.has_value()) return *result;
    Result seen;
    if (options_.spin && SpinUntil([&] { return (seen = Look()).has_value(); })) return *seen;
    self_ = Domain::HasSlot() ? domain_.ThisProcess().identity() : 0;
    Lane* const lane = self_ == 0 ? nullptr : domain_.lanes().OfThisThread(self_);
    const SleepsOn note(lane, word_);
    Result result = Nap(kFirstNap);
    while (!result.has_value()) result = lane == nullptr ? SleepBlind() : Watch();
    return *result;
  }

 private:
  Result Look() const {
    if (word_.load(std::memory_order_acquire) != value_) return WaitResult::kChanged;
    if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_acquire) != 0) {
      return WaitResult::kCancelled;
    }
    if (options_.deaths != nullptr &&
        domain_.lanes().deaths().load(std::memory_order_acquire) != *options_.deaths) {
      return WaitResult::kDeath;
    }
    return std::nullopt;
  }

  // `time`, or the caller's deadline if that is before.
  bool Bound(timespec& time) const {
    const bool last = options_.deadline != nullptr && !IsBefore(time, *options_.deadline);
    if (last) time = *options_.deadline;
    return last;
  }

  Result After(FutexResult result, bool is_last) const {
    if (result == FutexResult::kWoken) return WaitResult::kWoken;
    if (const Result found = Look(); found.has_value()) return found;
    if (result == FutexResult::kTimedOut && is_last) return WaitResult::kTimedOut;
    return std::nullopt;
  }

  // On the word alone.
  Result Nap(int64_t nanoseconds) const {
    timespec end = internal::After(nanoseconds);
    const bool is_last = Bound(end);
    return After(FutexWait(word_, value_, &end), is_last);
  }

  // On the word, and others before it.
  Result SleepOn(std::vector<FutexExpectation>& words, timespec end) const {
    const bool is_last = Bound(end);
    size_t woken = 0;
    FutexResult result = FutexWaitAny(words, &end, woken);
    if (result == FutexResult::kUnsupported) return Nap(kBlindNap);
    // Ours is the last: had it been woken, it were that.
    if (result == FutexResult::kWoken && woken + 1 != words.size()) result = FutexResult::kChanged;
    return After(result, is_last);
  }

  void AddOwn(std::vector<FutexExpectation>& words) const {
    if (options_.cancel != nullptr) words.emplace_back(*options_.cancel, 0);
    if (options_.deaths != nullptr) words.emplace_back(domain_.lanes().deaths(), *options_.deaths);
    words.emplace_back(word_, value_);
  }

  Result SleepBlind() const {
    const Result result = Nap(kBlindNap);
    if (!result.has_value()) LookIfOverdue();
    return result;
  }

  // Who is the sentry may be stopped: then others look in its place.
  void LookIfOverdue() const {
    if (self_ == 0 || !Sentry::IsOverdue(domain_.sentry_post())) return;
    std::vector<FutexExpectation> words;
    AddOwn(words);
    static_cast<void>(Sentry(domain_, self_).Look(words));
  }

  Result Watch() const {
    RobustMutex& duty = domain_.sentry_post().duty;
    switch (duty.TryLock()) {
      case RobustMutex::Result::kOwnerDied:
        duty.MarkConsistent();
        [[fallthrough]];
      case RobustMutex::Result::kAcquired: {
        const Result result = WatchAsSentry();
        static_cast<void>(duty.Unlock());
        return result;
      }
      case RobustMutex::Result::kHeldByCaller:  // in a handler of a signal that came then
        return Nap(kBlindNap);
      case RobustMutex::Result::kBusy:
        break;
    }
    const Result result = SleepBesideSentry();
    // The sentry's unlock may have woken this thread as its successor, too.
    if (result.has_value() && duty.HolderTid() == 0) FutexWake(duty.word(), 1);
    return result;
  }

  WaitResult WatchAsSentry() const {
    SentryPost& post = domain_.sentry_post();
    // Before: nobody sleeps on this thread's end of duty; a nap of somebody's finds it.
    // After:  the unlock, or the death, wakes one of the others.
    // Test:   SentryCrashTest.ADutyIsHandedOn
    post.duty.AnnounceSleepers();
    Sentry sentry(domain_, self_);
    std::vector<FutexExpectation> words;
    for (;;) {
      words.clear();
      // Read before the look: who comes after it changes it.
      FutexWord& arrivals = domain_.lanes().arrivals();
      words.emplace_back(arrivals, arrivals.load(std::memory_order_acquire));
      AddOwn(words);
      const timespec next = sentry.Look(words);
      if (const Result result = Look(); result.has_value()) return *result;
      if (const Result result = SleepOn(words, next); result.has_value()) return *result;
    }
  }

  Result SleepBesideSentry() const {
    SentryPost& post = domain_.sentry_post();
    uint32_t seen = post.duty.word().load(std::memory_order_relaxed);
    if (RobustMutex::HolderIn(seen) == 0 || !post.duty.AnnounceSleeper(seen)) return Look();
    std::vector<FutexExpectation> words;
    words.emplace_back(post.duty.word(), seen);
    AddOwn(words);
    const auto sleepers = static_cast<int64_t>(post.sleepers.load(std::memory_order_relaxed));
    const Result result =
        SleepOn(words, internal::After(kNapPerSleeper * std::max<int64_t>(sleepers, 1)));
    if (!result.has_value()) LookIfOverdue();
    return result;
  }

  const FutexWord& word_;
  const uint32_t value_;
  const WaitOptions& options_;
  Domain& domain_;
  ProcessId self_ = 0;
};

}  // namespace

WaitResult Wait(const FutexWord& word, uint32_t value, const WaitOptions& options) {
  return Waiter(word, value, options).Run();
}

uint32_t Deaths() { return Domain::Current()->lanes().deaths().load(std::memory_order_acquire); }

Lane* LaneForNotes() {
  Domain* domain = Domain::Current();
  if (domain == nullptr || !Domain::HasSlot()) return nullptr;
  return domain->lanes().OfThisThread(domain->ThisProcess().identity());
}

bool Spinning::Begin() {
  constexpr uint32_t kLookEvery = 256;
  constexpr uint32_t kTryEvery = 16;
  if (count_++ % kLookEvery == 0) {
    cpu_set_t usable;
    alone_ = sched_getaffinity(0, sizeof(usable), &usable) == 0 && CPU_COUNT(&usable) == 1;
  }
  return !alone_ && (credit_ > 0 || count_ % kTryEvery == 0);
}

void Spinning::Pause() { __builtin_ia32_pause(); }
void Spinning::Yield() { sched_yield(); }

}  // namespace mp::internal
