#include "shared/internal/burial.h"

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "shared/internal/busy.h"
#include "shared/internal/contents.h"
#include "shared/internal/deadline.h"
#include "shared/internal/give_back.h"
#include "shared/internal/handles_in.h"
#include "shared/owner.h"

namespace mp::internal {

using Kind = ProcessTable::Kind;

constexpr absl::Duration kPatience = absl::Milliseconds(50);

timespec Undertaker::Patience() { return MonotonicDeadline(kPatience); }

bool Undertaker::Bury(ProcessId dead, const timespec& deadline) const {
  bool buried = false;
  for (const Kind was : {Kind::kLive, Kind::kForked, Kind::kBorn}) {
    buried = buried || BuryUntil(deadline, dead, was);
  }
  return buried;
}

bool Undertaker::BuryUntil(const timespec& deadline, ProcessId dead, Kind was) const {
  processes.DeclareDead(dead, was);
  // First, or its own burial would not look for what it had begun.
  processes.SetFlag(self, ProcessTable::kActed);
  if (!processes.BeginBurial(dead, self)) return false;
  const uint32_t flags = processes.Find(dead).flags;
  if ((flags & ProcessTable::kActed) != 0) processes.ReleaseActed(dead);
  lanes.BuryLanesOf(dead);
  GiveBackHoldsOf(dead, processes.Find(dead).pid, holds);
  lanes.TellDeath();
  if (!GiveBack(deadline, dead, flags)) {
    processes.PutOffBurial(dead);
    return false;
  }
  processes.EndBurial(dead);
  return true;
}

struct Undertaker::Estate {
  std::vector<Heap::Block> with_handles;  // its blocks that may hold handles
  std::vector<ObjectHeader*> made;        // whose maker it is, with handles of its own
  std::vector<ObjectHeader*> own;         // its cells: what they own goes with them
  std::vector<Stakes::Look> limbo;
  Contents contents;
  std::vector<ObjectHeader*> ended;  // of its own, whose handles are dropped
  bool any = false;                  // there is something of it in the heap, or may be
};

bool Undertaker::GiveBack(const timespec& deadline, ProcessId dead, uint32_t flags) const {
  const bool used_heap = (flags & ProcessTable::kUsedHeap) != 0;
  if (used_heap) {
    // It may be the keeper of objects in limbo.
    stakes.unkept().store(1, std::memory_order_seq_cst);
  } else if (stakes.unkept().load(std::memory_order_seq_cst) == 0) {
    return true;
  }
  // First, or its own burial would not look for what it has in hand of the dead one's.
  processes.SetFlag(self, ProcessTable::kUsedHeap);
  // First: who buries it when this process dies looks, too, though the mark is gone; and what is
  // taken from limbo is looked for as what the dead one had.
  processes.SetFlag(dead, ProcessTable::kUsedHeap);
  // First: what comes there meanwhile is looked for by the next one.
  stakes.unkept().store(0, std::memory_order_seq_cst);
  Estate estate;
  estate.any = used_heap;
  const bool all = stakes.TrySettle(deadline, processes) &&
                   FindEstate(deadline, dead, flags, estate) &&
                   DropStakes(deadline, dead, estate) &&
                   heap.TryFreeOwnedBy(Owner::Process(dead), {}, Owner::Process(self), deadline);
  if (!all) stakes.unkept().store(1, std::memory_order_seq_cst);
  // What others left in limbo is no reason to keep the slot of one who had nothing.
  return all || !estate.any;
}

bool Undertaker::FindEstate(const timespec& deadline, ProcessId dead, uint32_t flags,
                            Estate& estate) const {
  const Owner owner = Owner::Process(dead);
  return heap.TryForEachBlock(
      [&](const Heap::Block& block) {
        auto* object = static_cast<ObjectHeader*>(block.address);
        estate.contents.Add(block);
        if (block.owner == owner) {
          if (block.cell) {
            estate.own.push_back(object);
          } else if ((flags & ProcessTable::kHasHandles) != 0) {
            estate.with_handles.push_back(block);
          }
        } else if (block.cell && block.owner == Owner::Object(object)) {
          const Stakes::Look look = Stakes::LookAt(*object);
          if ((look.stakes & Stakes::kLimbo) != 0) estate.limbo.push_back(look);
          if ((look.stakes & Stakes::kMaker) != 0 &&
              object->maker.load(std::memory_order_relaxed) == dead) {
            estate.made.push_back(object);
          }
        }
      },
      deadline);
}

// What goes into limbo by that, and what has been there, is the dead one's then, if nobody can
// have it; and so on with what the blocks of those hold.
bool Undertaker::DropStakes(const timespec& deadline, ProcessId dead, Estate& estate) const {
  std::vector<Stakes::Look> ended;
  for (ObjectHeader* object : estate.made) {
    if (!stakes.TryDropMaker(*object, dead, deadline, processes, ended)) return false;
  }
  for (;;) {
    for (const ObjectHeader* object : estate.own) {
      estate.contents.MoveTo(object, estate.with_handles);
    }
    estate.ended.insert(estate.ended.end(), estate.own.begin(), estate.own.end());
    estate.own.clear();
    for (const Heap::Block& block : estate.with_handles) {
      bool dropped = true;
      ForEachHandleIn(heap, block.address, block.size, [&](Word& handle) {
        dropped = dropped && stakes.TryDrop(handle, deadline, processes, ended);
      });
      if (!dropped) return false;
    }
    estate.with_handles.clear();
    estate.limbo.insert(estate.limbo.end(), ended.begin(), ended.end());
    ended.clear();
    if (!estate.limbo.empty()) TakeFromLimbo(deadline, dead, estate);
    if (estate.own.empty() && !FindLateHandles(deadline, estate)) return false;
    if (estate.own.empty() && estate.with_handles.empty()) return true;
  }
}

// Who had an object that is now the dead one's may have put more into it since the first look.
bool Undertaker::FindLateHandles(const timespec& deadline, Estate& estate) const {
  std::erase_if(estate.ended, [](const ObjectHeader* object) {
    return (object->stakes.load(std::memory_order_acquire) & Stakes::kHolds) == 0;
  });
  if (estate.ended.empty()) return true;
  Contents now;
  if (!heap.TryForEachBlock([&](const Heap::Block& block) { now.Add(block); }, deadline)) {
    return false;
  }
  std::vector<Heap::Block> blocks;
  for (const ObjectHeader* object : estate.ended) now.MoveTo(object, blocks);
  estate.ended.clear();
  for (const Heap::Block& block : blocks) {
    bool any = false;
    ForEachHandleIn(heap, block.address, block.size, [&](Word&) { any = true; });
    if (any) estate.with_handles.push_back(block);
  }
  return true;
}

// Moves the objects of estate.limbo that nobody can have to estate.own.
void Undertaker::TakeFromLimbo(const timespec& deadline, ProcessId dead, Estate& estate) const {
  constexpr int kLooks = 2;
  for (int i = 0; i < kLooks && !estate.limbo.empty(); ++i) {
    std::erase_if(estate.limbo, [this](const Stakes::Look& look) { return IsKept(look.keeper); });
    const auto family = processes.Family();
    std::vector<Stakes::Look> stay;
    for (const Stakes::Look& look : estate.limbo) {
      if (!family.has_value() || !IsLeft(look, *family)) {
        stay.push_back(look);
        continue;
      }
      // Before: in limbo.
      // After:  a cell of the dead one's, which whoever buries it frees.
      // Test:   ObjectCrashTest.AnObjectInLimboComesBack
      const bool taken = stakes.TryTake(look, deadline, processes, [&] {
        return heap.ChangeOwner(look.object, Owner::Object(look.object), Owner::Process(dead));
      });
      if (taken) {
        estate.own.push_back(look.object);
        estate.any = true;
      } else {
        stakes.unkept().store(1, std::memory_order_seq_cst);
      }
    }
    estate.limbo = std::move(stay);
    // Before the next look: an heir that is buried after that one finds this.
    if (!estate.limbo.empty()) stakes.unkept().store(1, std::memory_order_seq_cst);
  }
  estate.limbo.clear();
}

bool Undertaker::IsKept(ProcessId keeper) const {
  const Kind kind = processes.Find(keeper).kind;
  return kind != Kind::kFree && kind != Kind::kDead;
}

bool Undertaker::IsLeft(const Stakes::Look& look,
                        const std::vector<ProcessTable::Entry>& family) const {
  const ObjectHeader& object = *look.object;
  if (IsBusy(object, holds)) return false;
  const ProcessTable::Legacy legacy = Stakes::LegacyOf(look);
  if (processes.MayBeUnknown(legacy.made)) return false;
  return std::none_of(family.begin(), family.end(), [&](const ProcessTable::Entry& process) {
    return process.kind != Kind::kDead && ProcessTable::MayHaveInherited(family, process, legacy);
  });
}

int Undertaker::BuryTheDead(Evidence evidence) const {
  std::vector<ProcessId> dead;
  for (auto process = processes.Next(0); process.kind != Kind::kFree;
       process = processes.Next(process.id)) {
    if (process.id == self) continue;
    if (process.kind == Kind::kDead ||
        (process.kind == Kind::kLive && IsDead(process.pid, process.started, header, evidence))) {
      dead.push_back(process.id);
    }
  }
  int buried = 0;
  const timespec deadline = Patience();
  for (const ProcessId id : dead) buried += BuryUntil(deadline, id, Kind::kLive);
  // Only now: their children are known for such, and none of their pids is taken for alive.
  return evidence == Evidence::kThorough ? buried + BuryTheUnborn(deadline) : buried;
}

// A child that has a slot and has not yet told its pid will do so at once, or was killed
// before. If it is there it maps the domain, so it is not when nobody unknown does. One that has
// told it is being spawned.
int Undertaker::BuryTheUnborn(const timespec& deadline) const {
  std::vector<ProcessId> unborn;
  std::vector<ProcessId> dead;
  uint64_t since = std::numeric_limits<uint64_t>::max();
  for (auto process = processes.Next(0); process.kind != Kind::kFree;
       process = processes.Next(process.id)) {
    if (process.kind != Kind::kForked) continue;
    if (process.pid == 0) {
      unborn.push_back(process.id);
      since = std::min(since, process.claimed);
    } else if (IsDead(process.pid, process.started, header, Evidence::kUnmapped)) {
      dead.push_back(process.id);
    }
  }
  if (!unborn.empty() && !AnyUnborn(header, processes, since)) {
    // Who has told its pid meanwhile may be another program by now, which maps nothing yet.
    std::erase_if(unborn, [this](ProcessId id) { return processes.Find(id).pid != 0; });
    dead.insert(dead.end(), unborn.begin(), unborn.end());
  }
  int buried = 0;
  for (const ProcessId id : dead) buried += BuryUntil(deadline, id, Kind::kForked);
  return buried;
}

bool AnyUnborn(const DomainHeader& header, const ProcessTable& processes, uint64_t since) {
  std::set<pid_t> known;
  for (auto process = processes.Next(0); process.kind != Kind::kFree;
       process = processes.Next(process.id)) {
    if (process.kind == Kind::kLive) known.insert(process.pid);
  }
  return AnyUnknownMaps(header, since, [&known](pid_t pid) { return known.contains(pid); });
}

}  // namespace mp::internal
