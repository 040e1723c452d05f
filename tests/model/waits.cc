#include "tests/model/waits.h"

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/give_back.h"
#include "tests/model/lane_test_peer.h"
#include "tests/model/step.h"
#include "tests/support/settings.h"

namespace mp::model {

using internal::FutexExpectation;
using internal::FutexResult;
using internal::FutexWord;
using internal::Lane;
using internal::LaneTestPeer;
using internal::SleepsOn;
using internal::WaitOptions;
using internal::WaitResult;

Waits* Waits::current_ = nullptr;

Waits::Waits(Model& model) : Waits(model, model.Make<internal::HoldTable>()) {
  holds_.Format(nullptr, 0);
}

Waits::Waits(Model& model, internal::HoldTable& holds)
    : model_(model), sleepers_(model.Make<Sleepers>()), holds_(holds) {
  current_ = this;
  // All that a model has is in the domain.
  lanes_.Format(&lane_memory_, kLanes, 0, std::numeric_limits<uint64_t>::max());
  LaneTestPeer::CommitAll(lanes_);
  model.PerActor(LaneTestPeer::ThisThread());
}

ActorId Waits::Process(std::string_view name, std::function<void()> body) {
  const ActorId actor = model_.Actor(name, std::move(body));
  model_.As(actor, [this, actor] { static_cast<void>(lanes_.OfThisThread(IdOf(actor))); });
  return actor;
}

void Waits::BuryWhoIsKilled() {
  model_.Spare(model_.Actor("undertaker", [this] {
    for (;;) {
      model_.Await("a death", [this] { return NextToBury() >= 0 || AllOthersHaveEnded(); });
      const ActorId dead = NextToBury();
      if (dead < 0) return;
      model_.Note(IdOf(dead));
      Bury(dead);
    }
  }));
}

ActorId Waits::Undertaker(std::string_view name, ActorId dead, ActorId before) {
  return model_.Actor(name, [this, dead, before] {
    model_.Await("a death", [this, dead, before] {
      return model_.Ended(dead) && (before < 0 || model_.Ended(before));
    });
    Bury(dead);
  });
}

// Those steps of Undertaker::Bury() (shared/internal/burial.cc).
void Waits::Bury(ActorId dead) {
  buried_[dead] = 1;
  lanes_.BuryLanesOf(IdOf(dead));
  internal::GiveBackHoldsOf(IdOf(dead), /*pid=*/0, holds_);
  lanes_.TellDeath();
}

ActorId Waits::NextToBury() const {
  for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
    if (model_.Killed(actor) && buried_[actor] == 0) return actor;
  }
  return -1;
}

bool Waits::AllOthersHaveEnded() const {
  for (ActorId actor = 0; actor + 1 < model_.Actors(); ++actor) {
    if (!model_.Ended(actor)) return false;
  }
  return true;
}

ActorId Waits::Self() { return ActorNumber() - 1; }

timespec Waits::Deadline() { return internal::MonotonicDeadline(absl::Hours(1)); }

WaitResult Waits::Wait(const FutexWord& word, uint32_t value, const WaitOptions& options) {
  Lane* const lane = LaneTestPeer::ThisThread();
  const SleepsOn note(lane, word);
  if (lane != nullptr) lane->expects.store(value);
  const timespec* const deadline =
      internal::IsUncancelled(options.deadline) ? nullptr : options.deadline;
  std::vector<FutexExpectation> words;
  if (options.deaths != nullptr) words.emplace_back(lanes_.deaths(), *options.deaths);
  words.emplace_back(word, value);
  for (;;) {
    size_t woken = 0;
    const FutexResult result = internal::FutexWaitAny(words, deadline, woken);
    if (result == FutexResult::kWoken && woken + 1 == words.size()) return WaitResult::kWoken;
    if (word.load() != value) return WaitResult::kChanged;
    if (options.deaths != nullptr && lanes_.deaths().load() != *options.deaths) {
      return WaitResult::kDeath;
    }
    if (result == FutexResult::kTimedOut) return WaitResult::kTimedOut;
  }
}

Report ExploreDeaths(Options options, const std::function<void(Model&)>& build) {
  const int preemptions = options.preemptions + (mp::testing::Stress() ? 1 : 0);
  Report report;
  for (options.kills = 0; options.kills <= 2 && report.Clean(); ++options.kills) {
    options.preemptions = preemptions + 1 - options.kills;
    report = Explore(options, build);
  }
  return report;
}

}  // namespace mp::model

namespace mp::internal {

WaitResult Wait(const FutexWord& word, uint32_t value, const WaitOptions& options) {
  return model::Waits::Current().Wait(word, value, options);
}
// The actors bury by themselves.
bool LookForTheDeadRarely() { return false; }

uint32_t Deaths() { return model::Waits::Current().lanes().deaths().load(); }
uint64_t CountSleepersOn(const FutexWord& word) {
  return model::Waits::Current().lanes().CountOn(word);
}
Lane* LaneForNotes() { return LaneTestPeer::ThisThread(); }

}  // namespace mp::internal
