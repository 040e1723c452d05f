// The sentry's hand-over, in every order and with deaths at every step: who sleeps is woken, by
// whom it was to be, by the burial of that one, or by the death of the sentry that it slept beside.
//
// Waits, lanes, the sentry and burial are the library's. Nobody has anything in the heap. Somebody
// has looked at all processes just now, and the clock stands still: what is found is found at the
// lanes. The first nap of a wait may end at any time, a later sleep only where a test allows it.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "shared/heap.h"
#include "shared/internal/burial.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/process_table.h"
#include "shared/internal/sentry_post.h"
#include "shared/internal/stakes.h"
#include "shared/internal/wait.h"
#include "shared/internal/waiter.h"
#include "shared/owner.h"
#include "tests/model/explore.h"
#include "tests/model/lane_test_peer.h"
#include "tests/model/sleepers.h"
#include "tests/model/step.h"
#include "tests/support/settings.h"

namespace mp::internal {

struct ProcessTableTestPeer {
  // All slots have memory, and there are few: every look at the table is short.
  static void CommitAll(ProcessTable& table) { table.committed_.store(table.slot_count_); }
};

}  // namespace mp::internal

namespace mp::model {
namespace {

using internal::DomainHeader;
using internal::Evidence;
using internal::FutexWord;
using internal::HoldTable;
using internal::Lane;
using internal::LaneTable;
using internal::LaneTestPeer;
using internal::ProcessId;
using internal::ProcessTable;
using internal::ProcessTableTestPeer;
using internal::SentryPost;
using internal::SleepsOn;
using internal::Stakes;
using internal::Undertaker;
using internal::Waiter;
using internal::WaitOptions;
using internal::WaitResult;
using mp::testing::Stress;
using Kind = ProcessTable::Kind;

constexpr uint32_t kSlots = 6;  // slot 0 is nobody's
constexpr uint32_t kLanes = 4;
constexpr int kMostActors = 5;
constexpr int64_t kNow = 1'000'000;  // in milliseconds, as the clock stands

class Family {
 public:
  explicit Family(Model& model) : model_(model), sleepers_(model.Make<Sleepers>()) {
    table_.Format(&slots_, kSlots);
    ProcessTableTestPeer::CommitAll(table_);
    stakes_.Format();
    lanes_.Format(&lane_memory_, kLanes, reinterpret_cast<uint64_t>(this), sizeof(*this));
    LaneTestPeer::CommitAll(lanes_);
    post_.Format();
    post_.looked.store(kNow);
    last_ = *table_.ClaimForSelf(false);
    model.PerActor(LaneTestPeer::ThisThread());
    model.Always([this] { return Broken(); });
    model.Check([this] { return AtTheEnd(); });
  }

  // A process that is LIVE when all begins, without a lane and with one. Its end is as a kill.
  ActorId Newcomer(const char* name, std::function<void()> body) {
    const ActorId actor = model_.Actor(name, std::move(body));
    model_.As(actor, [this, actor] { live_[actor] = *table_.ClaimForSelf(false); });
    return actor;
  }
  ActorId Process(const char* name, std::function<void()> body) {
    const ActorId actor = Newcomer(name, std::move(body));
    model_.As(actor, [this] { ClaimLane(); });
    return actor;
  }
  ActorId Mortal() {
    return Process("mortal", [this] { model_.Await("end", [] { return true; }); });
  }
  // One who changes the words that `actor` was to change, and was killed before: others wait for
  // it.
  void InPlaceOf(ActorId actor) {
    model_.Spare(model_.Actor("deputy", [this, actor] {
      model_.Await("wait for an end", [this, actor] { return model_.Ended(actor); });
      deputy_owes_ = 1;
      for (FutexWord* changed : {&word, &later, &last}) {
        uint32_t before = 0;
        if (changed->compare_exchange_strong(before, 1)) {
          internal::FutexWake(*changed, internal::kWakeAll);
        }
      }
      deputy_owes_ = 0;
    }));
  }

  // By actors --------------------------------------------------------------------------

