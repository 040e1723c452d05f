// The table of processes and burial, in every order and with deaths at every step: a fork against
// the burial of who forks, and undertakers against one another.
//
// The heap is a stand-in: a process that has used it has nothing there, but who frees that has to
// be the only one to bury it.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "shared/heap.h"
#include "shared/internal/burial.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/lane.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/stakes.h"
#include "shared/owner.h"
#include "tests/model/explore.h"
#include "tests/support/settings.h"

namespace mp::internal {

struct ProcessTableTestPeer {
  // All slots have memory, and there are few: every look at the table is short.
  static void CommitAll(ProcessTable& table) { table.committed_.store(table.slot_count_); }
  static uint64_t StateOf(const ProcessTable& table, uint32_t index) {
    return table.slots_[index].state.load();
  }
};

}  // namespace mp::internal

namespace mp::model {
namespace {

using internal::DomainHeader;
using internal::Evidence;
using internal::HoldTable;
using internal::LaneTable;
using internal::ProcessId;
using internal::ProcessTable;
using internal::ProcessTableTestPeer;
using internal::Stakes;
using internal::Undertaker;
using mp::testing::Stress;
using Kind = ProcessTable::Kind;

constexpr uint32_t kSlots = 7;  // slot 0 is nobody's
constexpr int kMostActors = 8;

// Of a slot's state, as its layout says.
Kind KindOf(uint64_t state) { return static_cast<Kind>(state & 7); }
uint64_t ActorOf(uint64_t state) { return state >> 3 & 0xffff; }
uint64_t GenerationOf(uint64_t state) { return state >> 19; }

class Family {
 public:
  explicit Family(Model& model) : model_(model) {
    table_.Format(&slots_, kSlots);
    ProcessTableTestPeer::CommitAll(table_);
    stakes_.Format();
    last_ = *table_.ClaimForSelf(false);
    model.Always([this] { return Broken(); });
    model.Check([this] { return AtTheEnd(); });
  }

  // A process of the family; it is LIVE when all begins, and may have used the heap.
  ActorId Process(const char* name, std::function<void(ProcessId self)> body) {
    const ActorId actor = model_.Actor(
        name, [this, actor = model_.Actors(), body = std::move(body)] { body(live_[actor]); });
    model_.As(actor, [this, actor] { live_[actor] = *table_.ClaimForSelf(false); });
    table_.SetFlag(live_[actor], ProcessTable::kUsedHeap);
    return actor;
  }

  // A process that forks once, as Domain's handlers of fork have it.
  void Fork(ProcessId self) {
    table_.SetFlag(self, ProcessTable::kActed);
    const absl::StatusOr<ProcessId> id = table_.ClaimForChild(self);
    model_.Require(id.ok(), "no slot is free");
    claimed_ = *id;
    child_ = model_.Actor("child", [this, id = *id] {
      model_.Require(table_.BecomeLive(id), "a child that lives has lost its slot");
      child_is_live_ = 1;
      table_.SetFlag(id, ProcessTable::kUsedHeap);
    });
    forked_ = 1;
    table_.ChildForked(*id);
  }

  // The call failed.
  void ForkInVain(ProcessId self) {
    table_.SetFlag(self, ProcessTable::kActed);
    const absl::StatusOr<ProcessId> id = table_.ClaimForChild(self);
    model_.Require(id.ok(), "no slot is free");
    table_.ChildNotForked(*id);
  }

  Undertaker By(ProcessId self) {
    return {domain_, table_, NoHeap(), stakes_, lanes_, holds_, self};
  }

  ProcessId IdOf(ActorId actor) const { return live_[actor]; }

  // By the stand-in of the heap: `self` buries `dead`.
  void FreeOwnedBy(ProcessId dead, ProcessId self) {
    const uint64_t index = ProcessTable::IndexOf(dead);
    const uint64_t state = model_.Look("free what the dead owned", [&] {
      return ProcessTableTestPeer::StateOf(table_, static_cast<uint32_t>(index));
    });
    model_.Require(
        KindOf(state) == Kind::kDead && GenerationOf(state) == ProcessTable::GenerationOf(dead),
        "who is buried is not dead, or was buried before");
    model_.Require(ActorOf(state) == ProcessTable::IndexOf(self), "another buries it as well");
  }

  static Family* current;

 private:
  static Heap& NoHeap() {
    alignas(Heap) static unsigned char place[sizeof(Heap)];
    return *reinterpret_cast<Heap*>(place);
  }

  // Of `id`; FREE where the slot is another's by now.
  Kind KindNow(ProcessId id) const {
    const uint64_t state = ProcessTableTestPeer::StateOf(table_, ProcessTable::IndexOf(id));
    return GenerationOf(state) == ProcessTable::GenerationOf(id) ? KindOf(state) : Kind::kFree;
  }

  uint64_t Generation(ProcessId id) const {
    return GenerationOf(ProcessTableTestPeer::StateOf(table_, ProcessTable::IndexOf(id)));
  }

  // What holds after every step.
  std::string Broken() const {
    if (absl::Status status = table_.Check(); !status.ok()) return std::string(status.message());
    for (ActorId actor = 0; actor < kMostActors; ++actor) {
      if (live_[actor] != 0 && !model_.Ended(actor) && KindNow(live_[actor]) != Kind::kLive) {
        return absl::StrCat("actor ", actor, " lives, and its slot is not LIVE");
      }
    }
    if (forked_ != 0 && !model_.Ended(child_)) {
      const Kind kind = KindNow(claimed_);
      if (kind == Kind::kFree) return "the child lives, and its slot is FREE";
      if (kind == Kind::kDead) return "the child lives, and its slot is DEAD";
      if (child_is_live_ != 0 && kind != Kind::kLive) return "the child is not LIVE any more";
    }
    return "";
  }

