#include "sync/internal/counter.h"

#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/object.h"
#include "shared/internal/wait.h"
#include "sync/internal/take_hold.h"

namespace mp::internal {

absl::StatusOr<CounterState*> Counter::Make(ObjectType type, int value, std::string_view name) {
  if (value < 0) {
    return absl::InvalidArgumentError(absl::StrCat("a value of ", value, "; 0 is the least"));
  }
  return MakeObject<CounterState>(
      type, name, [value](CounterState& state) { state.Init(static_cast<uint64_t>(value)); });
}

CounterState* Counter::MakeOrDie(ObjectType type, int value, std::string_view name) {
  return OrCannotMake(Make(type, value, name), type, sizeof(CounterState), name);
}

absl::StatusOr<Counter> Counter::Create(ObjectType type, int value, std::string_view name) {
  const absl::StatusOr<CounterState*> state = Make(type, value, name);
  if (!state.ok()) return state.status();
  return Counter(*state);
}

Counter::Counter(ObjectType type, int value, std::string_view name)
    : state_(MakeOrDie(type, value, name)) {}

// Without those whom the dead have.
bool Counter::TryAgain() const {
  return LookForTheDeadRarely() && state_->TryAcquire(/*slept=*/false);
}

bool Counter::AcquireUntil(const timespec* deadline) const {
  return state_->WaitToTake(deadline, [this](bool slept) { return state_->TryAcquire(slept); });
}

bool Counter::Acquire(absl::Duration timeout) const {
  if (timeout <= absl::ZeroDuration()) return TryAcquire();
  return state_->TryAcquire(/*slept=*/false) || AcquireUntil(Deadline(timeout).get());
}

int Counter::Value() const {
  uint64_t value = state_->value();
  if (value == 0 && LookForTheDeadRarely()) value = state_->value();
  return static_cast<int>(value);
}

bool Counter::Release(int count) const {
  if (count < 0) {
    Fatal(absl::StrCat(state_->Describe(), ": released ", count, " times by pid ", getpid(),
                       "; 0 is the least"));
  }
  return count == 0 || state_->TryRelease(static_cast<uint64_t>(count));
}

// In `hold`, if there is one. `wait(try_take)`: where there is none at once.
template <typename Wait>
Hold* Counter::AcquirePermitIn(Hold* hold, const Wait& wait) const {
  if (hold == nullptr) return nullptr;
  HoldTable& holds = Domain::Current()->holds();
  auto try_take = [&](bool slept) { return state_->TryAcquire(holds, *hold, slept); };
  if (try_take(false) || wait(try_take)) return hold;
  holds.Return(hold);
  return nullptr;
}

Hold* Counter::AcquirePermit() const {
  return AcquirePermitIn(TakeHold(*state_, "permit"), [this](const auto& try_take) {
    return state_->WaitToTake(&kUncancelled, try_take);
  });
}

Hold* Counter::AcquirePermit(absl::Duration timeout) const {
  if (timeout <= absl::ZeroDuration()) {
    return AcquirePermitIn(TryTakeHold(), [](const auto& try_take) {
      return LookForTheDeadRarely() && try_take(false);
    });
  }
  return AcquirePermitIn(TakeHold(*state_, "permit"), [&](const auto& try_take) {
    return state_->WaitToTake(Deadline(timeout).get(), try_take);
  });
}

void Counter::ReleasePermit(PermitsHeader& state, Hold& hold) {
  HoldTable& holds = Domain::Current()->holds();
  const bool released = state.Release(holds, hold);
  holds.Return(&hold);
  // Of one with a bound, somebody has released it in this one's place.
  if (!released && state.type() != ObjectType::kBoundedSemaphore) {
    Fatal(absl::StrCat(state.Describe(), ": released a permit by pid ", getpid(),
                       "; it would have more than ", PermitsHeader::kMostValue, " permits"));
  }
}

}  // namespace mp::internal