  void ClaimLane() {
    model_.Require(OwnLane() != nullptr, "no lane is free");
    has_lane_[Self()] = 1;
  }
  void AwaitChange(FutexWord& word) {
    notes_[Self()] = 1;
    while (word.load() == 0) internal::Wait(word, 0, {.spin = false});
    notes_[Self()] = 0;
  }
  // The same, where each one wakes the next.
  void AwaitChangeAndPassOn() {
    notes_[Self()] = 1;
    {
      const SleepsOn note(OwnLane(), word);
      while (word.load() == 0) internal::Wait(word, 0, {.spin = false});
      internal::FutexWake(word, 1);
    }
    notes_[Self()] = 0;
  }
  void AwaitDeathOf(ActorId actor) {
    notes_[Self()] = 1;
    for (;;) {
      const uint32_t deaths = internal::Deaths();
      const Kind kind = table_.Find(live_[actor]).kind;
      if (kind == Kind::kFree || kind == Kind::kDead) break;
      internal::Wait(never_, 0, {.deaths = &deaths, .spin = false});
    }
    notes_[Self()] = 0;
  }
  void Change(FutexWord& word, int count) {
    changes_[Self()] = 1;
    word.store(1);
    internal::FutexWake(word, count);
    changes_[Self()] = 0;
  }

  void Join(ActorId actor) {
    model_.Await("wait for an end", [this, actor] { return model_.Ended(actor); });
    By(live_[Self()]).Bury(live_[actor]);
  }

  // In the place of wait.cc ------------------------------------------------------------------

  WaitResult Wait(const FutexWord& word, uint32_t value, const WaitOptions& options) {
    const Waiter waiter(word, value, options, lanes_, post_);
    if (const Waiter::Result seen = waiter.LookAndSpin(); seen.has_value()) return *seen;
    return waiter.Sleep(By(live_[Self()]));
  }
  uint32_t Deaths() { return lanes_.deaths().load(); }
  Lane* OwnLane() { return lanes_.OfThisThread(live_[Self()]); }

  FutexWord word = 0;
  // Of one that changes more than that.
  FutexWord later = 0;
  FutexWord last = 0;
  static Family* current;

 private:
  static ActorId Self() { return ActorNumber() - 1; }

  static Heap& NoHeap() {
    alignas(Heap) static unsigned char place[sizeof(Heap)];
    return *reinterpret_cast<Heap*>(place);
  }
  Undertaker By(ProcessId self) {
    return {domain_, table_, NoHeap(), stakes_, lanes_, holds_, self};
  }

  bool Lives(ActorId actor) const { return live_[actor] != 0 && !model_.Ended(actor); }
  ActorId ActorOf(ProcessId id) const {
    for (ActorId actor = 0; actor < kMostActors; ++actor) {
      if (live_[actor] == id) return actor;
    }
    return -1;
  }
  bool IsIn(ActorId actor, const FutexWord& word) const { return sleepers_.IsIn(actor + 1, &word); }
  // On all that it sleeps on: its own word is the last.
  bool IsAsleep(ActorId actor) const {
    return Lives(actor) && sleepers_.IsAsleep(actor + 1) &&
           (IsIn(actor, word) || IsIn(actor, later) || IsIn(actor, last) || IsIn(actor, never_));
  }

  // What holds after every step.
  std::string Broken() const {
    for (const Lane& lane : lane_memory_) {
      const ProcessId process = lane.process.load();
      if (process == 0) continue;
      const ActorId actor = ActorOf(process);
      if (!Lives(actor)) continue;
      if (lane.alive.HolderTid() != actor + 1) return "L1: a lane is not held by its thread";
      if (notes_[actor] == 0 && HasNotes(lane)) return "L2: a lane has notes of another's";
    }
    if (word.load() != 0 && !IsOwed()) {
      for (ActorId actor = 0; actor < kMostActors; ++actor) {
        if (IsAsleep(actor) && IsIn(actor, word)) return "nobody owes a sleeper its wake";
      }
    }
    return WatchIsBroken();
  }

  static bool HasNotes(const Lane& lane) { return lane.SleepsOn() != 0 || lane.cancel.load() != 0; }
  // Whether one who is awake, or dead and not buried, is to wake who sleeps on the word.
  bool IsOwed() const {
    if (deputy_owes_ != 0) return true;
    for (ActorId actor = 0; actor < kMostActors; ++actor) {
      if (live_[actor] == 0) continue;
      if (!Lives(actor) && table_.Find(live_[actor]).kind != Kind::kFree) return true;
      if (Lives(actor) && !IsAsleep(actor) && (changes_[actor] != 0 || notes_[actor] != 0)) {
        return true;
      }
    }
    return false;
  }

