// Burial: what a dead process leaves goes back to the family, and its slot with it.
//
// Done by who learns of a death: the sentry (sentry.h), the parent that waits for its child,
// whoever is short of memory or of slots, and who drops an object that the dead one may have
// inherited. Each step may
// be repeated, so an undertaker that is killed is no problem: its own burial, by another, leaves
// what it had begun to others.
//
//   1  the slot has an undertaker, the only one                  ProcessTable::BeginBurial
//   2  what the dead was the actor of has none again             ReleaseActed
//   3  whom its threads kept waiting is woken, their lanes are
//      free; who waits for a death is woken                      LaneTable::BuryLanesOf
//      what it has of objects is given back                      HoldTable::Bury
//   4  its stakes in objects are dropped: those that it made,    Stakes
//      and those that its blocks have handles to
//   5  objects in limbo without a living keeper, that nobody     Heap::ChangeOwner
//      can have inherited, are the dead one's
//   6  its blocks, and the objects that are its own, are free    Heap::FreeOwnedBy
//   7  the slot is FREE                                          EndBurial
//
// It waits for locks of the heap for 50 ms in all, or as long as its caller says: a process that is
// stopped inside the heap holds up what it holds, not who forks or joins. What is left then is
// DEAD, for the next one.
//
// No code of the program runs: objects are not destroyed, their memory is given back.

#ifndef MP_SHARED_INTERNAL_BURIAL_H_
#define MP_SHARED_INTERNAL_BURIAL_H_

#include <time.h>

#include <cstdint>
#include <vector>

#include "shared/heap.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/holds.h"
#include "shared/internal/lane.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/stakes.h"

namespace mp::internal {

struct Undertaker {
  const DomainHeader& header;
  ProcessTable& processes;
  Heap& heap;
  Stakes& stakes;
  LaneTable& lanes;
  HoldTable& holds;
  ProcessId self;  // the calling process

  // The caller has proof that the process is dead. Nothing happens when it is buried already,
  // or another undertaker is at it; and what needs a lock that a stopped process holds waits
  // for another time. True: nothing is left of it.
  bool Bury(ProcessId dead) const { return Bury(dead, Patience()); }
  // The same; waits for locks of the heap until `deadline`.
  bool Bury(ProcessId dead, const timespec& deadline) const;

  // Looks at every process, and buries those of whose death there is evidence. Returns how
  // many.
  int BuryTheDead(Evidence evidence) const;
  // The children that were killed before they began, where nobody unknown maps the domain.
  int BuryTheUnborn() const { return BuryTheUnborn(Patience()); }
  int BuryTheUnborn(const timespec& deadline) const;

 private:
  static timespec Patience();
  // `was`: of what there is proof.
  bool BuryUntil(const timespec& deadline, ProcessId dead, ProcessTable::Kind was) const;
  // Steps 4 to 6. False: something is left, for another time.
  bool GiveBack(const timespec& deadline, ProcessId dead, uint32_t flags) const;
  struct Estate;
  bool FindEstate(const timespec& deadline, ProcessId dead, uint32_t flags, Estate& estate) const;
  bool DropStakes(const timespec& deadline, ProcessId dead, Estate& estate) const;
  bool FindLateHandles(const timespec& deadline, Estate& estate) const;
  void TakeFromLimbo(const timespec& deadline, ProcessId dead, Estate& estate) const;
  bool IsKept(ProcessId keeper) const;
  // Whether nobody can have the object.
  bool IsLeft(const Stakes::Look& look, const std::vector<ProcessTable::Entry>& family) const;
};

// Whether there may be a process that was forked at `since` or later, in nanoseconds of
// CLOCK_BOOTTIME, and has not yet told its pid: one that maps the domain and is nobody's who is
// LIVE.
bool AnyUnborn(const DomainHeader& header, const ProcessTable& processes, uint64_t since);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_BURIAL_H_
