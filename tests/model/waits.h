// tests/model/waits.h
//
// Waits: in the place of wait.cc, for models of what waits. With the sentry a wait is too much for
// those; handover_model_test has it. Here who waits sleeps on its word, and on the count of deaths
// if it cares for that, until it is woken; and one actor, which is not killed, does for each that
// is what a burial does for sleepers, at some time after its death. Lanes are the library's.
//
//   Waits& waits = model.Make<Waits>(model);
//   waits.Process("waiter", [&] { event.WaitSince(0, nullptr); });
//   model.Actor("setter", [&] { event.Set(); });
//   waits.BuryWhoIsKilled();
//
// An actor that ends is a thread that goes on with something else: it is not buried.

#ifndef MP_TESTS_MODEL_WAITS_H_
#define MP_TESTS_MODEL_WAITS_H_

#include <time.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "shared/internal/futex.h"
#include "shared/internal/holds.h"
#include "shared/internal/lane.h"
#include "shared/internal/process_table.h"
#include "shared/internal/wait.h"
#include "tests/model/explore.h"
#include "tests/model/sleepers.h"

namespace mp::model {

class Waits {
 public:
  static constexpr size_t kMostActors = 6;
  static constexpr size_t kLanes = 3;

  // Nobody has a hold, unless a test gives the table memory.
  explicit Waits(Model& model);
  Waits(Model& model, internal::HoldTable& holds);

  // A process with a thread that has a lane. Who does not sleep need not be one.
  ActorId Process(std::string_view name, std::function<void()> body);
  // The last of the actors.
  void BuryWhoIsKilled();
  // In its place: one that may be killed, and buries `dead` when that one has ended, or was killed,
  // and so has the one before.
  ActorId Undertaker(std::string_view name, ActorId dead, ActorId before = -1);

  static internal::ProcessId IdOf(ActorId actor) { return static_cast<uint64_t>(actor) + 1; }
  // Of the actor that runs.
  static ActorId Self();
  // Far away: it is come to where the exploration allows for a timeout.
  static timespec Deadline();

  internal::HoldTable& holds() { return holds_; }

  // In the place of wait.cc ------------------------------------------------------------------

  static Waits& Current() { return *current_; }
  internal::LaneTable& lanes() { return lanes_; }
  internal::WaitResult Wait(const internal::FutexWord& word, uint32_t value,
                            const internal::WaitOptions& options);

 private:
  // Killed, and not yet buried; -1: nobody.
  ActorId NextToBury() const;
  bool AllOthersHaveEnded() const;
  void Bury(ActorId dead);

  static Waits* current_;

  Model& model_;
  Sleepers& sleepers_;
  internal::HoldTable& holds_;
  internal::LaneTable lanes_;
  std::array<internal::Lane, kLanes> lane_memory_;
  std::array<uint64_t, kMostActors> buried_ = {};
};

// Explores with no more than options.preemptions and one death; with one preemption more, and none;
// and with one less, and two. The long version has one more of them in each. Returns the first
// failure.
Report ExploreDeaths(Options options, const std::function<void(Model&)>& build);

}  // namespace mp::model

#endif  // MP_TESTS_MODEL_WAITS_H_