  // Who sleeps on lanes has the duty; and sleeps on those of all others.
  std::string WatchIsBroken() const {
    const ActorId sentry = post_.duty.HolderTid() - 1;
    for (const Lane& lane : lane_memory_) {
      for (ActorId actor = 0; actor < kMostActors; ++actor) {
        if (Lives(actor) && actor != sentry && IsIn(actor, lane.alive.word())) {
          return "there are two sentries";
        }
      }
      if (sentry < 0 || !IsAsleep(sentry)) continue;
      const ProcessId process = lane.process.load();
      const ActorId actor = process == 0 ? -1 : ActorOf(process);
      if (actor < 0 || actor == sentry || !Lives(actor) || has_lane_[actor] == 0) continue;
      if (!IsIn(sentry, lane.alive.word())) return "S1: the sentry sleeps, and not on all lanes";
    }
    return "";
  }

  // All are dead now. One that comes then buries them, and nothing is left.
  std::string AtTheEnd() {
    for (uint32_t i = 0; i < kSlots; ++i) By(last_).BuryTheDead(Evidence::kThorough);
    for (const ProcessId id : live_) {
      if (id != 0 && table_.Find(id).kind != Kind::kFree) return "somebody is not buried";
    }
    for (const Lane& lane : lane_memory_) {
      if (lane.process.load() != 0) return "a lane is lost";
    }
    if (absl::Status status = lanes_.Check(table_); !status.ok()) {
      return std::string(status.message());
    }
    return std::string(table_.Check().message());
  }

  Model& model_;
  Sleepers& sleepers_;
  ProcessTable table_;
  std::array<ProcessTable::Slot, kSlots> slots_;
  DomainHeader domain_ = {};
  Stakes stakes_;
  LaneTable lanes_;
  HoldTable holds_ = {};
  std::array<Lane, kLanes> lane_memory_;
  SentryPost post_;
  FutexWord never_ = 0;
  ProcessId last_ = 0;  // who comes when all are dead
  // What is so, whatever the tables say.
  std::array<ProcessId, kMostActors> live_ = {};     // of actors that were LIVE from the beginning
  std::array<uint64_t, kMostActors> has_lane_ = {};  // it has claimed one
  std::array<uint64_t, kMostActors> notes_ = {};     // its lane may say something
  std::array<uint64_t, kMostActors> changes_ = {};   // it changes a word, or has yet to wake
  uint64_t deputy_owes_ = 0;
};

Family* Family::current = nullptr;

Family& MakeFamily(Model& model) {
  Family::current = &model.Make<Family>(model);
  return *Family::current;
}

}  // namespace
}  // namespace mp::model

namespace mp::internal {

WaitResult Wait(const FutexWord& word, uint32_t value, const WaitOptions& options) {
  return model::Family::current->Wait(word, value, options);
}
uint32_t Deaths() { return model::Family::current->Deaths(); }
Lane* LaneForNotes() { return model::Family::current->OwnLane(); }

}  // namespace mp::internal

namespace mp {

// Nobody has used it.
bool Heap::FreeOwnedByUntil(const timespec*, Owner, absl::Span<const void* const>, Owner) {
  return true;
}
bool Heap::ForEachBlockUntil(const timespec*, absl::FunctionRef<void(const Block&)>) {
  return true;
}
Heap::Block Heap::Find(const void*) const { return {}; }
bool Heap::ChangeOwner(void*, Owner, Owner) { return false; }

}  // namespace mp