  // All are dead now. One that comes then finds what there is to bury, and nothing is left.
  std::string AtTheEnd() {
    // What is known of some only tells of others, once they are buried.
    for (uint32_t i = 0; i < kSlots; ++i) By(last_).BuryTheDead(Evidence::kThorough);
    for (uint32_t index = 1; index < kSlots; ++index) {
      const uint64_t state = ProcessTableTestPeer::StateOf(table_, index);
      if (index != ProcessTable::IndexOf(last_) && state != (GenerationOf(state) << 19)) {
        return absl::StrCat("slot ", index, " is lost: its kind is ", state & 7);
      }
      // There are enough of them for each claim to have one of its own.
      if (GenerationOf(state) > 1) return absl::StrCat("slot ", index, " went back twice");
    }
    for (const ProcessId id : live_) {
      if (id != 0 && Generation(id) != 1) return "a slot is FREE, and its next id no other";
    }
    if (claimed_ != 0 && Generation(claimed_) != 1)
      return "the slot of a child is FREE, and its next id no other";
    return Broken();
  }

  Model& model_;
  ProcessTable table_;
  std::array<ProcessTable::Slot, kSlots> slots_;
  DomainHeader domain_ = {};
  Stakes stakes_;
  LaneTable lanes_ = {};
  HoldTable holds_ = {};
  ProcessId last_ = 0;  // who comes when all are dead
  // What is so, whatever the table says.
  std::array<ProcessId, kMostActors> live_ = {};  // of actors that were LIVE from the beginning
  ProcessId claimed_ = 0;                         // for the child
  ActorId child_ = 0;
  uint64_t forked_ = 0;  // there is a child
  uint64_t child_is_live_ = 0;
};

Family* Family::current = nullptr;

Family& MakeFamily(Model& model) {
  Family::current = &model.Make<Family>(model);
  return *Family::current;
}

}  // namespace
}  // namespace mp::model

namespace mp {

bool Heap::FreeOwnedByUntil(const timespec*, Owner owner, absl::Span<const void* const>,
                            Owner holder) {
  model::Family::current->FreeOwnedBy(owner.identity(), holder.identity());
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

// Under a sanitizer, which sees what there is to see in any of them, fewer schedules.
int Preemptions(int usual, int under_stress) {
  if (Stress()) return under_stress;
  return mp::testing::kSanitized ? usual - 1 : usual;
}

// Somebody looks for the dead while a process forks, its child begins, and any of them dies.
TEST(BurialModelTest, AForkAgainstABurial) {
  const Report report = Explore(
      {.name = "burial: a fork", .kills = 2, .preemptions = Preemptions(2, 4)}, [](Model& model) {
        Family& family = MakeFamily(model);
        family.Process("parent", [&family](ProcessId self) { family.Fork(self); });
        family.Process("undertaker", [&family](ProcessId self) {
          family.By(self).BuryTheDead(Evidence::kThorough);
        });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(BurialModelTest, AForkInVainAgainstABurial) {
  const Report report =
      Explore({.name = "burial: a fork in vain", .kills = 1, .preemptions = Preemptions(2, 3)},
              [](Model& model) {
                Family& family = MakeFamily(model);
                family.Process("parent", [&family](ProcessId self) {
                  family.ForkInVain(self);
                  family.Fork(self);
                });
                family.Process("undertaker", [&family](ProcessId self) {
                  family.By(self).BuryTheDead(Evidence::kThorough);
                });
              });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Two of them, and whoever of them dies is the other's to bury.
TEST(BurialModelTest, TwoUndertakersOfOneProcess) {
  const Report report =
      Explore({.name = "burial: two undertakers", .kills = 1, .preemptions = Preemptions(2, 3)},
              [](Model& model) {
                Family& family = MakeFamily(model);
                family.Process("dead", [](ProcessId) {});
                for (const char* name : {"one", "two"}) {
                  family.Process(name, [&family](ProcessId self) {
                    family.By(self).BuryTheDead(Evidence::kThorough);
                  });
                }
              });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Two that learn of the death of a parent, however far it came, and its child.
TEST(BurialModelTest, AForkAgainstTwoWhoJoin) {
  const Report report = Explore(
      {.name = "burial: a fork and two who join",
       .kills = Stress() ? 2 : 1,
       .preemptions = Preemptions(3, 4)},
      [](Model& model) {
        Family& family = MakeFamily(model);
        const ActorId parent =
            family.Process("parent", [&family](ProcessId self) { family.Fork(self); });
        for (const char* name : {"one", "two"}) {
          family.Process(name, [&model, &family, parent](ProcessId self) {
            model.Await("wait for the parent", [&model, parent] { return model.Ended(parent); });
            family.By(self).Bury(family.IdOf(parent));
          });
        }
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// All of it. The parent has died where it may have: somebody joins it, and somebody looks.
TEST(BurialModelTest, AForkAgainstTwoUndertakers) {
  const Report report = Explore(
      {.name = "burial: a fork and two undertakers", .kills = 1, .preemptions = Preemptions(1, 2)},
      [](Model& model) {
        Family& family = MakeFamily(model);
        const ActorId parent =
            family.Process("parent", [&family](ProcessId self) { family.Fork(self); });
        family.Process("joiner", [&model, &family, parent](ProcessId self) {
          model.Await("wait for the parent", [&model, parent] { return model.Ended(parent); });
          family.By(self).Bury(family.IdOf(parent));
        });
        family.Process("undertaker", [&family](ProcessId self) {
          family.By(self).BuryTheDead(Evidence::kThorough);
        });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
