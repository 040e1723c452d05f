#include "sync/condition.h"

#include <time.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/lane.h"
#include "shared/internal/object.h"
#include "shared/internal/wait.h"

namespace mp {

absl::StatusOr<Condition::State*> Condition::Make(const ConditionOptions& options) {
  return internal::MakeObject<State>(internal::ObjectType::kCondition, options.name,
                                     [](State& state) { state.Init(); });
}

internal::Handle<Condition::State> Condition::MakeOrDie(const ConditionOptions& options) {
  return internal::Handle<State>(internal::OrCannotMake(
      Make(options), internal::ObjectType::kCondition, sizeof(State), options.name));
}

bool Condition::Wait(absl::Duration timeout) const {
  return WaitUntil(internal::Deadline(timeout).get());
}

bool Condition::WaitUntil(const timespec* deadline) const {
  CheckHeld("waited on");
  // Before it is counted, and until it has gone: by that it is known to live.
  internal::Lane* const lane = internal::LaneForNotes();
  const internal::SleepsOn note(lane, state_->word());
  State::Waiter waiter(*state_, robust_lock()->mutex, lane);
  if (!waiter.Register()) {
    internal::Fatal(absl::StrCat(state_->Describe(), ": 65,535 threads wait on it already"));
  }
  const uint32_t levels = robust_lock()->ReleaseAll();
  const bool notified = waiter.Wait(deadline);
  robust_lock()->AcquireLevels(levels);
  return notified;
}

void Condition::Notify(int count) const {
  CheckHeld("notified");
  const int sleepers = state_->Notify(count);
  if (sleepers != 0) robust_lock()->WakeWhenReleased(state_->word(), sleepers);
}

void Condition::CheckHeld(const char* what) const {
  if (!robust_lock()->HeldByThisThread()) {
    robust_lock()->Misuse(*state_, what, "acquire it first");
  }
}

}  // namespace mp
