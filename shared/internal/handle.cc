#include "shared/internal/handle.h"

#include <cstdint>

#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/busy.h"
#include "shared/internal/ledger.h"
#include "shared/internal/process_table.h"
#include "shared/internal/stakes.h"
#include "shared/owner.h"

namespace mp::internal {
namespace {

// The low 16 bits, in the upper ones: of a handle that this process counts.
uint64_t TagOf(ProcessId self) { return self << Stakes::kAddressBits; }

// The object in whose cell, or in whose block, the handle lies; nullptr: a process's, whose
// slot then says so, or a message's.
ObjectHeader* HolderOf(Domain& domain, const Word& place) {
  const Heap::Block block = domain.heap().Find(&place);
  if (block.cell) return static_cast<ObjectHeader*>(block.address);
  if (block.owner.kind() == Owner::Kind::kObject) {
    return reinterpret_cast<ObjectHeader*>(block.owner.identity());
  }
  if (block.owner.kind() == Owner::Kind::kProcess) {
    domain.processes().SetFlag(block.owner.identity(), ProcessTable::kHasHandles);
  }
  return nullptr;
}

// Whether it lies in memory of a process that this one descends from: a container that a fork
// copied, and whose elements it did not. What that one allocated is its own to drop.
bool IsCopyOfAnAncestors(Domain& domain, const Word& place) {
  const Owner owner = domain.heap().Find(&place).owner;
  ProcessId self = domain.ThisProcessIfAny();
  if (owner.kind() != Owner::Kind::kProcess || owner.identity() == self) return false;
  while (self != 0 && self != owner.identity()) self = domain.processes().Find(self).parent;
  return self != 0;
}

void PlaceHandle(Domain& domain, Word& place, ObjectHeader* cell) {
  domain.stakes().Place(place, *cell, HolderOf(domain, place), domain.processes());
}

}  // namespace

void MakeHandle(Word& to, ObjectHeader* cell) {
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.ThisProcess().identity();
  if (!domain.Contains(&to)) {
    to.store(reinterpret_cast<uint64_t>(cell) | TagOf(self), std::memory_order_relaxed);
    return;
  }
  PlaceHandle(domain, to, cell);
  cell->handles.store(0, std::memory_order_relaxed);
  // It has the one that was placed.
  (void)domain.stakes().DropMaker(*cell, cell->state.load(std::memory_order_relaxed), self,
                                  domain.processes());
}

void CopyHandle(Word& to, const Word& from, ObjectHeader* cell) {
  Domain& domain = *Domain::Current();
  if (domain.Contains(&to)) return PlaceHandle(domain, to, cell);
  const ProcessId self = domain.ThisProcess().identity();
  const bool maker = cell->maker.load(std::memory_order_relaxed) == self;
  const bool taken_out = domain.Contains(&from);
  const bool counted = from.load(std::memory_order_relaxed) >> Stakes::kAddressBits ==
                       TagOf(self) >> Stakes::kAddressBits;
  uint64_t tag = TagOf(self);
  if (maker && (taken_out || counted)) {
    if (AddHandles(*cell, 1) == 1) domain.stakes().TakeMaker(*cell, domain.processes());
  } else if (taken_out) {
    TakeForeign(cell);
  } else if (!counted || !CopyForeign(cell)) {
    tag = 0;
  }
  to.store(reinterpret_cast<uint64_t>(cell) | tag, std::memory_order_relaxed);
}

Stakes::Look DropHandle(Word& word) {
  Domain& domain = *Domain::Current();
  if (domain.Contains(&word)) {
    if (IsCopyOfAnAncestors(domain, word)) return {};
    return domain.stakes().Drop(word, domain.AsHolder().identity(), domain.processes());
  }
  const uint64_t counted = word.load(std::memory_order_relaxed);
  const uint64_t tag = counted >> Stakes::kAddressBits;
  if (tag == 0 || tag != TagOf(domain.ThisProcessIfAny()) >> Stakes::kAddressBits) return {};
  return DropForeign(reinterpret_cast<ObjectHeader*>(counted & Stakes::kAddress));
}

Stakes::Look ReplaceHandle(Word& word, ObjectHeader* cell) {
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.AsHolder().identity();
  return domain.stakes().Replace(word, *cell, HolderOf(domain, word), self, domain.processes());
}

Stakes::Look DropLastHandle(ObjectHeader* cell, uint64_t state) {
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.AsHolder().identity();
  return domain.stakes().DropMaker(*cell, state, self, domain.processes());
}

bool RetireAtOnce(ObjectHeader* cell) {
  // Who had no handle but its maker's, of whom the last is gone, is nobody's. Had there been one
  // in the domain, another thread might have copied it meanwhile.
  Domain& domain = *Domain::Current();
  if (cell->stakes.load(std::memory_order_acquire) != Stakes::kMaker ||
      IsBusy(*cell, domain.holds())) {
    return false;
  }
  const ProcessTable::Legacy legacy{.maker = cell->maker.load(std::memory_order_relaxed),
                                    .made = cell->made.load(std::memory_order_relaxed),
                                    .dropped = domain.processes().Clock(),
                                    .spread = false};
  // Without a fork in between nobody has inherited it.
  if (legacy.made != legacy.dropped && domain.AnyInherited(legacy)) return false;
  RetireCell(cell);
  return true;
}

}  // namespace mp::internal
