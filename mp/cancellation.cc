#include "mp/cancellation.h"

#include <utility>

#include "absl/status/statusor.h"
#include "mp/internal/doorbell.h"
#include "shared/domain.h"
#include "shared/internal/object.h"

namespace mp {

absl::StatusOr<Cancellation::State*> Cancellation::Make(const CancellationOptions& options) {
  return internal::MakeObject<State>(internal::ObjectType::kCancellation, options.name,
                                     [](State& state) { state.Init(); });
}

Cancellation::State* Cancellation::MakeOrDie(const CancellationOptions& options) {
  return internal::OrCannotMake(Make(options), internal::ObjectType::kCancellation, sizeof(State),
                                options.name);
}

Cancellation::Cancellation(const CancellationOptions& options) : state_(MakeOrDie(options)) {}

absl::StatusOr<Cancellation> Cancellation::Create(const CancellationOptions& options) {
  const absl::StatusOr<State*> state = Make(options);
  if (!state.ok()) return state.status();
  return Cancellation(internal::Handle<State>(*state));
}

CancellationScope::CancellationScope(const Cancellation& cancellation)
    : CancelScope(cancellation.state_->futex()),
      state_(cancellation.state_),
      generation_(internal::ForkGeneration()) {
  Enter();
}

CancellationScope::~CancellationScope() {
  Leave();
  // A child that was forked within it has a copy, and the bell is its parent's.
  if (bell_.has_value() && generation_ == internal::ForkGeneration()) {
    state_->RemoveBell(bell_->number());
  }
}

int CancellationScope::Bell() const {
  if (!bell_.has_value()) {
    absl::StatusOr<internal::Doorbell> made = internal::Doorbell::Make();
    if (!made.ok() || !state_->AddBell(made->number())) return -1;
    bell_.emplace(*std::move(made));
  }
  return bell_->fd();
}

}  // namespace mp
