#include "sync/event.h"

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/object.h"

namespace mp {

absl::StatusOr<Event::State*> Event::Make(const EventOptions& options) {
  return internal::MakeObject<State>(internal::ObjectType::kEvent, options.name,
                                     [](State& state) { state.Init(); });
}

Event::State* Event::MakeOrDie(const EventOptions& options) {
  return internal::OrCannotMake(Make(options), internal::ObjectType::kEvent, sizeof(State),
                                options.name);
}

Event::Event(const EventOptions& options) : state_(MakeOrDie(options)) {}

absl::StatusOr<Event> Event::Create(const EventOptions& options) {
  const absl::StatusOr<State*> state = Make(options);
  if (!state.ok()) return state.status();
  return Event(internal::Handle<State>(*state));
}

bool Event::Wait(absl::Duration timeout) const {
  const uint64_t seen = state_->Look();
  if (State::IsSet(seen)) return true;
  if (timeout <= absl::ZeroDuration()) return false;
  return state_->WaitSince(seen, internal::Deadline(timeout).get());
}

}  // namespace mp
