#include "sync/latch.h"

#include <time.h>
#include <unistd.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/holds.h"
#include "shared/internal/object.h"
#include "shared/internal/wait.h"
#include "sync/internal/take_hold.h"

namespace mp {

absl::StatusOr<Latch::State*> Latch::Make(int count, const LatchOptions& options) {
  if (count < 0) {
    return absl::InvalidArgumentError(absl::StrCat("a count of ", count, "; 0 is the least"));
  }
  return internal::MakeObject<State>(
      internal::ObjectType::kLatch, options.name,
      [count](State& state) { state.Init(static_cast<uint64_t>(count)); });
}

Latch::State* Latch::MakeOrDie(int count, const LatchOptions& options) {
  return internal::OrCannotMake(Make(count, options), internal::ObjectType::kLatch, sizeof(State),
                                options.name);
}

Latch::Latch(int count, const LatchOptions& options) : state_(MakeOrDie(count, options)) {}

absl::StatusOr<Latch> Latch::Create(int count, const LatchOptions& options) {
  const absl::StatusOr<State*> state = Make(count, options);
  if (!state.ok()) return state.status();
  return Latch(internal::Handle<State>(*state));
}

void Latch::Join() const {
  internal::Hold* const hold = internal::TakeHold(*state_, "that is joined");
  state_->Join(Domain::Current()->holds(), *hold);
}

void Latch::CountDown(int by) const {
  if (by < 0) {
    internal::Fatal(absl::StrCat(state_->Describe(), ": counted down by ", by, " by pid ", getpid(),
                                 "; 0 is the least"));
  }
  while (by > 0 && CountDownJoined()) --by;
  if (by > 0) state_->CountDown(static_cast<uint64_t>(by));
}

// One that this process has joined; false: it has none.
bool Latch::CountDownJoined() const {
  if (state_->count.second() == 0) return false;  // nobody has ever joined
  Domain& domain = *Domain::Current();
  internal::HoldTable& holds = domain.holds();
  internal::Hold* joined = nullptr;
  holds.VisitOf(domain.ThisProcess().identity(), *state_, [&](internal::Hold& hold) {
    if (state_->TryClaim(hold)) joined = &hold;
    return joined != nullptr;
  });
  if (joined == nullptr) return false;
  state_->CountDown(holds, *joined);
  holds.Return(joined);
  return true;
}

bool Latch::Wait(absl::Duration timeout) const {
  if (timeout <= absl::ZeroDuration()) return TryWait();
  return state_->value() == 0 || WaitUntil(internal::Deadline(timeout).get());
}

bool Latch::TryWait() const {
  return state_->value() == 0 || (internal::LookForTheDeadRarely() && state_->value() == 0);
}

bool Latch::WaitUntil(const timespec* deadline) const {
  return internal::SleepWhile(state_->count.first(), State::kSleepers, deadline,
                              [](uint64_t now) { return (now & State::kValue) != 0; });
}

}  // namespace mp
