// Stakes, in every order and with deaths at every step: handles that come and go at once, forks
// against the last drop, and burials of who had stakes.
//
// The heap is a stand-in: a few blocks and cells that are there from the beginning, and are given
// back once.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "shared/heap.h"
#include "shared/internal/atomic.h"
#include "shared/internal/burial.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/lane.h"
#include "shared/internal/object_header.h"
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
};

}  // namespace mp::internal

namespace mp::model {
namespace {

using internal::DomainHeader;
using internal::Evidence;
using internal::HoldTable;
using internal::LaneTable;
using internal::ObjectHeader;
using internal::ObjectType;
using internal::ProcessId;
using internal::ProcessTable;
using internal::ProcessTableTestPeer;
using internal::Stakes;
using internal::Undertaker;
using internal::Word;
using mp::testing::Stress;

constexpr uint32_t kSlots = 7;  // slot 0 is nobody's
constexpr int kMostActors = 8;
constexpr int kObjects = 2;
constexpr int kWords = 4;
constexpr int kMostBlocks = kObjects + kWords;

class Scene {
 public:
  explicit Scene(Model& model) : model_(model) {
    current = this;
    table_.Format(&slots_, kSlots);
    ProcessTableTestPeer::CommitAll(table_);
    stakes_.Format();
  }

  // Before the actors run -----------------------------------------------------------

  // A process, LIVE from the beginning. `thread_of`: no process of its own.
  ActorId Process(const char* name, std::function<void(ProcessId self)> body,
                  ActorId thread_of = -1) {
    const ActorId actor = model_.Actor(
        name, [this, actor = model_.Actors(), body = std::move(body)] { body(ids_[actor]); });
    if (thread_of >= 0) {
      ids_[actor] = ids_[thread_of];
    } else {
      model_.As(actor, [this, actor] { ids_[actor] = *table_.ClaimForSelf(false); });
    }
    return actor;
  }
  void SetFlags(ActorId actor, std::initializer_list<ProcessTable::Flag> flags) {
    for (const ProcessTable::Flag flag : flags) table_.SetFlag(ids_[actor], flag);
  }

  // An object that `maker` made, with `handles` of its own, and a cell of the heap.
  ObjectHeader& MakeObject(int index, ProcessId maker, uint64_t handles) {
    ObjectHeader& made = objects_[index];
    made.state.store(1 << ObjectHeader::kTypeBits | static_cast<uint64_t>(ObjectType::kShared));
    made.maker.store(maker);
    made.handles.store(handles);
    made.made.store(table_.Clock());
    made.stakes.store(handles != 0 ? Stakes::kMaker : 0);
    AddBlock(&made, sizeof(ObjectHeader), true, Owner::Object(&made));
    return made;
  }
  // The words as blocks of the heap, each of one process.
  void MakeBlock(int word, ProcessId owner) {
    AddBlock(&words_[word], sizeof(Word), false, Owner::Process(owner));
  }
  void MakeFreeBlock(int word) { AddBlock(&words_[word], sizeof(Word), false, Owner()); }
  // By who allocates it.
  void TakeBlock(int word, ProcessId self) {
    BlockAt(&words_[word])->owner.store(Owner::Process(self).word());
  }
  void PlaceAtFirst(int word, int object) {
    stakes_.Place(words_[word], objects_[object], nullptr, table_);
  }
  // For the handles that another than its maker has of its own.
  void PlaceOwnAtFirst(int word, int object) {
    stakes_.PlaceOwn(words_[word], objects_[object], table_);
  }

  // By actors -----------------------------------------------------------------------

  Stakes& stakes() { return stakes_; }
  ProcessTable& table() { return table_; }
  ObjectHeader& object(int index) { return objects_[index]; }
  Word& word(int index) { return words_[index]; }
  ProcessId IdOf(ActorId actor) const { return ids_[actor]; }
  Undertaker By(ProcessId self) {
    return {domain_, table_, AsHeap(), stakes_, lanes_, holds_, self};
  }

