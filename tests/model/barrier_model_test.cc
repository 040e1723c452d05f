// A barrier, in every order and with deaths at every step: a round is complete for all who have
// come in it or for none, and a dead one that has come is not waited for.
//
// Each process has a chunk of the table of holds, and of that its first record. Nobody sleeps: who
// waits looks when something has changed.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "shared/internal/atomic.h"
#include "shared/internal/barrier_header.h"
#include "shared/internal/give_back.h"
#include "shared/internal/holds.h"
#include "shared/internal/object_type.h"
#include "shared/internal/process_table.h"
#include "tests/model/explore.h"
#include "tests/model/hold_test_peer.h"
#include "tests/support/settings.h"

namespace mp::model {
namespace {

using internal::BarrierHeader;
using internal::Hold;
using internal::HoldTable;
using internal::ObjectType;
using internal::ProcessId;
using mp::testing::Stress;
using Arrival = BarrierHeader::Arrival;
using Cause = BarrierHeader::Cause;
using Outcome = BarrierHeader::Outcome;
using Peer = internal::HoldTableTestPeer;

constexpr size_t kChunks = 4;
constexpr size_t kRounds = 4;

int Preemptions(int most) { return Stress() ? most + 1 : most; }

struct State {
  HoldTable table;
  Peer::Chunk chunks[kChunks];
  BarrierHeader barrier;
  // What those who were in a round were told.
  uint64_t complete[kRounds];
  uint64_t broken[kRounds];
  uint64_t indexes[kRounds];  // a bit each
  uint64_t acted[kRounds];
  uint64_t reset[kChunks];  // behind the round of whose reset the process was told last
};

// kNobodyCame: it has broken the round itself, when nobody was left who could do anything; and was
// the only one who had come, or not.
enum class Told { kComplete, kBroken, kNobodyCame, kDeadOneCame };

class Scene {
 public:
  Scene(Model& model, uint64_t parties, bool has_action = false)
      : model_(model), state_(model.Make<State>()) {
    state_.table.Format(state_.chunks, kChunks * 4);
    Peer::CommitAll(state_.table);
    barrier().state.store(static_cast<uint64_t>(ObjectType::kBarrier));
    barrier().Init(parties, BarrierHeader::kForEver, has_action);
    model.Always([scene = *this] { return scene.Mixed(); });
    model.Check([scene = *this] { return scene.AtTheEnd(); });
  }

  static ProcessId IdOf(size_t chunk) { return chunk + 1; }
  static pid_t PidOf(size_t chunk) { return static_cast<pid_t>(100 + chunk); }

  // A process of the family, whose chunk is that of its number.
  template <typename Body>
  ActorId Process(const char* name, const Body& body) {
    const size_t chunk = processes_++;
    Peer::Owner(state_.table, chunk).store(IdOf(chunk));
    Peer::FirstOf(state_.table, chunk).state.store(Hold::kTaken);
    return model_.Actor(name, [scene = *this, chunk, body] { body(scene, chunk); });
  }
  // Who buries it when it has ended, or was killed, and so has the one before.
  ActorId Undertaker(const char* name, size_t chunk, ActorId process, ActorId before = -1) {
    return model_.Actor(name, [scene = *this, chunk, process, before] {
      scene.model_.Await("a death", [scene, process, before] {
        return scene.model_.Ended(process) && (before < 0 || scene.model_.Ended(before));
      });
      internal::GiveBackHoldsOf(IdOf(chunk), PidOf(chunk), scene.state_.table);
    });
  }

  // One Wait(). `nobody`: that nobody who could come, break or bury is left.
  template <typename Nobody>
  Told Wait(size_t chunk, bool can_act, const Nobody& nobody) const {
    BarrierHeader::Place place = {Peer::FirstOf(state_.table, chunk)};
    const Told told = WaitIn(place, can_act, nobody);
    const bool by_reset = barrier().WhyBroken(place.round).cause == Cause::kReset;
    if (told == Told::kBroken && by_reset) {
      model_.Require(state_.reset[chunk] != place.round + 1, "one is told of a reset twice");
      state_.reset[chunk] = place.round + 1;
    }
    place.hold.End(/*held=*/false);
    return told;
  }

