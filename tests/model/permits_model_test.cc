// Permits, in every order and with deaths at every step: each comes back exactly once.
//
// Each process has a chunk of the table, and of that its first record. No undertaker is sent away:
// one at a time buries, as the process table has it.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "shared/internal/atomic.h"
#include "shared/internal/give_back.h"
#include "shared/internal/holds.h"
#include "shared/internal/object_type.h"
#include "shared/internal/permits.h"
#include "shared/internal/process_table.h"
#include "tests/model/explore.h"
#include "tests/model/hold_test_peer.h"
#include "tests/support/settings.h"

namespace mp::model {
namespace {

using internal::Hold;
using internal::HoldTable;
using internal::ObjectType;
using internal::PermitsHeader;
using internal::ProcessId;
using mp::testing::Stress;
using Peer = internal::HoldTableTestPeer;

constexpr size_t kChunks = 3;
constexpr size_t kObjects = 2;
// So that a round after them has the turns of the one before, as far as a byte has them.
constexpr uint64_t kTurnsBetween = 254;

// Of all that has three actors or more, and of long ways.
int Preemptions(int most) { return Stress() ? most + 1 : most; }

struct State {
  HoldTable table;
  Peer::Chunk chunks[kChunks];
  PermitsHeader objects[kObjects];
  // Who has how many of which, as it knows itself.
  uint64_t has[kChunks + 1][kObjects];
  bool burying;
};

class Scene {
 public:
  Scene(Model& model, uint64_t initial)
      : model_(model), state_(model.Make<State>()), initial_(initial) {
    state_.table.Format(state_.chunks, kChunks * 4);
    Peer::CommitAll(state_.table);
    for (PermitsHeader& object : state_.objects) {
      object.state.store(static_cast<uint64_t>(ObjectType::kSemaphore));
      object.Init(initial);
    }
    model.Always([scene = *this] { return scene.Doubled(); });
    model.Check([scene = *this] { return scene.AtTheEnd(); });
  }

  static ProcessId IdOf(size_t chunk) { return chunk + 1; }

  // A process of the family, whose chunk is that of its number.
  template <typename Body>
  ActorId Process(const char* name, const Body& body) {
    const size_t chunk = processes_++;
    Peer::Owner(state_.table, chunk).store(IdOf(chunk));
    Record(chunk).state.store(Hold::kTaken);
    return model_.Actor(name, [scene = *this, chunk, body] { body(scene, chunk); });
  }
  // One that takes permits without records; it is not killed.
  template <typename Body>
  void Unowned(const char* name, const Body& body) {
    model_.Spare(model_.Actor(name, [scene = *this, body] { body(scene, kChunks); }));
  }
  // Who buries the process when it has ended, once the one before it is done, or dead.
  ActorId Undertaker(const char* name, size_t chunk, ActorId process, ActorId before = -1) {
    return model_.Actor(name, [scene = *this, chunk, process, before] {
      scene.model_.Await("a death", [scene, process, before] {
        return scene.model_.Ended(process) && (before < 0 || scene.model_.Ended(before));
      });
      scene.Bury(chunk);
    });
  }

  void Bury(size_t chunk) const { internal::GiveBackHoldsOf(IdOf(chunk), /*pid=*/0, table()); }

  HoldTable& table() const { return state_.table; }
  PermitsHeader& object(size_t index) const { return state_.objects[index]; }
  Hold& Record(size_t chunk) const { return Peer::FirstOf(state_.table, chunk); }
  Model& model() const { return model_; }

  bool TryAcquire(size_t chunk, size_t index = 0) const {
    if (!object(index).TryAcquire(table(), Record(chunk), false)) return false;
    Have(chunk, index);
    return true;
  }
  void Release(size_t chunk, size_t index = 0) const {
    state_.has[chunk][index] = 0;
    model_.Require(object(index).Release(table(), Record(chunk)), "more than there can be");
  }
  // Acquires, and releases if it could.
  void Round(size_t chunk, size_t index = 0) const {
    if (TryAcquire(chunk, index)) Release(chunk, index);
  }
  void UnownedRound() const {
    if (!object(0).TryAcquire(false)) return;
    Have(kChunks, 0);
    state_.has[kChunks][0] = 0;
    model_.Require(object(0).TryRelease(1), "more than there were");
  }

 private:
  void Have(size_t chunk, size_t index) const { state_.has[chunk][index] = 1; }

  bool Dead(size_t chunk) const {
    return chunk < processes_ && model_.Killed(static_cast<ActorId>(chunk));
  }
  // More are left, and the living's, than there are.
  std::string Doubled() const {
    for (size_t index = 0; index < kObjects; ++index) {
      uint64_t count = object(index).permits().load() & PermitsHeader::kValue;
      const uint64_t left = count;
      for (size_t chunk = 0; chunk <= kChunks; ++chunk) {
        if (!Dead(chunk)) count += state_.has[chunk][index];
      }
      if (count > initial_) {
        return absl::StrCat(left, " are left and ", count - left, " are somebody's, of ", initial_);
      }
    }
    return "";
  }
  std::string AtTheEnd() const {
    for (size_t chunk = 0; chunk < kChunks; ++chunk) Bury(chunk);
    for (size_t index = 0; index < kObjects; ++index) {
      const uint64_t left = object(index).permits().load() & PermitsHeader::kValue;
      const uint64_t held = table().CountOf(object(index));
      if (left != initial_ || held != 0) {
        return absl::StrCat("of ", initial_, ": ", left, " are left, ", held, " are held");
      }
    }
    for (size_t chunk = 0; chunk < kChunks; ++chunk) {
      if (Peer::Owner(table(), chunk).load() != 0) return "a chunk is still the dead's";
      if (Record(chunk).object.load() != 0) return "a record is still of an object";
    }
    return "";
  }