  void Place(int word, int object, int holder = -1) {
    stakes_.Place(words_[word], objects_[object], holder < 0 ? nullptr : &objects_[holder], table_);
  }
  Stakes::Look Drop(int word, ProcessId self) {
    return Told(stakes_.Drop(words_[word], self, table_), self);
  }
  void Replace(int word, int object, ProcessId self) {
    Told(stakes_.Replace(words_[word], objects_[object], nullptr, self, table_), self);
  }
  // Handles that the maker has of its own.
  void CopyOwn(int object) {
    if (objects_[object].handles.fetch_add(1) == 0) stakes_.TakeMaker(objects_[object], table_);
  }
  Stakes::Look DropOwn(int object, ProcessId self) {
    ObjectHeader& dropped = objects_[object];
    const uint64_t state = dropped.state.load();
    if (dropped.handles.fetch_sub(1) != 1) return {};
    return Told(stakes_.DropMaker(dropped, state, self, table_), self);
  }
  // The process was told that it is the keeper.
  Stakes::Look Told(const Stakes::Look& ended, ProcessId self) {
    if (ended.object != nullptr) {
      ++told_[ended.object - objects_.data()][ProcessTable::IndexOf(self)];
    }
    return ended;
  }
  // A keeper, as EndOrLeave() has it. False: it has to wait.
  bool End(const Stakes::Look& look, ProcessId self) {
    if (look.object == nullptr) return true;
    if (HasToWait(look, self)) return false;
    const bool taken = stakes_.Take(look, table_, [this, &look, self] {
      return ChangeOwner(look.object, Owner::Object(look.object), Owner::Process(self));
    });
    if (!taken) return true;
    const uint64_t limbo = model_.Look(
        "end an object", [&look] { return look.object->stakes.load() & Stakes::kLimbo; });
    model_.Require(limbo != 0, "what its keeper ends has a stake");
    model_.Require(ChangeOwner(look.object, Owner::Process(self), Owner()),
                   "what its keeper ends is another's");
    return true;
  }

  // What a keeper that had to wait asks first, as EndObjectsInLimbo() has it.
  static bool IsStill(const Stakes::Look& look) {
    return look.object->state.load() == look.state && look.object->stakes.load() == look.stakes;
  }

  // A process that forks, as Domain's handlers of fork have it. What it has of its own its child
  // has, too; `live` is what that does with it.
  void SetHas(uint64_t has) { has_ = has; }
  void ForgetOwn() {
    // What may happen between here and the drop is for nobody to see.
    model_.Look("end its own handle", [] { return 0; });
    has_ = 0;
  }
  void Fork(ProcessId self, std::function<void(ProcessId self)> live) {
    table_.SetFlag(self, ProcessTable::kActed);
    const absl::StatusOr<ProcessId> id = table_.ClaimForChild(self);
    model_.Require(id.ok(), "no slot is free");
    child_id_ = *id;
    child_ = model_.Actor("child", [this, id = *id, live = std::move(live)] {
      model_.Note(child_has_);
      model_.Require(table_.BecomeLive(id), "a child that lives has lost its slot");
      if (child_has_ != 0) live(id);
    });
    // In the same step.
    child_has_ = has_;
    forked_ = 1;
    model_.Note(child_has_);
    table_.ChildForked(*id);
  }
  bool ChildIsGone() const { return forked_ != 0 && model_.Ended(child_); }
  bool Forked() const { return forked_ != 0; }
  ProcessId child_id() const { return child_id_; }
  // Who is LIVE from the beginning as a child of `parent`, and has what that has of its own.
  void MakeHeir(ActorId child, ActorId parent) {
    model_.As(child, [this, child, parent] {
      ids_[child] = *table_.ClaimForChild(ids_[parent]);
      model_.Require(table_.BecomeLive(ids_[child]), "a new slot was taken away");
    });
    child_ = child;
    child_has_ = forked_ = 1;
  }

  // The stand-in of the heap --------------------------------------------------------

  struct Block {
    void* address;  // constant
    uint64_t size;  // constant
    uint64_t cell;  // constant
    Word owner;     // 0: it is free
  };

  bool ForEachBlock(absl::FunctionRef<void(const Heap::Block&)> visit) {
    for (uint64_t i = 0; i < block_count_; ++i) {
      const Heap::Block block = Read(blocks_[i]);
      if (block.address != nullptr) visit(block);
    }
    return true;
  }
  Heap::Block Find(const void* address) {
    Block* block = BlockAt(address);
    return block == nullptr ? Heap::Block{} : Read(*block);
  }
  bool ChangeOwner(void* address, Owner from, Owner to) {
    Block* block = BlockAt(address);
    uint64_t was = from.word();
    return block != nullptr && block->owner.compare_exchange_strong(was, to.word());
  }
  void FreeOwnedBy(Owner owner) {
    for (uint64_t i = 0; i < block_count_; ++i) {
      if (blocks_[i].owner.load() != owner.word()) continue;
      if (blocks_[i].cell != 0) {
        RequireEnded(*static_cast<ObjectHeader*>(blocks_[i].address));
        FreeOwnedBy(Owner::Object(blocks_[i].address));
      }
      uint64_t was = owner.word();
      // It was this one's alone, so nobody else has done it.
      model_.Require(blocks_[i].owner.compare_exchange_strong(was, 0), "a block is freed twice");
    }
  }

