// Counter: what Semaphore and BoundedSemaphore have in common: a count of permits in a cell
// (counter_state.h), and the ways to have one of them.

#ifndef MP_SYNC_INTERNAL_COUNTER_H_
#define MP_SYNC_INTERNAL_COUNTER_H_

#include <time.h>

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/holds.h"
#include "shared/internal/object_type.h"
#include "shared/internal/permits.h"
#include "sync/internal/counter_state.h"

namespace mp::internal {

// The contracts are those of sync/semaphore.h.
class Counter {
 public:
  static absl::StatusOr<Counter> Create(ObjectType type, int value, std::string_view name);
  // Ends the process where Create() would return a status.
  Counter(ObjectType type, int value, std::string_view name);
  explicit Counter(const Handle<CounterState>& state) : state_(state) {}

  void Acquire() const {
    if (!state_->TryAcquire(/*slept=*/false)) static_cast<void>(AcquireUntil(&kUncancelled));
  }
  bool Acquire(absl::Duration timeout) const;
  bool TryAcquire() const { return state_->TryAcquire(/*slept=*/false) || TryAgain(); }
  // False: there would be more than there can be.
  bool Release(int count) const;
  int Value() const;
  uint64_t most() const { return state_->most(); }

  // The hold of a permit; with a timeout nullptr: there was none in time.
  Hold* AcquirePermit() const;
  Hold* AcquirePermit(absl::Duration timeout) const;
  static void ReleasePermit(PermitsHeader& state, Hold& hold);

  CounterState& state() const { return *state_; }

 private:
  friend struct HandleAccess;

  explicit Counter(CounterState* state) : state_(state) {}

  static absl::StatusOr<CounterState*> Make(ObjectType type, int value, std::string_view name);
  static CounterState* MakeOrDie(ObjectType type, int value, std::string_view name);
  bool TryAgain() const;
  bool AcquireUntil(const timespec* deadline) const;
  template <typename Wait>
  Hold* AcquirePermitIn(Hold* hold, const Wait& wait) const;

  Handle<CounterState> state_;
};

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_COUNTER_H_
