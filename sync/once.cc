#include "sync/once.h"

#include <cstdint>

#include "absl/status/statusor.h"
#include "shared/internal/deadline.h"
#include "shared/internal/object.h"

namespace mp {

absl::StatusOr<Once::State*> Once::Make(const OnceOptions& options) {
  return internal::MakeObject<State>(internal::ObjectType::kOnce, options.name, [](State& state) {
    state.LockState::Init(/*recursive=*/false);
    state.done.store(0, std::memory_order_relaxed);
  });
}

internal::Handle<Once::State> Once::MakeOrDie(const OnceOptions& options) {
  return internal::Handle<State>(internal::OrCannotMake(Make(options), internal::ObjectType::kOnce,
                                                        sizeof(State), options.name));
}

absl::StatusOr<Once> Once::Create(const OnceOptions& options) {
  const absl::StatusOr<State*> state = Make(options);
  if (!state.ok()) return state.status();
  return Once(internal::Handle<State>(*state));
}

bool Once::Begin() const {
  if (state_->HeldByThisThread()) {
    state_->Misuse("called within its call", "call what it runs from there");
  }
  while (!state_->TryAcquire()) {
    static_cast<void>(state_->WaitWhileHeld(&internal::kUncancelled, [this](bool sleeps) {
      return sleeps ? AnnounceSleeper() : !Done();
    }));
    if (Done()) return false;
  }
  if (!Done()) return true;
  state_->Release();
  return false;
}

// False: it is done.
bool Once::AnnounceSleeper() const {
  uint64_t seen = state_->done.load(std::memory_order_acquire);
  while (seen == 0 &&
         !state_->done.compare_exchange_weak(seen, State::kSleepers, std::memory_order_acq_rel)) {
  }
  return seen != State::kDone;
}

void Once::End(bool done) const {
  // A child that was forked within the call has a copy of it, and ends nothing.
  if (!state_->HeldByThisThread()) return;
  // Before: it has not been run; who gets the lock of a dead holder runs it.
  // After:  it has; the burial of who dies before it has released the lock wakes all who wait.
  // Test:   OnceCrashTest.ItIsRunOnceOrAgain
  const uint64_t before = done ? state_->done.exchange(State::kDone, std::memory_order_acq_rel)
                               : state_->done.load(std::memory_order_acquire);
  // Where it has thrown, too: who is woken alone, and throws, would not know that others sleep.
  if (before == State::kSleepers) {
    state_->ReleaseToAll();
  } else {
    state_->Release();
  }
}

}  // namespace mp