  BarrierHeader& barrier() const { return state_.barrier; }
  HoldTable& table() const { return state_.table; }
  Model& model() const { return model_; }

 private:
  template <typename Nobody>
  Told WaitIn(BarrierHeader::Place& place, bool can_act, const Nobody& nobody) const {
    for (;;) {
      switch (barrier().Arrive(table(), place, can_act, /*trusts=*/true)) {
        case Arrival::kLast:
          return Complete(place);
        case Arrival::kBroken:
          return Told::kBroken;
        case Arrival::kActs:
          if (can_act) return Act(place, can_act);
          if (!barrier().Hand(table(), place.round)) {
            barrier().BreakRound(place.round, {Cause::kNoAction, 0});
          }
          return WaitForOthers(place, can_act, nobody);
        case Arrival::kWaits:
          return WaitForOthers(place, can_act, nobody);
        case Arrival::kUnknown:
        case Arrival::kSuspect:
          model_.Require(false, "who trusts the others does not look at them");
          break;
        case Arrival::kLater:
          model_.Await("the end of a round", [&] {
            return (barrier().Now() & BarrierHeader::kRound) != place.round ||
                   (barrier().Now() & BarrierHeader::kActing) == 0 || nobody();
          });
          if ((model_.Look("nobody", [&] { return uint64_t{nobody()}; })) != 0) {
            return Told::kNobodyCame;
          }
          break;
      }
    }
  }
  template <typename Nobody>
  Told WaitForOthers(const BarrierHeader::Place& place, bool can_act, const Nobody& nobody) const {
    model_.Await("the others", [&] {
      return BarrierHeader::LookAt(barrier().Now(), place) != Outcome::kPending || nobody();
    });
    for (;;) {
      switch (barrier().Look(place)) {
        case Outcome::kComplete:
          return Complete(place);
        case Outcome::kBroken:
          ++state_.broken[RoundOf(place)];
          return Told::kBroken;
        case Outcome::kChosen:
          return Act(place, can_act);
        case Outcome::kPending:
          break;
      }
      const uint64_t arrived = barrier().Now() >> BarrierHeader::kArrivedShift;
      if (!barrier().BreakRound(place.round, {Cause::kTimeout, 0})) continue;
      ++state_.broken[RoundOf(place)];
      return arrived > 1 ? Told::kDeadOneCame : Told::kNobodyCame;
    }
  }
  Told Act(const BarrierHeader::Place& place, bool can_act) const {
    model_.Require(can_act, "one is to run the action that has not got it");
    ++state_.acted[RoundOf(place)];
    if (barrier().Complete(place.round)) return Complete(place);
    ++state_.broken[RoundOf(place)];
    return Told::kBroken;
  }
  Told Complete(const BarrierHeader::Place& place) const {
    const uint64_t bit = uint64_t{1} << place.index;
    model_.Require((state_.indexes[RoundOf(place)] & bit) == 0, "two have one index");
    model_.Require(place.index < barrier().parties(), "an index beyond the parties");
    state_.indexes[RoundOf(place)] |= bit;
    ++state_.complete[RoundOf(place)];
    return Told::kComplete;
  }
  static uint64_t RoundOf(const BarrierHeader::Place& place) {
    return place.round / BarrierHeader::kOneRound % kRounds;
  }

