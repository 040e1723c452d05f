#include "sync/barrier.h"

#include <cxxabi.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/holds.h"
#include "shared/internal/object.h"
#include "shared/internal/object_header.h"
#include "shared/internal/wait.h"
#include "sync/internal/take_hold.h"

namespace mp {
namespace {

using internal::Hold;
using internal::ObjectHeader;

// The actions that this process has, made or inherited. Never destroyed: what an action has may
// outlive static objects.
class Actions {
 public:
  using Pointer = std::shared_ptr<const std::function<void()>>;

  static void Keep(const ObjectHeader& barrier, Pointer action) {
    const std::lock_guard guard(mutex_);
    Kept& kept = All()[&barrier];
    kept.state = barrier.state.load(std::memory_order_relaxed);
    kept.action.swap(action);
    // Of one that another process has ended: its action ends when the mutex is free.
  }
  // nullptr: it has none.
  static Pointer Find(const ObjectHeader& barrier) {
    const std::lock_guard guard(mutex_);
    const auto found = All().find(&barrier);
    if (found == All().end()) return nullptr;
    const Kept& kept = found->second;
    return kept.state == barrier.state.load(std::memory_order_relaxed) ? kept.action : nullptr;
  }
  static void Drop(const ObjectHeader& barrier) {
    Pointer action;
    const std::lock_guard guard(mutex_);
    const auto found = All().find(&barrier);
    if (found == All().end()) return;
    action.swap(found->second.action);
    All().erase(found);
  }

 private:
  struct Kept {
    uint64_t state = 0;  // of the object: the cell may since be another's
    Pointer action;
  };

  static std::map<const ObjectHeader*, Kept>& All() {
    static auto* const all = new std::map<const ObjectHeader*, Kept>;
    return *all;
  }

  [[gnu::constructor(101)]] static void RegisterForkHandlers() {
    pthread_atfork([] { mutex_.lock(); }, [] { mutex_.unlock(); }, [] { mutex_.unlock(); });
  }

  // Held across a fork.
  static inline constinit std::mutex mutex_;
};

// A hold for one Wait(), however that ends.
class Seat {
 public:
  explicit Seat(Hold& hold) : hold_(hold) {}
  ~Seat() {
    // A child that was forked within the action has a copy of it, and the hold is its parent's.
    if (generation_ != internal::ForkGeneration()) return;
    hold_.End(/*held=*/false);
    Domain::Current()->holds().Return(&hold_);
  }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

 private:
  Hold& hold_;
  const uint32_t generation_ = internal::ForkGeneration();
};

}  // namespace

void Barrier::State::FreeBlocks() {
  if (has_action()) Actions::Drop(*this);
}

absl::StatusOr<Barrier::State*> Barrier::Make(int parties, const BarrierOptions& options) {
  if (parties < 1 || parties > State::kMostParties) {
    return absl::InvalidArgumentError(
        absl::StrCat(parties, " parties; it takes 1 to ", State::kMostParties));
  }
  const uint64_t timeout =
      options.timeout == absl::InfiniteDuration()
          ? State::kForEver
          : static_cast<uint64_t>(std::max<int64_t>(absl::ToInt64Nanoseconds(options.timeout), 0));
  absl::StatusOr<State*> state =
      internal::MakeObject<State>(internal::ObjectType::kBarrier, options.name, [&](State& made) {
        made.Init(static_cast<uint64_t>(parties), timeout, options.action != nullptr);
      });
  if (state.ok() && options.action != nullptr) {
    Actions::Keep(**state, std::make_shared<const Action>(options.action));
  }
  return state;
}

Barrier::State* Barrier::MakeOrDie(int parties, const BarrierOptions& options) {
  return internal::OrCannotMake(Make(parties, options), internal::ObjectType::kBarrier,
                                sizeof(State), options.name);
}

Barrier::Barrier(int parties, const BarrierOptions& options)
    : state_(MakeOrDie(parties, options)) {}

absl::StatusOr<Barrier> Barrier::Create(int parties, const BarrierOptions& options) {
  const absl::StatusOr<State*> state = Make(parties, options);
  if (!state.ok()) return state.status();
  return Barrier(internal::Handle<State>(*state));
}

absl::StatusOr<int> Barrier::Wait() const {
  const uint64_t timeout = state_->timeout.load(std::memory_order_relaxed);
  return timeout == State::kForEver ? WaitUntil(nullptr)
                                    : Wait(absl::Nanoseconds(static_cast<int64_t>(timeout)));
}

absl::StatusOr<int> Barrier::Wait(absl::Duration timeout) const {
  constexpr timespec kAtOnce = {};
  return WaitUntil(timeout > absl::ZeroDuration() ? internal::Deadline(timeout).get() : &kAtOnce);
}

absl::StatusOr<int> Barrier::WaitUntil(const timespec* deadline) const {
  Hold* const hold = internal::TryTakeHold();
  if (hold == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        state_->Describe(), ": there is no memory, or no room in the domain, for one more place"));
  }
  const Seat seat(*hold);
  Place place = {*hold, internal::LaneForNotes()};
  return WaitIn(place, deadline);
}

