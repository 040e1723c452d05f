#include "sync/condition.h"

#include <time.h>

#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/lane.h"
#include "shared/internal/object.h"
#include "shared/internal/wait.h"

namespace mp {
namespace {

using internal::ConditionState;
using internal::Handle;
using internal::LockState;
using internal::ObjectType;
using internal::RobustLock;

absl::StatusOr<ConditionState*> MakeState(std::string_view name) {
  const absl::StatusOr<internal::ObjectHeader*> cell =
      internal::MakeCell(sizeof(ConditionState), alignof(ConditionState), name);
  if (!cell.ok()) return cell.status();
  auto* state = static_cast<ConditionState*>(*cell);
  state->Init();
  internal::PublishCell(state, ObjectType::kCondition);
  return state;
}

Handle<ConditionState> MakeStateOrDie(std::string_view name) {
  const absl::StatusOr<ConditionState*> state = MakeState(name);
  if (!state.ok()) {
    internal::CannotMake(ObjectType::kCondition, sizeof(ConditionState), name, state.status());
  }
  return Handle<ConditionState>(*state);
}

}  // namespace

Condition::Condition(const ConditionOptions& options)
    : state_(MakeStateOrDie(options.name)), lock_(Handle<LockState>(state_)) {}
Condition::Condition(const Lock& lock, const ConditionOptions& options)
    : state_(MakeStateOrDie(options.name)), lock_(RobustLock::Of(lock)) {}
Condition::Condition(const RLock& lock, const ConditionOptions& options)
    : state_(MakeStateOrDie(options.name)), lock_(RobustLock::Of(lock)) {}

absl::StatusOr<Condition> Condition::Create(const ConditionOptions& options) {
  const absl::StatusOr<State*> state = MakeState(options.name);
  if (!state.ok()) return state.status();
  Handle<State> handle(*state);
  const Handle<LockState> lock(handle);
  return Condition(handle, RobustLock(lock));
}

absl::StatusOr<Condition> Condition::Create(const Lock& lock, const ConditionOptions& options) {
  const absl::StatusOr<State*> state = MakeState(options.name);
  if (!state.ok()) return state.status();
  return Condition(Handle<State>(*state), RobustLock::Of(lock));
}

absl::StatusOr<Condition> Condition::Create(const RLock& lock, const ConditionOptions& options) {
  const absl::StatusOr<State*> state = MakeState(options.name);
  if (!state.ok()) return state.status();
  return Condition(Handle<State>(*state), RobustLock::Of(lock));
}

bool Condition::Wait(absl::Duration timeout) const {
  if (timeout == absl::InfiniteDuration()) return WaitUntil(nullptr);
  const timespec deadline = internal::MonotonicDeadline(timeout);
  return WaitUntil(&deadline);
}

bool Condition::WaitUntil(const timespec* deadline) const {
  CheckHeld("waited on");
  // Before it is counted, and until it has gone: by that it is known to live.
  internal::Lane* const lane = internal::LaneForNotes();
  const internal::SleepsOn note(lane, state_->word());
  State::Waiter waiter(*state_, lane);
  if (!waiter.Register()) {
    internal::Fatal(absl::StrCat(state_->Describe(), ": 65,535 threads wait on it already"));
  }
  const uint32_t levels = lock_.ReleaseAll();
  const bool notified = waiter.Wait(deadline);
  lock_.AcquireLevels(levels);
  return notified;
}

void Condition::Notify(int count) const {
  CheckHeld("notified");
  const int sleepers = state_->Notify(count);
  if (sleepers != 0) lock_.WakeWhenReleased(state_->word(), sleepers);
}

void Condition::CheckHeld(const char* what) const {
  if (!lock_.HeldByThisThread()) {
    lock_.Misuse(*state_, what, "acquire it first");
  }
}

}  // namespace mp