  std::string Mixed() const {
    for (size_t round = 0; round < kRounds; ++round) {
      if (state_.complete[round] != 0 && state_.broken[round] != 0) {
        return absl::StrCat("round ", round, " is complete for one and broken for another");
      }
      if (state_.acted[round] > 1) return absl::StrCat("round ", round, " has acted twice");
      if (state_.complete[round] > barrier().parties()) {
        return absl::StrCat("round ", round, " is complete for more than there are parties");
      }
      if (barrier().has_action() && state_.complete[round] != 0 && state_.acted[round] == 0) {
        return absl::StrCat("round ", round, " is complete without its action");
      }
    }
    return "";
  }
  bool AnyKilled() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (model_.Killed(actor)) return true;
    }
    return false;
  }
  std::string AtTheEnd() const {
    for (size_t round = 0; round < kRounds && !AnyKilled(); ++round) {
      if (state_.complete[round] != 0 && state_.complete[round] != barrier().parties()) {
        return absl::StrCat("round ", round, " is complete for some of its parties only");
      }
    }
    for (size_t chunk = 0; chunk < kChunks; ++chunk) {
      internal::GiveBackHoldsOf(IdOf(chunk), PidOf(chunk), table());
    }
    const uint64_t now = barrier().Now();
    if ((now & BarrierHeader::kBroken) == 0 && now >> BarrierHeader::kArrivedShift != 0) {
      return "somebody is counted who is gone";
    }
    barrier().Reset(table(), 0);
    if ((barrier().Now() & ~BarrierHeader::kRound) != 0) return "a reset barrier is not as new";
    return table().CountOf(barrier()) == 0 ? "" : "a place is still held";
  }

  Model& model_;
  State& state_;
  size_t processes_ = 0;
};