namespace mp::model {
namespace {

// Some of these have too many schedules; the long version has more of them.
int Preemptions(int usual, int under_stress) { return Stress() ? under_stress : usual; }

// A death is told to who sleeps, whoever else of them dies; and naps may end.
TEST(HandoverModelTest, ADeathIsTold) {
  for (const int timeouts : {0, 1}) {
    const Report report =
        Explore({.name = "handover: a death",
                 .kills = Stress() ? 2 : 1,
                 .timeouts = Stress() ? 2 * timeouts : timeouts,
                 .preemptions = timeouts == 0 ? Preemptions(2, 4) : Preemptions(1, 3)},
                [](Model& model) {
                  Family& family = MakeFamily(model);
                  const ActorId mortal = family.Mortal();
                  for (const char* name : {"first", "second"}) {
                    family.Process(name, [&family, mortal] { family.AwaitDeathOf(mortal); });
                  }
                });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

// A lane that is claimed while the sentry looks, or is about to sleep, is watched, too.
TEST(HandoverModelTest, ANewcomersDeathIsTold) {
  const Report report = Explore(
      {.name = "handover: a newcomer", .kills = 1, .preemptions = Preemptions(1, 3)},
      [](Model& model) {
        Family& family = MakeFamily(model);
        const ActorId newcomer = family.Newcomer("newcomer", [&family] { family.ClaimLane(); });
        // Before it has a lane nobody is told of its death.
        model.Spare(newcomer);
        for (const char* name : {"first", "second"}) {
          family.Process(name, [&family, newcomer] { family.AwaitDeathOf(newcomer); });
        }
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(HandoverModelTest, WhoIsOwedAWakeGetsIt) {
  const Report report = Explore(
      {.name = "handover: a debt", .kills = 2, .preemptions = Preemptions(1, 2)}, [](Model& model) {
        Family& family = MakeFamily(model);
        const ActorId debtor =
            family.Process("debtor", [&family] { family.Change(family.word, internal::kWakeAll); });
        family.InPlaceOf(debtor);
        for (const char* name : {"first", "second"}) {
          family.Process(name, [&family] { family.AwaitChange(family.word); });
        }
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(HandoverModelTest, AWokenSleeperThatDiesPassesItOn) {
  const Report report = Explore(
      {.name = "handover: a wake that is passed on", .kills = 2, .preemptions = Preemptions(1, 2)},
      [](Model& model) {
        Family& family = MakeFamily(model);
        const ActorId debtor =
            family.Process("debtor", [&family] { family.Change(family.word, 1); });
        family.InPlaceOf(debtor);
        for (const char* name : {"first", "second"}) {
          family.Process(name, [&family] { family.AwaitChangeAndPassOn(); });
        }
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// One whose wait is over while the other's is not.
TEST(HandoverModelTest, ASentryThatLeavesHandsTheDutyOn) {
  const Report report = Explore(
      {.name = "handover: a sentry that leaves", .kills = 1, .preemptions = Preemptions(1, 3)},
      [](Model& model) {
        Family& family = MakeFamily(model);
        const ActorId mortal =
            family.Process("mortal", [&family] { family.Change(family.word, internal::kWakeAll); });
        family.InPlaceOf(mortal);
        family.Process("first", [&family] { family.AwaitChange(family.word); });
        family.Process("second", [&family, mortal] { family.AwaitDeathOf(mortal); });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// And so does the one that follows it, whether it has the duty or is woken for all at once. The
// third needs somebody to see to what it is owed.
TEST(HandoverModelTest, ASuccessorThatLeavesHandsTheDutyOn) {
  const Report report = Explore(
      {.name = "handover: a successor that leaves", .kills = 1, .preemptions = Preemptions(0, 1)},
      [](Model& model) {
        Family& family = MakeFamily(model);
        const ActorId debtor = family.Process("debtor", [&family] {
          for (FutexWord* word : {&family.word, &family.later, &family.last}) {
            family.Change(*word, internal::kWakeAll);
          }
        });
        family.InPlaceOf(debtor);
        for (FutexWord* word : {&family.word, &family.later, &family.last}) {
          model.Spare(family.Process("sleeper", [&family, word] { family.AwaitChange(*word); }));
        }
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// The same where it is not a sentry that buries.
TEST(HandoverModelTest, WhoeverBuriesADebtorPaysItsDebt) {
  const Report report = Explore(
      {.name = "handover: a debt that others pay", .kills = 1, .preemptions = Preemptions(2, 3)},
      [](Model& model) {
        Family& family = MakeFamily(model);
        const ActorId debtor =
            family.Process("debtor", [&family] { family.Change(family.word, internal::kWakeAll); });
        family.InPlaceOf(debtor);
        family.Newcomer("joiner", [&family, debtor] { family.Join(debtor); });
        family.Process("first", [&family] { family.AwaitChange(family.word); });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Where a sentry and its successor die in a row the third has to wait for the end of a nap; that
// is enough.
TEST(HandoverModelTest, ASentryAndItsSuccessorMayDie) {
  for (const bool nap : {false, true}) {
    const Report report =
        Explore({.name = "handover: a sentry and its successor",
                 .kills = 2,
                 .last_resorts = nap ? 1 : 0,
                 .preemptions = Preemptions(0, 1)},
                [](Model& model) {
                  Family& family = MakeFamily(model);
                  const ActorId mortal = family.Mortal();
                  model.Spare(mortal);
                  for (const char* name : {"first", "second", "third"}) {
                    family.Process(name, [&family, mortal] { family.AwaitDeathOf(mortal); });
                  }
                });
    EXPECT_EQ(report.Clean(), nap) << report.Summary();
  }
}

}  // namespace
}  // namespace mp::model
