// tests/support/bury.h
//
// Bury: gives back what a dead process left in the domain, so that a test can count
// what is left over: nothing.

#ifndef MP_TESTS_SUPPORT_BURY_H_
#define MP_TESTS_SUPPORT_BURY_H_

#include <cstdint>
#include <vector>

#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/object.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/owner.h"

namespace mp::testing {

// Its blocks, its cells that were being made or dropped, and the objects that it made
// and nobody can drop any more, each with all that they own.
inline void Bury(uint64_t process) {
  Domain& domain = *Domain::Current();
  const Owner self = domain.ThisProcess();
  std::vector<void*> cells;
  domain.heap().ForEachBlock([&](const Heap::Block& block) {
    if (!block.cell) return;
    const auto* object = static_cast<const internal::ObjectHeader*>(block.address);
    if (block.owner == Owner::Process(process) ||
        (block.owner == Owner::Object(block.address) &&
         object->maker.load(std::memory_order_relaxed) == process)) {
      cells.push_back(block.address);
    }
  });
  for (void* cell : cells) {
    const void* const keep[] = {cell};
    domain.heap().FreeOwnedBy(Owner::Object(cell), keep, self);
    domain.heap().Free(cell, self);
  }
  domain.heap().FreeOwnedBy(Owner::Process(process), {}, self);
}

// Everything of every process but this one, which are all dead.
inline void BuryAllOthers() {
  Domain& domain = *Domain::Current();
  const uint64_t self = domain.ThisProcess().identity();
  std::vector<uint64_t> processes;
  domain.heap().ForEachBlock([&](const Heap::Block& block) {
    uint64_t process = self;
    if (block.owner.kind() == Owner::Kind::kProcess) process = block.owner.identity();
    if (block.cell && block.owner == Owner::Object(block.address)) {
      process = static_cast<const internal::ObjectHeader*>(block.address)
                    ->maker.load(std::memory_order_relaxed);
    }
    if (process != self) processes.push_back(process);
  });
  for (const uint64_t process : processes) Bury(process);
}

// The family, as its table has it.
inline std::vector<internal::ProcessId> AllIds() {
  using internal::ProcessTable;
  const ProcessTable& table = Domain::Current()->processes();
  std::vector<internal::ProcessId> ids;
  for (auto entry = table.Next(0); entry.kind != ProcessTable::Kind::kFree;
       entry = table.Next(entry.id)) {
    ids.push_back(entry.id);
  }
  return ids;
}

// Whoever is dead is buried, and what this process has in limbo for them ends.
inline void Settle() {
  if (Domain::Current() == nullptr) return;
  Domain::Current()->BuryTheDead(internal::Evidence::kThorough);
  internal::EndObjectsInLimbo();
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_BURY_H_