absl::StatusOr<int> Barrier::WaitIn(Place& place, const timespec* deadline) const {
  constexpr int kMostLooks = 50;
  internal::HoldTable& holds = Domain::Current()->holds();
  const Actions::Pointer action = state_->has_action() ? Actions::Find(*state_) : nullptr;
  for (int looks = 0;;) {
    const bool trusts = looks >= kMostLooks;
    switch (state_->Arrive(holds, place, /*can_act=*/action != nullptr, trusts)) {
      case State::Arrival::kLast:
        return static_cast<int>(place.index);
      case State::Arrival::kBroken:
        return WhyBroken(place.round);
      case State::Arrival::kWaits:
        return WaitForOthers(place, action.get(), deadline);
      case State::Arrival::kActs:
        if (action != nullptr) return Act(place, *action);
        if (!state_->Hand(holds, place.round)) {
          state_->BreakRound(place.round, {State::Cause::kNoAction, getpid()});
        }
        return WaitForOthers(place, action.get(), deadline);
      case State::Arrival::kUnknown:
        looks = kMostLooks - 1;
        [[fallthrough]];
      case State::Arrival::kSuspect:
        // Where somebody is dead, its burial breaks the round. Proof comes when all threads of its
        // process have ended.
        internal::LookForTheDead();
        if (++looks >= kMostLooks) break;
        // Not after the first look: what it has found shows at the next arrival.
        if (looks > 1 && internal::CancelScope::IsLate(deadline)) {
          if (!state_->BreakRound(place.round, {State::Cause::kTimeout, getpid()})) break;
          return internal::LateStatus(absl::StrCat(
              state_->Describe(), ": of ", parties(),
              " a thread has ended, and it was not known in time whether its process lives"));
        }
        absl::SleepFor(absl::Milliseconds(1));
        break;
      case State::Arrival::kLater:
        if (!SleepWhile(deadline, [&](uint64_t now) {
              return (now & (State::kRound | State::kActing)) == (place.round | State::kActing);
            })) {
          return internal::LateStatus(
              absl::StrCat(state_->Describe(), ": the round before was not complete in time"));
        }
        break;
    }
  }
}

absl::StatusOr<int> Barrier::WaitForOthers(const Place& place, const Action* action,
                                           const timespec* deadline) const {
  for (;;) {
    const bool in_time = SleepWhile(deadline, [&](uint64_t now) {
      return State::LookAt(now, place) == State::Outcome::kPending;
    });
    if (!in_time && state_->BreakRound(place.round, {State::Cause::kTimeout, getpid()})) {
      return internal::LateStatus(
          absl::StrCat(state_->Describe(), ": not all of ", parties(), " came in time"));
    }
    switch (state_->Look(place)) {
      case State::Outcome::kComplete:
        return static_cast<int>(place.index);
      case State::Outcome::kBroken:
        return WhyBroken(place.round);
      case State::Outcome::kChosen:
        return Act(place, *action);
      case State::Outcome::kPending:
        break;
    }
  }
}

template <typename IsPending>
bool Barrier::SleepWhile(const timespec* deadline, const IsPending& is_pending) const {
  if (deadline != nullptr && deadline->tv_sec == 0) return !is_pending(state_->Now());  // at once
  return internal::SleepWhile(state_->count.first(), State::kSleepers, deadline, is_pending);
}

absl::StatusOr<int> Barrier::Act(const Place& place, const Action& action) const {
  const uint32_t generation = internal::ForkGeneration();
  // A child that was forked within the action has a copy of it, and neither breaks nor ends
  // anything.
  auto is_child = [&] { return generation != internal::ForkGeneration(); };
  auto break_round = [&] {
    if (!is_child()) state_->BreakRound(place.round, {State::Cause::kAction, getpid()});
  };
  auto threw = [&](std::string_view what) {
    break_round();
    return absl::InternalError(absl::StrCat(state_->Describe(), ": its action threw ", what));
  };
  try {
    action();
  } catch (const std::exception& exception) {
    return threw(exception.what());
  } catch (...) {
    if (abi::__cxa_current_exception_type() == nullptr) {  // the end of the thread
      break_round();
      throw;
    }
    return threw("what is no std::exception");
  }
  if (is_child()) {
    return absl::FailedPreconditionError(
        absl::StrCat(state_->Describe(),
                     ": a child that was forked within its action is no party; end it there"));
  }
  if (!state_->Complete(place.round)) return WhyBroken(place.round);
  return static_cast<int>(place.index);
}

absl::Status Barrier::WhyBroken(uint64_t round) const {
  const State::Break broken = state_->WhyBroken(round);
  auto is = [&](std::string_view why) {
    return absl::AbortedError(
        absl::StrCat(state_->Describe(), ": broken: pid ", broken.pid, " ", why));
  };
  switch (broken.cause) {
    case State::Cause::kDeath:
      return is("died in it");
    case State::Cause::kTimeout:
      return is("did not wait any longer");
    case State::Cause::kAbort:
      return is("called Abort()");
    case State::Cause::kReset:
      return is("called Reset()");
    case State::Cause::kAction:
      return is("ran the action, which threw");
    case State::Cause::kNoAction:
      return absl::FailedPreconditionError(
          absl::StrCat(state_->Describe(), ": broken: none of those who came has the action"));
    case State::Cause::kNone:
      break;
  }
  return absl::AbortedError(absl::StrCat(state_->Describe(), ": broken"));
}

void Barrier::Abort() const { state_->Abort(getpid()); }

uint64_t Barrier::Settled() const {
  const uint64_t now = state_->Now();
  const bool waits = (now & State::kBroken) == 0 && now >> State::kArrivedShift != 0;
  return waits && internal::LookForTheDeadRarely() ? state_->Now() : now;
}

void Barrier::Reset() const { state_->Reset(Domain::Current()->holds(), getpid()); }

}  // namespace mp
