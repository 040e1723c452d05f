// Burial: what a dead process leaves goes back to the family, and its slot with it.
//
// Done by who learns of a death: the parent that waits for its child, and whoever is
// short of memory or of slots. Each step may be repeated, so an undertaker that is killed
// is no problem: its own burial, by another, leaves what it had begun to others.
//
//   1  the slot has an undertaker, the only one                  ProcessTable::BeginBurial
//   2  what the dead was the actor of has none again             ReleaseActed
//   3  its blocks, and the objects that it was making or
//      dropping, are free                                        Heap::FreeOwnedBy
//   4  the slot is FREE                                          EndBurial
//
// No code of the program runs: objects are not destroyed, their memory is given back.

#ifndef MP_SHARED_INTERNAL_BURIAL_H_
#define MP_SHARED_INTERNAL_BURIAL_H_

#include "shared/heap.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"

namespace mp::internal {

struct Undertaker {
  const DomainHeader& header;
  ProcessTable& processes;
  Heap& heap;
  ProcessId self;  // the calling process

  // `was` LIVE: the caller has proof that the process is dead. Nothing happens when it is
  // buried already, or another undertaker is at it.
  void Bury(ProcessId dead, ProcessTable::Kind was = ProcessTable::Kind::kLive) const;

  // Looks at every process, and buries those of whose death there is evidence. Returns how
  // many.
  int BuryTheDead(Evidence evidence) const;

 private:
  int BuryTheUnborn() const;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_BURIAL_H_
