#include "shared/internal/burial.h"

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <vector>

#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/owner.h"

namespace mp::internal {

using Kind = ProcessTable::Kind;

constexpr absl::Duration kPatience = absl::Milliseconds(50);

timespec Undertaker::Patience() { return MonotonicDeadline(kPatience); }

bool Undertaker::Bury(ProcessId dead) const {
  const timespec deadline = Patience();
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
  lanes.TellDeath();
  if (flags != 0) {
    // It may have been about to leave an object in limbo, or to take one from there.
    limbo.store(1, std::memory_order_release);
  }
  if ((flags & ProcessTable::kUsedHeap) != 0 &&
      !heap.TryFreeOwnedBy(Owner::Process(dead), {}, Owner::Process(self), deadline)) {
    processes.PutOffBurial(dead);
    return false;
  }
  processes.EndBurial(dead);
  FreeFromLimbo(deadline);
  return true;
}

// What `dropped` says while an undertaker, whose id it is, takes the object.
constexpr uint64_t kTaken = uint64_t{1} << 63;

void Undertaker::FreeFromLimbo(const timespec& deadline) const {
  if (limbo.load(std::memory_order_acquire) == 0) return;
  // First: what is left there meanwhile is looked at again.
  limbo.store(0, std::memory_order_seq_cst);
  std::vector<ObjectHeader*> found;
  bool all = heap.TryForEachBlock(
      [&](const Heap::Block& block) {
        if (!block.cell || block.owner != Owner::Object(block.address)) return;
        auto* object = static_cast<ObjectHeader*>(block.address);
        if (object->dropped.load(std::memory_order_acquire) != 0 &&
            processes.Find(object->maker.load(std::memory_order_relaxed)).kind == Kind::kFree) {
          found.push_back(object);
        }
      },
      deadline);
  const auto family = found.empty() ? std::nullopt : processes.Family();
  if (!family.has_value()) {
    if (!all || !found.empty()) limbo.store(1, std::memory_order_release);
    return;
  }
  for (ObjectHeader* object : found) {
    all = TakeFromLimbo(*object, *family) && FreeTaken(*object, deadline) && all;
  }
  if (!all) limbo.store(1, std::memory_order_release);
}

// Makes an object in limbo a cell of this process's. False: it is not for us to take, or
// not yet.
bool Undertaker::TakeFromLimbo(ObjectHeader& object,
                               const std::vector<ProcessTable::Entry>& family) const {
  const uint64_t state = object.state.load(std::memory_order_acquire);
  uint64_t dropped = object.dropped.load(std::memory_order_acquire);
  const ProcessId maker = object.maker.load(std::memory_order_relaxed);
  // Again: another may have freed it, and its cell be a new object's.
  if (dropped == 0 || processes.Find(maker).kind != Kind::kFree) return false;
  uint64_t when = dropped;
  if ((dropped & kTaken) != 0) {
    // By one that died before it was done.
    if (processes.Find(dropped & ~kTaken).kind != Kind::kFree) return false;
    when = processes.Clock();
  }
  const uint64_t made = object.made.load(std::memory_order_relaxed);
  if (processes.MayBeUnknown(made)) return false;
  for (const ProcessTable::Entry& process : family) {
    if (process.MayHaveInherited(maker, made, when)) return false;
  }
  // Before: anybody may take it.
  // After:  this process is about to; when it is buried, anybody may again. But the time is lost:
  //         all who were forked since the object was made are taken for heirs.
  // Test:   LimboCrashTest.AnUndertakerMayDieToo
  if (!object.dropped.compare_exchange_strong(dropped, kTaken | self)) return false;
  // Before: an object with the mark of this process.
  // After:  a cell of this process's, which its burial gives back with all that it has.
  // Test:   LimboCrashTest.AnUndertakerMayDieToo
  //
  // Another may have been faster, and the cell be a new object's; or free, where nobody has
  // cleared the mark of one who took it and died; or not yet an object again, where another
  // gives it up. A mark that stayed would keep everybody off for as long as this process lives.
  if (object.state.load(std::memory_order_acquire) != state ||
      object.maker.load(std::memory_order_relaxed) != maker ||
      !heap.ChangeOwner(&object, Owner::Object(&object), Owner::Process(self))) {
    uint64_t taken = kTaken | self;
    object.dropped.compare_exchange_strong(taken, dropped);
    return false;
  }
  object.dropped.store(0, std::memory_order_release);
  return true;
}

// Frees what TakeFromLimbo() took. False: it is in limbo again, for another time.
bool Undertaker::FreeTaken(ObjectHeader& object, const timespec& deadline) const {
  const void* const keep[] = {&object};
  const uint64_t state = object.state.load(std::memory_order_relaxed);
  object.name.store(0, std::memory_order_relaxed);
  if (heap.TryFreeOwnedBy(Owner::Object(&object), keep, Owner::Process(self), deadline)) {
    object.state.store(state & ~ObjectHeader::kTypeMask, std::memory_order_release);
    if (heap.TryFree(&object, Owner::Process(self), deadline)) return true;
  }
  object.state.store(state, std::memory_order_release);
  object.dropped.store(processes.Clock(), std::memory_order_release);
  // Before: a cell of this process's, which its burial gives back with all that it has.
  // After:  an object in limbo, which anybody may take.
  // Test:   LimboCrashTest.WhatAnUndertakerGivesUpComesBackToo
  heap.SetOwner(&object, Owner::Object(&object));
  return false;
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
// before. If it is there it maps the domain, so it is not when nobody unknown does.
int Undertaker::BuryTheUnborn(const timespec& deadline) const {
  std::vector<ProcessId> unborn;
  uint64_t since = std::numeric_limits<uint64_t>::max();
  for (auto process = processes.Next(0); process.kind != Kind::kFree;
       process = processes.Next(process.id)) {
    if (process.kind != Kind::kForked) continue;
    unborn.push_back(process.id);
    since = std::min(since, process.claimed);
  }
  if (unborn.empty() || AnyUnborn(header, processes, since)) return 0;
  int buried = 0;
  for (const ProcessId id : unborn) buried += BuryUntil(deadline, id, Kind::kForked);
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
