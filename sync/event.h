// Event: a flag that threads and processes of a family wait for. A handle: copies mean the same
// event.
//
//   mp::Event ready;
//   mp::Process child([ready] {
//     ready.Wait();
//     ...
//   });
//   ready.Set();  // whoever waits goes on, and whoever comes later does not wait
//
// Ordering: what was done before a Set(), also one that found it set, is visible to whoever sees it
//           set from then on, and to whoever clears it after that.
// Death:    whoever dies, waiting or setting, before or after it has woken the others, leaves
//           nobody asleep. A process that is killed in Set() has set it or has not.
// Fork:     a child has the handle, and does not wait in its parent's place.
// Lifetime: as that of a Shared (shared/shared.h).
// Signals:  IsSet(), Set() and Clear() may be called in a signal handler, also in one that
//           interrupts another operation of this library. Wait() goes on after a handler.
// Pulse:    a Set() and a Clear() at once wake everyone who was waiting.
// Cost:     72 bytes of the domain. Who waits spins a little, then sleeps; no system call where
//           nobody sleeps. Figures in docs/benchmarks.md.

#ifndef MP_SYNC_EVENT_H_
#define MP_SYNC_EVENT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "sync/internal/event_state.h"

namespace mp {

struct EventOptions {
  std::string name = {};  // for messages and listings
};

class Event {
 public:
  // Not set. Ends the process, with a line that says why, where Create() would fail.
  Event() : Event(EventOptions{}) {}
  explicit Event(const EventOptions& options);
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Event> Create(const EventOptions& options = {});

  bool IsSet() const { return State::IsSet(state_->Look()); }
  void Set() const { state_->Set(); }
  void Clear() const { state_->Clear(); }

  // Until it is set, or was since the call began.
  void Wait() const {
    const uint64_t seen = state_->Look();
    if (!State::IsSet(seen)) static_cast<void>(state_->WaitSince(seen, &internal::kUncancelled));
  }
  // False: it was not, in time. Zero or less looks once.
  [[nodiscard]] bool Wait(absl::Duration timeout) const;

 private:
  friend struct internal::HandleAccess;
  using Travels = Event;

  using State = internal::EventState;

  explicit Event(const internal::Handle<State>& state) : state_(state) {}

  static absl::StatusOr<State*> Make(const EventOptions& options);
  static State* MakeOrDie(const EventOptions& options);

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_SYNC_EVENT_H_
