#include "sync/event.h"

#include <time.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/futex.h"
#include "shared/internal/object.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp {

absl::StatusOr<Event::State*> Event::Make(const EventOptions& options) {
  const absl::StatusOr<internal::ObjectHeader*> cell =
      internal::MakeCell(sizeof(State), alignof(State), options.name);
  if (!cell.ok()) return cell.status();
  auto* state = static_cast<State*>(*cell);
  state->word.store(0, std::memory_order_relaxed);
  internal::PublishCell(state, internal::ObjectType::kEvent);
  return state;
}

Event::State* Event::MakeOrDie(const EventOptions& options) {
  const absl::StatusOr<State*> state = Make(options);
  if (!state.ok()) {
    internal::CannotMake(internal::ObjectType::kEvent, sizeof(State), options.name, state.status());
  }
  return *state;
}

Event::Event(const EventOptions& options) : state_(MakeOrDie(options)) {}

absl::StatusOr<Event> Event::Create(const EventOptions& options) {
  const absl::StatusOr<State*> state = Make(options);
  if (!state.ok()) return state.status();
  return Event(internal::Handle<State>(*state));
}

void Event::Set() const {
  internal::Word& word = state_->word;
  uint64_t seen = word.load(std::memory_order_relaxed);
  uint64_t set;
  do {
    if ((seen & State::kSet) != 0) return;
    set = ((seen >> State::kCountShift) + 1) << State::kCountShift | State::kSet;
    // Before: it is not set.
    // After:  it is; the burial of who dies before the next line wakes all whose word has changed.
    // Test:   EventCrashTest.WhoWaitsIsWokenWhoeverDies
  } while (
      !word.compare_exchange_weak(seen, set, std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((seen & State::kSleepers) == 0) return;
  internal::FutexWake(internal::LowHalf(word), internal::kWakeAll);
}

bool Event::Wait(absl::Duration timeout) const {
  if (IsSet()) return true;
  if (timeout <= absl::ZeroDuration()) return false;
  return WaitUntil(internal::Deadline(timeout).get());
}

bool Event::WaitUntil(const timespec* deadline) const {
  internal::Word& word = state_->word;
  uint64_t seen = word.load(std::memory_order_acquire);
  if ((seen & State::kSet) != 0) return true;
  const uint64_t count = seen >> State::kCountShift;
  auto was_set = [&] {
    seen = word.load(std::memory_order_acquire);
    return (seen & State::kSet) != 0 || seen >> State::kCountShift != count;
  };
  if (internal::SpinUntil(was_set)) return true;
  for (;;) {
    if (was_set()) return true;
    if ((seen & State::kSleepers) == 0) {
      if (!word.compare_exchange_strong(seen, seen | State::kSleepers, std::memory_order_acq_rel)) {
        continue;
      }
      seen |= State::kSleepers;
    }
    const internal::WaitResult result =
        internal::Wait(internal::LowHalf(word), static_cast<uint32_t>(seen),
                       {.deadline = deadline, .spin = false});
    if (result == internal::WaitResult::kTimedOut) return was_set();
  }
}

}  // namespace mp
