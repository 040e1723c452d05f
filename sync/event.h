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
// Ordering: what was done before the Set() that set it is visible to whoever sees it set.
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

#include <time.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/atomic.h"
#include "shared/internal/handle.h"
#include "shared/internal/object_header.h"

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

  bool IsSet() const { return (state_->word.load(std::memory_order_acquire) & State::kSet) != 0; }
  void Set() const;
  void Clear() const {
    // Before: it is set, or was not.
    // After:  it is not; who waited for it before sees that it was.
    // Test:   EventCrashTest.NobodyMissesAPulse
    state_->word.fetch_and(~State::kSet, std::memory_order_acq_rel);
  }

  // Until it is set, or was since the call began.
  void Wait() const {
    if (!IsSet()) WaitUntil(nullptr);
  }
  // False: it was not, in time. Zero or less looks once.
  [[nodiscard]] bool Wait(absl::Duration timeout) const;

 private:
  // Layout
  //   word   all   whether it is set (bit 0); whether there may be sleepers (1); how often it
  //                was set (2-). Each change commits; its low half is slept on
  //
  //   Repair after a death: none. Whom a setter did not come to wake is woken by its burial.
  struct State : internal::ObjectHeader {
    static constexpr uint64_t kSet = 1;
    static constexpr uint64_t kSleepers = 2;
    static constexpr int kCountShift = 2;

    internal::Word word;

    void FreeBlocks() {}
  };

  explicit Event(internal::Handle<State> state) : state_(std::move(state)) {}

  static absl::StatusOr<State*> Make(const EventOptions& options);
  static State* MakeOrDie(const EventOptions& options);
  bool WaitUntil(const timespec* deadline) const;

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_SYNC_EVENT_H_