  static Scene* current;

  // What is checked -----------------------------------------------------------------

  // T1 to T3, once what the dead had begun is settled, for who comes next.
  std::string Invariants() {
    std::string broken;
    stakes_.HoldStill(table_, [&] {
      for (int i = 0; i < kObjects && broken.empty(); ++i) {
        const ObjectHeader& object = objects_[i];
        const uint64_t stakes = object.stakes.load();
        const bool limbo = (stakes & Stakes::kLimbo) != 0;
        uint64_t words = 0;
        for (const Word& word : words_) words += Stakes::ObjectAt(word) == &object;
        if (limbo != ((stakes & Stakes::kMaker) == 0 && words == 0) && object.maker.load() != 0) {
          broken = absl::StrCat("T2: object ", i, " has ", words, " words, and is ",
                                limbo ? "" : "not ", "in limbo");
        } else if (!limbo && (stakes & Stakes::kCount) != words) {
          broken = absl::StrCat("T1: object ", i, " has ", words, " words, and counts ",
                                stakes & Stakes::kCount);
        }
      }
    });
    return broken;
  }

  // Who is to end an object that has no stake: exactly one, or nobody after a death.
  // `once`: it does not come back to life.
  std::string Keeper(int index, bool once) const {
    const ObjectHeader& object = objects_[index];
    const bool limbo = (object.stakes.load() & Stakes::kLimbo) != 0;
    const ProcessId keeper = object.keeper.load();
    uint64_t told = 0;
    for (const uint64_t each : told_[index]) told += each;
    bool any_killed = false;
    bool keeper_killed = false;
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      any_killed = any_killed || model_.Killed(actor);
      keeper_killed = keeper_killed || (model_.Killed(actor) && ids_[actor] == keeper);
    }
    if (once && told > 1) return absl::StrCat(told, " are told to keep object ", index);
    if (!limbo) return once && told != 0 ? "the keeper of what has a stake" : "";
    if (keeper != 0) {
      const uint64_t is = told_[index][ProcessTable::IndexOf(keeper)];
      if (is == 0 && !keeper_killed) return "the keeper was not told";
      if (once && told != is) return "another than the keeper was told";
      return "";
    }
    if (!any_killed) return "it has no keeper, and nobody was killed";
    if (once && told != 0) return "it has no keeper, and one was told to be";
    return stakes_.unkept().load() == 0 ? "nobody looks for what has no keeper" : "";
  }

  // After each step: what somebody who lives has a handle to is an object.
  std::string HeirsHave(int index) const {
    const bool has = forked_ != 0 && child_has_ != 0 && !model_.Ended(child_);
    if (!has || OwnerOf(index) == Owner::Object(&objects_[index])) return "";
    return "an heir lives, and its object is not one any more";
  }

  // All are dead. One that comes then finds what there is to bury, and nothing is left.
  std::string NothingIsLeft() {
    const ProcessId last = *table_.ClaimForSelf(false);
    // What is known of some only tells of others, once they are buried.
    for (uint32_t i = 0; i < kSlots; ++i) By(last).BuryTheDead(Evidence::kThorough);
    for (auto process = table_.Next(0); process.kind != ProcessTable::Kind::kFree;
         process = table_.Next(process.id)) {
      if (process.id != last) return absl::StrCat("process ", process.id, " is not buried");
    }
    return NothingIsInTheHeap();
  }
  std::string NothingIsInTheHeap() const {
    for (uint64_t i = 0; i < block_count_; ++i) {
      if (blocks_[i].owner.load() != 0) return absl::StrCat("block ", i, " is left");
    }
    return "";
  }

 private:
  static Heap& AsHeap() {
    alignas(Heap) static unsigned char place[sizeof(Heap)];
    return *reinterpret_cast<Heap*>(place);
  }

  // As Domain::AnyInherited() has it.
  bool HasToWait(const Stakes::Look& look, ProcessId self) {
    const ProcessTable::Legacy legacy = Stakes::LegacyOf(look);
    if (!legacy.spread && legacy.made == legacy.dropped) return false;
    if (table_.MayBeUnknown(legacy.made)) return true;
    std::optional<std::vector<ProcessTable::Entry>> family;
    for (int tries = 0; tries < 3 && !family.has_value(); ++tries) family = table_.Family();
    if (!family.has_value()) return true;
    for (const ProcessTable::Entry& process : *family) {
      if (process.kind == ProcessTable::Kind::kDead || process.id == legacy.maker ||
          !ProcessTable::MayHaveInherited(*family, process, legacy)) {
        continue;
      }
      if (process.kind != ProcessTable::Kind::kLive || process.id == self ||
          !IsDead(process.pid, process.started, domain_, Evidence::kQuick)) {
        return true;
      }
      (void)By(self).Bury(process.id);
    }
    return false;
  }