TEST(BarrierModelTest, EachRoundIsCompleteForAll) {
  const Report report =
      Explore({.name = "barrier: two parties, two rounds", .preemptions = Preemptions(3)},
              [](Model& model) {
                Scene scene(model, 2);
                for (const char* name : {"one", "two"}) {
                  scene.Process(name, [](const Scene& its, size_t self) {
                    for (int i = 0; i < 2; ++i) {
                      const Told told = its.Wait(self, false, [] { return false; });
                      its.model().Require(told == Told::kComplete, "a round is not complete");
                    }
                  });
                }
              });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// The third one never comes.
TEST(BarrierModelTest, TheRoundOfADeadOneIsBroken) {
  const Report report = Explore(
      {.name = "barrier: a death", .kills = 2, .preemptions = Preemptions(3)}, [](Model& model) {
        Scene scene(model, 3);
        scene.Process("one", [](const Scene& its, size_t self) {
          // Its time may be over as soon as it waits.
          its.Wait(self, false, [] { return true; });
        });
        model.Spare(scene.Process("two", [](const Scene& its, size_t self) {
          auto alone = [&its] {
            return its.model().Ended(0) && its.model().Ended(2) && its.model().Ended(3);
          };
          its.model().Require(its.Wait(self, false, alone) != Told::kDeadOneCame,
                              "a dead one that has come is waited for");
        }));
        // The second looks when the first is done, or dead.
        const ActorId first = scene.Undertaker("buries", 0, 0);
        model.Spare(scene.Undertaker("buries again", 0, 0, first));
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// By the burial of one who was in a round that is long over.
TEST(BarrierModelTest, WhatBrokeALaterRoundStays) {
  BarrierHeader barrier;
  barrier.Init(2, BarrierHeader::kForEver, /*has_action=*/false);
  ASSERT_TRUE(barrier.Complete(0));
  const uint64_t round = barrier.Now() & BarrierHeader::kRound;
  ASSERT_TRUE(barrier.BreakRound(round, {Cause::kTimeout, 7}));
  EXPECT_FALSE(barrier.BreakRound(0, {Cause::kDeath, 8}));
  EXPECT_EQ(barrier.WhyBroken(round).cause, Cause::kTimeout);
  EXPECT_EQ(barrier.WhyBroken(round).pid, 7);
}

TEST(BarrierModelTest, AResetIsToldToThoseWhoWaited) {
  const Report report = Explore(
      {.name = "barrier: a reset", .kills = 1, .preemptions = Preemptions(2)}, [](Model& model) {
        Scene scene(model, 2);
        for (const char* name : {"one", "two"}) {
          scene.Process(name, [](const Scene& its, size_t self) {
            const ActorId other = self == 0 ? 1 : 0;
            auto alone = [&its, other] { return its.model().Ended(other) && its.model().Ended(2); };
            for (int i = 0; i < 2; ++i) {
              its.Wait(self, false, alone);
            }
          });
        }
        scene.Process("resets", [](const Scene& its, size_t) {
          its.barrier().Reset(its.table(), 1);
          its.barrier().Reset(its.table(), 1);
        });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Also where who resets dies in between.
TEST(BarrierModelTest, AnAbortOutlastsAResetThatIsNotDone) {
  const Report report = Explore(
      {.name = "barrier: an abort after a reset", .kills = 1, .preemptions = Preemptions(2)},
      [](Model& model) {
        Scene scene(model, 2);
        model.Spare(scene.Process("waits", [](const Scene& its, size_t self) {
          auto alone = [&its] { return its.model().Ended(2); };
          for (int i = 0; i < 2; ++i) its.Wait(self, false, alone);
        }));
        scene.Process("resets",
                      [](const Scene& its, size_t) { its.barrier().Reset(its.table(), 1); });
        model.Spare(scene.Process("aborts", [](const Scene& its, size_t) {
          its.model().Await("the reset", [&its] { return its.model().Ended(1); });
          its.barrier().Abort(2);
          its.model().Require(BarrierHeader::IsBroken(its.barrier().Now()),
                              "an aborted barrier is not broken");
        }));
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(BarrierModelTest, TheActionIsRunOnceByOneWhoHasIt) {
  for (const size_t actor : {0, 1}) {
    const Report report =
        Explore({.name = "barrier: an action", .kills = 1, .preemptions = Preemptions(2)},
                [actor](Model& model) {
                  Scene scene(model, 2, /*has_action=*/true);
                  for (const char* name : {"one", "two"}) {
                    scene.Process(name, [actor](const Scene& its, size_t self) {
                      const ActorId other = self == 0 ? 1 : 0;
                      const ActorId burial = other + 2;
                      auto alone = [&its, other, burial] {
                        return its.model().Ended(other) && its.model().Ended(burial);
                      };
                      const Told told = its.Wait(self, /*can_act=*/self == actor, alone);
                      const bool died = its.model().Look("deaths", [&] {
                        return uint64_t{its.model().Killed(other)};
                      }) != 0;
                      its.model().Require(told == Told::kComplete || died,
                                          "a round without a death is not complete");
                    });
                  }
                  scene.Undertaker("buries one", 0, 0);
                  scene.Undertaker("buries two", 1, 1);
                });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

TEST(BarrierModelTest, OneTooManyWaitsForTheNextRound) {
  const Report report = Explore(
      {.name = "barrier: three come to two", .preemptions = Preemptions(2)}, [](Model& model) {
        Scene scene(model, 2, /*has_action=*/true);
        for (const char* name : {"one", "two", "three"}) {
          scene.Process(name, [](const Scene& its, size_t self) {
            auto alone = [&its, self] {
              for (int other = 0; other < 3; ++other) {
                if (other != static_cast<int>(self) && !its.model().Ended(other)) {
                  return false;
                }
              }
              return true;
            };
            its.Wait(self, /*can_act=*/true, alone);
          });
        }
        model.Check([scene] {
          return scene.barrier().Now() >> BarrierHeader::kArrivedShift <= 1
                     ? ""
                     : "two wait in a round of two";
        });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Only one of three has the action: the other two may be the ones who come, while it is about to.
TEST(BarrierModelTest, OneTooManyIsNotChosenToAct) {
  for (const size_t actor : {0, 2}) {
    const Report report =
        Explore({.name = "barrier: three come to two, one can act", .preemptions = Preemptions(2)},
                [actor](Model& model) {
                  Scene scene(model, 2, /*has_action=*/true);
                  for (const char* name : {"one", "two", "three"}) {
                    scene.Process(name, [actor](const Scene& its, size_t self) {
                      auto alone = [&its, self] {
                        for (int other = 0; other < 3; ++other) {
                          if (other != static_cast<int>(self) && !its.model().Ended(other)) {
                            return false;
                          }
                        }
                        return true;
                      };
                      its.Wait(self, /*can_act=*/self == actor, alone);
                    });
                  }
                });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

}  // namespace
}  // namespace mp::model