  Model& model_;
  State& state_;
  const uint64_t initial_;
  size_t processes_ = 0;
};

// The processes come first: their numbers are those of their chunks.

TEST(PermitsModelTest, OnePermitIsOneProcesssAndComesBackOnce) {
  const Report report = Explore(
      {.name = "permits: two processes, one permit", .kills = 2, .preemptions = Preemptions(3)},
      [](Model& model) {
        Scene scene(model, 1);
        for (const char* name : {"one", "two"}) {
          scene.Process(name, [](const Scene& its, size_t self) {
            its.Round(self);
            its.Round(self);
          });
        }
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(PermitsModelTest, ThreeProcessesAndTwoPermits) {
  const Report report = Explore(
      {.name = "permits: three processes, two permits", .kills = 2, .preemptions = Preemptions(2)},
      [](Model& model) {
        Scene scene(model, 2);
        for (const char* name : {"one", "two", "three"}) {
          scene.Process(name, [](const Scene& its, size_t self) { its.Round(self); });
        }
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(PermitsModelTest, ABurialMayBeInterruptedWhileOthersGoOn) {
  const Report report = Explore(
      {.name = "permits: burials", .kills = 2, .preemptions = Preemptions(2)}, [](Model& model) {
        Scene scene(model, 1);
        const ActorId dead =
            scene.Process("dies", [](const Scene& its, size_t self) { its.Round(self); });
        scene.Process("goes on", [](const Scene& its, size_t self) {
          its.Round(self);
          its.Round(self);
        });
        const ActorId first = scene.Undertaker("buries", 0, dead);
        scene.Undertaker("buries again", 0, dead, first);
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(PermitsModelTest, WhoHasNoRecordDoesNotDisturbWhoHas) {
  const Report report =
      Explore({.name = "permits: with and without records", .kills = 2}, [](Model& model) {
        Scene scene(model, 1);
        for (const char* name : {"one", "two"}) {
          scene.Process(name, [](const Scene& its, size_t self) { its.Round(self); });
        }
        scene.Unowned("without", [](const Scene& its, size_t) {
          its.UnownedRound();
          its.UnownedRound();
        });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(PermitsModelTest, ARecordGoesFromOneObjectToAnother) {
  const Report report = Explore({.name = "permits: two objects", .kills = 2}, [](Model& model) {
    Scene scene(model, 1);
    for (const size_t first : {0, 1}) {
      scene.Process(first == 0 ? "one" : "two", [first](const Scene& its, size_t self) {
        its.Round(self, first);
        its.Round(self, 1 - first);
      });
    }
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// So that what stands in a count, and what another has seen there, is as it was 256 turns ago.
TEST(PermitsModelTest, ATurnComesAgain) {
  for (const uint64_t between : {kTurnsBetween - 1, kTurnsBetween}) {
    const Report report =
        Explore({.name = "permits: turns", .kills = 1, .preemptions = Preemptions(3)},
                [between](Model& model) {
                  Scene scene(model, 2);
                  scene.Process("turns", [between](const Scene& its, size_t self) {
                    its.Round(self);
                    Peer::Turn(its.Record(self), between);
                    its.Round(self);
                  });
                  scene.Process("other", [](const Scene& its, size_t self) { its.Round(self); });
                });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

TEST(PermitsModelTest, ATurnComesAgainWithAnotherObject) {
  for (const uint64_t between : {kTurnsBetween - 1, kTurnsBetween}) {
    const Report report = Explore(
        {.name = "permits: turns of two objects", .kills = 1, .preemptions = Preemptions(3)},
        [between](Model& model) {
          Scene scene(model, 1);
          scene.Process("turns", [between](const Scene& its, size_t self) {
            its.Round(self, 0);
            Peer::Turn(its.Record(self), between);
            its.Round(self, 1);
          });
          scene.Process("other", [](const Scene& its, size_t self) {
            its.Round(self, 0);
            its.Round(self, 1);
          });
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

// Its chunk is another's as soon as it is free.
TEST(PermitsModelTest, WhatWasTheDeadsIsSomebodyElses) {
  const Report report = Explore(
      {.name = "permits: heirs", .kills = 2, .preemptions = Preemptions(2)}, [](Model& model) {
        Scene scene(model, 1);
        const ActorId dead =
            scene.Process("dies", [](const Scene& its, size_t self) { its.Round(self); });
        scene.Process("heir", [](const Scene& its, size_t self) {
          internal::Word& owner = Peer::Owner(its.table(), 0);
          its.model().Await("a free chunk, or that nobody is left to free it", [&] {
            return owner.load() == 0 || (its.model().Ended(2) && its.model().Ended(3));
          });
          uint64_t nobody = 0;
          if (!owner.compare_exchange_strong(nobody, Scene::IdOf(self))) return;
          Hold& record = its.Record(0);
          uint64_t state = record.state.load();
          its.model().Require((state & (Hold::kTaken - 1)) == 0, "a free record is in use");
          its.model().Require(record.state.compare_exchange_strong(state, state | Hold::kTaken),
                              "somebody else writes a free record");
          for (int i = 0; i < 2; ++i) {
            if (!its.object(0).TryAcquire(its.table(), record, false)) continue;
            its.model().Require(its.table().CountOf(its.object(0)) == 1, "it is not held");
            its.model().Require(its.object(0).Release(its.table(), record),
                                "more than there can be");
          }
        });
        const ActorId first = scene.Undertaker("buries", 0, dead);
        scene.Undertaker("buries again", 0, dead, first);
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