  void AddBlock(void* address, size_t size, bool cell, Owner owner) {
    Block& block = blocks_[block_count_++];
    block.address = address;
    block.size = size;
    block.cell = cell;
    block.owner.store(owner.word());
  }
  // Whose cell is freed by a burial.
  void RequireEnded(const ObjectHeader& object) {
    const uint64_t ended = model_.Look("free an object", [this, &object] {
      const ProcessId keeper = object.keeper.load();
      for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
        if (keeper != 0 && ids_[actor] == keeper && !model_.Ended(actor)) return uint64_t{0};
      }
      return object.stakes.load() & Stakes::kLimbo;
    });
    model_.Require(ended != 0, "what is freed has a stake, or a keeper");
  }
  Block* BlockAt(const void* address) {
    for (uint64_t i = 0; i < block_count_; ++i) {
      if (blocks_[i].address == address) return &blocks_[i];
    }
    return nullptr;
  }
  static Heap::Block Read(Block& block) {
    const uint64_t owner = block.owner.load();
    if (owner == 0) return {};
    return {block.address, block.size, Owner::FromWord(owner), block.cell != 0};
  }
  Owner OwnerOf(int index) const {
    for (uint64_t i = 0; i < block_count_; ++i) {
      if (blocks_[i].address == &objects_[index]) return Owner::FromWord(blocks_[i].owner.load());
    }
    return {};
  }

  Model& model_;
  mutable Stakes stakes_;
  LaneTable lanes_ = {};
  HoldTable holds_ = {};
  ProcessTable table_;
  std::array<ProcessTable::Slot, kSlots> slots_;
  DomainHeader domain_ = {};
  std::array<ObjectHeader, kObjects> objects_;
  std::array<Word, kWords> words_;
  std::array<Block, kMostBlocks> blocks_;
  uint64_t block_count_ = 0;
  // What is so, whatever anybody says.
  std::array<ProcessId, kMostActors> ids_ = {};
  std::array<std::array<uint64_t, kSlots>, kObjects> told_ = {};
  uint64_t has_ = 0;  // of who forks: a handle of its own
  uint64_t forked_ = 0;
  uint64_t child_has_ = 0;
  ActorId child_ = 0;
  ProcessId child_id_ = 0;
};

Scene* Scene::current = nullptr;

Scene& MakeScene(Model& model) { return model.Make<Scene>(model); }

}  // namespace
}  // namespace mp::model

namespace mp {

bool Heap::FreeOwnedByUntil(const timespec*, Owner owner, absl::Span<const void* const>, Owner) {
  model::Scene::current->FreeOwnedBy(owner);
  return true;
}
bool Heap::ForEachBlockUntil(const timespec*, absl::FunctionRef<void(const Block&)> visit) {
  return model::Scene::current->ForEachBlock(visit);
}
Heap::Block Heap::Find(const void* address) const { return model::Scene::current->Find(address); }
bool Heap::ChangeOwner(void* block, Owner from, Owner to) {
  return model::Scene::current->ChangeOwner(block, from, to);
}

}  // namespace mp

namespace mp::model {
namespace {

// Under a sanitizer, which sees what there is to see in any of them, fewer schedules.
int Preemptions(int usual, int under_stress) {
  if (Stress()) return under_stress;
  return mp::testing::kSanitized ? usual - 1 : usual;
}

// At the end: the invariants, and who keeps the object.
void CheckStakes(Model& model, Scene& scene, bool once) {
  model.Check([&scene, once] {
    std::string broken = scene.Invariants();
    for (int i = 0; i < kObjects && broken.empty(); ++i) broken = scene.Keeper(i, once);
    return broken;
  });
}

// Handles ------------------------------------------------------------------------------

TEST(StakesModelTest, PlacingAgainstDropping) {
  const Report report =
      Explore({.name = "stakes: place and drop", .kills = 2, .preemptions = Stress() ? 3 : -1},
              [](Model& model) {
                Scene& scene = MakeScene(model);
                const ActorId one = scene.Process("one", [&scene](ProcessId self) {
                  scene.Place(2, 0, 1);
                  scene.Drop(0, self);
                  scene.Drop(2, self);
                });
                scene.Process("two", [&scene](ProcessId self) { scene.Drop(1, self); });
                if (Stress())
                  scene.Process("three", [&scene](ProcessId self) { scene.Drop(3, self); });
                scene.MakeObject(0, scene.IdOf(one), 0);
                scene.MakeObject(1, scene.IdOf(one), 1);
                for (const int word : {0, 1}) scene.PlaceAtFirst(word, 0);
                if (Stress()) scene.PlaceAtFirst(3, 0);
                CheckStakes(model, scene, true);
              });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// An heir, whose handle nobody counts, places one when the last is dropped.
TEST(StakesModelTest, AnHeirBringsItBackToLife) {
  for (const bool drops : {false, true}) {
    const Report report = Explore(
        {.name = drops ? "stakes: an heir places and drops" : "stakes: an heir places", .kills = 2},
        [drops](Model& model) {
          Scene& scene = MakeScene(model);
          const ActorId heir = scene.Process("heir", [&scene, drops](ProcessId self) {
            scene.Place(2, 0);
            if (drops) scene.Drop(2, self);
          });
          scene.Process("two", [&scene](ProcessId self) { scene.Drop(1, self); });
          if (Stress()) {
            scene.Process("three", [&scene](ProcessId self) { scene.Drop(0, self); });
          }
          scene.MakeObject(0, scene.IdOf(heir), 0);
          scene.PlaceAtFirst(1, 0);
          if (Stress()) scene.PlaceAtFirst(0, 0);
          CheckStakes(model, scene, false);
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

TEST(StakesModelTest, ReplacingAgainstDropping) {
  const Report report = Explore({.name = "stakes: replace and drop", .kills = 2}, [](Model& model) {
    Scene& scene = MakeScene(model);
    const ActorId one = scene.Process("one", [&scene](ProcessId self) {
      scene.Replace(0, 1, self);
      scene.Drop(2, self);
    });
    scene.Process("two", [&scene](ProcessId self) {
      scene.Drop(1, self);
      scene.Drop(3, self);
    });
    for (const int object : {0, 1}) scene.MakeObject(object, scene.IdOf(one), 0);
    for (const int word : {0, 1}) scene.PlaceAtFirst(word, 0);
    for (const int word : {2, 3}) scene.PlaceAtFirst(word, 1);
    CheckStakes(model, scene, true);
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// The block of a word may be another's before anybody settles what the dead had begun with it.
TEST(StakesModelTest, NothingIsWrittenToAWordByARepair) {
  for (const bool drop : {false, true}) {
    const Report report = Explore(
        {.name = drop ? "stakes: a repair of a drop" : "stakes: a repair of a place", .kills = 2},
        [drop](Model& model) {
          Scene& scene = MakeScene(model);
          const ActorId one = scene.Process("one", [&scene, drop](ProcessId self) {
            if (drop) {
              scene.Drop(0, self);
            } else {
              scene.Place(0, 0);
            }
          });
          scene.Process("two", [&model, &scene, one](ProcessId self) {
            model.Await("wait for one", [&model, one] { return model.Ended(one); });
            constexpr uint64_t kAnothers = 7;
            scene.word(0).store(kAnothers);
            scene.Drop(1, self);
            model.Require(scene.word(0).load() == kAnothers, "a word of another's is written to");
          });
          scene.MakeObject(0, scene.IdOf(one), 0);
          scene.PlaceAtFirst(1, 0);
          if (drop) scene.PlaceAtFirst(0, 0);
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

// The maker ----------------------------------------------------------------------------

// The last handle of its own is dropped while another thread copies one from the domain, where
// there is none any more after that.
TEST(StakesModelTest, TheMakersLastHandleAgainstACopy) {
  const Report report =
      Explore({.name = "stakes: the maker's last handle and a copy",
               .kills = 2,
               .preemptions = Preemptions(4, -1)},
              [](Model& model) {
                Scene& scene = MakeScene(model);
                auto& copied = model.Make<Word>();
                const ActorId dropping =
                    scene.Process("dropping", [&scene](ProcessId self) { scene.DropOwn(0, self); });
                const ActorId copying = scene.Process(
                    "copying",
                    [&model, &scene, &copied](ProcessId self) {
                      scene.CopyOwn(0);
                      copied.store(1);
                      const uint64_t stakes = model.Look("use the object", [&scene] {
                        return scene.object(0).stakes.load() & Stakes::kLimbo;
                      });
                      model.Require(stakes == 0, "its maker has a handle, and it is in limbo");
                      scene.DropOwn(0, self);
                    },
                    dropping);
                scene.Process("other", [&model, &scene, &copied, copying](ProcessId self) {
                  model.Await("wait for the copy", [&model, &copied, copying] {
                    return copied.load() != 0 || model.Ended(copying);
                  });
                  scene.Drop(0, self);
                });
                scene.MakeObject(0, scene.IdOf(dropping), 1);
                scene.PlaceAtFirst(0, 0);
                model.Check([&model, &scene, dropping, copying] {
                  std::string broken = scene.Invariants();
                  if (!broken.empty()) return broken;
                  // Two threads are one process: its burial drops the stake.
                  const bool maker = (scene.object(0).stakes.load() & Stakes::kMaker) != 0;
                  if (maker && !model.Killed(dropping) && !model.Killed(copying)) {
                    return std::string("the maker has no handle, and its stake");
                  }
                  return scene.Keeper(0, true);
                });
              });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Forks --------------------------------------------------------------------------------

// What an heir does: it places a handle in a block of its own, and drops that, or leaves it to
// its burial.
std::function<void(ProcessId)> Heir(Scene& scene, bool drops) {
  return [&scene, drops](ProcessId self) {
    scene.table().SetFlag(self, ProcessTable::kUsedHeap);
    scene.TakeBlock(3, self);
    scene.table().SetFlag(self, ProcessTable::kHasHandles);
    scene.Place(3, 0);
    if (drops) scene.Drop(3, self);
  };
}

void Bury(Model& model, Scene& scene, ProcessId self, ProcessId dead) {
  model.Note(dead);
  (void)scene.By(self).Bury(dead);
}

// One thread forks, the other drops the last handle; the process ends, and is buried while the
// child may live.
TEST(StakesModelTest, AForkAgainstTheMakersLastDrop) {
  for (const bool drops : {false, true}) {
    const Report report = Explore(
        {.name = drops ? "stakes: a fork and the maker's last drop, and the child's"
                       : "stakes: a fork and the maker's last drop",
         .kills = 1,
         .preemptions = Preemptions(1, 2)},
        [drops](Model& model) {
          Scene& scene = MakeScene(model);
          const ActorId forking = scene.Process(
              "forking", [&scene, drops](ProcessId self) { scene.Fork(self, Heir(scene, drops)); });
          const ActorId dropping = scene.Process(
              "dropping",
              [&scene](ProcessId self) {
                scene.ForgetOwn();
                scene.DropOwn(0, self);
              },
              forking);
          scene.Process("undertaker", [&model, &scene, forking, dropping](ProcessId self) {
            model.Await("wait for the process", [&model, forking, dropping] {
              return model.Ended(forking) && model.Ended(dropping);
            });
            Bury(model, scene, self, scene.IdOf(forking));
          });
          scene.SetFlags(forking, {ProcessTable::kUsedHeap});
          scene.MakeObject(0, scene.IdOf(forking), 1);
          scene.MakeFreeBlock(3);
          scene.SetHas(1);
          model.Always([&scene] { return scene.HeirsHave(0); });
          model.Check([&scene] {
            std::string broken = scene.Invariants();
            return broken.empty() ? scene.NothingIsLeft() : broken;
          });
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

// The same of one who did not make it: it has one handle in the domain for those of its own,
// and who made it drops another.
TEST(StakesModelTest, AForkAgainstTheLastDropOfAnother) {
  const Report report =
      Explore({.name = "stakes: a fork and another's last drop",
               .kills = 1,
               .preemptions = Preemptions(1, 2)},
              [](Model& model) {
                Scene& scene = MakeScene(model);
                const ActorId forking = scene.Process("forking", [&scene](ProcessId self) {
                  scene.Fork(self, Heir(scene, false));
                  scene.ForgetOwn();
                  scene.Drop(0, self);
                });
                const ActorId maker =
                    scene.Process("maker", [&scene](ProcessId self) { scene.Drop(1, self); });
                scene.Process("undertaker", [&model, &scene, forking, maker](ProcessId self) {
                  model.Await("wait for both", [&model, forking, maker] {
                    return model.Ended(forking) && model.Ended(maker);
                  });
                  Bury(model, scene, self, scene.IdOf(forking));
                  Bury(model, scene, self, scene.IdOf(maker));
                });
                scene.SetFlags(forking, {ProcessTable::kUsedHeap, ProcessTable::kHasHandles});
                scene.SetFlags(maker, {ProcessTable::kUsedHeap, ProcessTable::kHasHandles});
                scene.MakeObject(0, scene.IdOf(maker), 0);
                scene.PlaceOwnAtFirst(0, 0);
                scene.PlaceAtFirst(1, 0);
                scene.MakeBlock(0, scene.IdOf(forking));
                scene.MakeBlock(1, scene.IdOf(maker));
                scene.MakeFreeBlock(3);
                scene.SetHas(1);
                model.Always([&scene] { return scene.HeirsHave(0); });
                model.Check([&scene] {
                  std::string broken = scene.Invariants();
                  return broken.empty() ? scene.NothingIsLeft() : broken;
                });
              });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Burials ------------------------------------------------------------------------------

// Two look for the dead, and whoever of them dies is the other's to bury. The dead one made an
// object, and had a handle to another in a block of its own.
TEST(StakesModelTest, TwoUndertakersOfOneProcess) {
  const Report report = Explore(
      {.name = "stakes: two undertakers of one process",
       .kills = 1,
       .preemptions = Preemptions(1, 2)},
      [](Model& model) {
        Scene& scene = MakeScene(model);
        const ActorId dead = scene.Process("dead", [](ProcessId) {});
        for (const char* name : {"one", "two"}) {
          scene.Process(
              name, [&scene](ProcessId self) { scene.By(self).BuryTheDead(Evidence::kThorough); });
        }
        scene.SetFlags(dead, {ProcessTable::kUsedHeap, ProcessTable::kHasHandles});
        scene.MakeObject(0, scene.IdOf(dead), 1);
        scene.MakeObject(1, scene.IdOf(dead), 0);
        scene.PlaceAtFirst(0, 1);
        scene.MakeBlock(0, scene.IdOf(dead));
        model.Check([&scene] { return scene.NothingIsLeft(); });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Two processes had the last two stakes in an object, and each has an undertaker.
TEST(StakesModelTest, TwoUndertakersOfTwoProcesses) {
  const Report report = Explore(
      {.name = "stakes: two undertakers of two processes",
       .kills = 1,
       .preemptions = Preemptions(2, 3)},
      [](Model& model) {
        Scene& scene = MakeScene(model);
        for (int i = 0; i < 2; ++i) {
          scene.Process(i == 0 ? "dead" : "dead, too", [](ProcessId) {});
          scene.SetFlags(i, {ProcessTable::kUsedHeap, ProcessTable::kHasHandles});
        }
        for (int i = 0; i < 2; ++i) {
          scene.Process(i == 0 ? "one" : "two", [&model, &scene, i](ProcessId self) {
            model.Await("wait for the dead", [&model] { return model.Ended(0) && model.Ended(1); });
            const bool buried = scene.By(self).Bury(scene.IdOf(i));
            model.Require(buried, "nobody else buries it");
          });
        }
        scene.MakeObject(0, scene.IdOf(0), 0);
        for (int i = 0; i < 2; ++i) {
          scene.PlaceAtFirst(i, 0);
          scene.MakeBlock(i, scene.IdOf(i));
        }
        model.Check([&model, &scene] {
          const bool killed = model.Killed(2) || model.Killed(3);
          std::string left = killed ? "" : scene.NothingIsInTheHeap();
          return left.empty() ? scene.NothingIsLeft() : "before the last burial: " + left;
        });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// The keeper of what is in limbo, and its only heir, are buried at once: one of the two burials
// finds that nobody can have it.
TEST(StakesModelTest, TheKeepersBurialAgainstTheHeirs) {
  const Report report =
      Explore({.name = "stakes: the keeper's burial and the heir's",
               .kills = 0,
               .preemptions = Preemptions(3, 5)},
              [](Model& model) {
                Scene& scene = MakeScene(model);
                const ActorId keeper = scene.Process("keeper", [](ProcessId) {});
                scene.SetFlags(keeper, {ProcessTable::kUsedHeap});
                scene.MakeObject(0, scene.IdOf(keeper), 1);
                ProcessId heir = 0;
                model.As(keeper, [&model, &scene, keeper, &heir] {
                  heir = *scene.table().ClaimForChild(scene.IdOf(keeper));
                  model.Require(scene.table().BecomeLive(heir), "no slot");
                  scene.DropOwn(0, scene.IdOf(keeper));
                });
                for (const ProcessId dead : {scene.IdOf(keeper), heir}) {
                  scene.Process(dead == heir ? "of the heir" : "of the keeper",
                                [&model, &scene, dead](ProcessId self) {
                                  model.Require(scene.By(self).Bury(dead), "nobody else buries it");
                                });
                }
                model.Check([&scene] {
                  std::string left = scene.NothingIsInTheHeap();
                  return left.empty() ? scene.NothingIsLeft() : "before the last burial: " + left;
                });
              });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// An heir places a handle and dies while the keeper is buried; its burial drops it, or somebody
// else has done so, and is the keeper then.
TEST(StakesModelTest, AnHeirAgainstTheKeepersBurial) {
  for (const bool by_burial : {false, true}) {
    const Report report = Explore(
        {.name = by_burial ? "stakes: an heir against a burial, and its own"
                           : "stakes: an heir against a burial, and another keeper",
         .kills = 0,
         .preemptions = Preemptions(3, 4)},
        [by_burial](Model& model) {
          Scene& scene = MakeScene(model);
          const ActorId keeper = scene.Process("keeper", [](ProcessId) {});
          scene.SetFlags(keeper, {ProcessTable::kUsedHeap});
          scene.MakeObject(0, scene.IdOf(keeper), 1);
          const ActorId heir = scene.Process(
              "heir", [&scene](ProcessId) { scene.Place(3, 0); }, keeper);
          scene.MakeHeir(heir, keeper);
          scene.Process("undertaker", [&scene, keeper](ProcessId self) {
            (void)scene.By(self).Bury(scene.IdOf(keeper));
          });
          const ActorId other =
              scene.Process("other", [&model, &scene, heir, by_burial](ProcessId self) {
                model.Await("wait for the heir", [&model, heir] { return model.Ended(heir); });
                if (!by_burial) scene.Drop(3, self);
                (void)scene.By(self).Bury(scene.IdOf(heir));
              });
          const ActorId holder = by_burial ? heir : other;
          scene.SetFlags(holder, {ProcessTable::kUsedHeap, ProcessTable::kHasHandles});
          scene.MakeBlock(3, scene.IdOf(holder));
          model.Always([&scene] { return scene.HeirsHave(0); });
          model.Check([&scene] { return scene.NothingIsLeft(); });
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

// The keeper is about to end what an heir brings back to life: by a handle in a block of
// another's, who has it when the heir is gone, or drops it, and is the keeper then.
TEST(StakesModelTest, AKeeperAgainstAnHeir) {
  for (const bool drops : {false, true}) {
    const Report report = Explore(
        {.name = drops ? "stakes: two keepers and an heir" : "stakes: a keeper and an heir",
         .kills = 1,
         .preemptions = Preemptions(2, 3)},
        [drops](Model& model) {
          Scene& scene = MakeScene(model);
          constexpr ActorId kHeir = 1;
          const ActorId keeper = scene.Process("keeper", [&model, &scene](ProcessId self) {
            const Stakes::Look look = scene.DropOwn(0, self);
            if (scene.End(look, self)) return;
            model.Await("wait for the heir", [&model] { return model.Ended(kHeir); });
            if (Scene::IsStill(look)) (void)scene.End(look, self);
          });
          scene.SetFlags(keeper, {ProcessTable::kUsedHeap});
          scene.MakeObject(0, scene.IdOf(keeper), 1);
          const ActorId heir = scene.Process(
              "heir", [&scene](ProcessId) { scene.Place(3, 0); }, keeper);
          scene.MakeHeir(heir, keeper);
          const ActorId other = scene.Process("other", [&model, &scene, drops](ProcessId self) {
            model.Await("wait for the heir", [&model] { return model.Ended(kHeir); });
            if (drops) (void)scene.End(scene.Drop(3, self), self);
          });
          scene.SetFlags(other, {ProcessTable::kUsedHeap, ProcessTable::kHasHandles});
          scene.MakeBlock(3, scene.IdOf(other));
          model.Always([&scene] { return scene.HeirsHave(0); });
          model.Check([&scene] {
            std::string broken = scene.Invariants();
            return broken.empty() ? scene.NothingIsLeft() : broken;
          });
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

// An object in limbo without a keeper, and its last heir dies, who has used no heap, like who
// buries it: one of these may die as well, and the next one knows.
TEST(StakesModelTest, WhatNobodyKeepsIsNotForgotten) {
  const Report report = Explore(
      {.name = "stakes: limbo without a keeper", .kills = 1, .preemptions = Preemptions(1, 2)},
      [](Model& model) {
        Scene& scene = MakeScene(model);
        const ActorId dead = scene.Process("dead", [](ProcessId) {});
        for (const char* name : {"one", "two"}) {
          scene.Process(
              name, [&scene](ProcessId self) { scene.By(self).BuryTheDead(Evidence::kThorough); });
        }
        // Of one who was buried before.
        scene.MakeObject(0, scene.IdOf(dead), 0);
        scene.PlaceAtFirst(0, 0);
        std::vector<Stakes::Look> ended;
        model.Require(scene.stakes().TryDrop(scene.word(0), {}, scene.table(), ended), "a lock");
        model.Check([&scene] { return scene.NothingIsLeft(); });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
