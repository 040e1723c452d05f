// tests/support/bury.h
//
// Bury: gives back what a dead process left in the domain, so that a test can count
// what is left over: nothing.

#ifndef MP_TESTS_SUPPORT_BURY_H_
#define MP_TESTS_SUPPORT_BURY_H_

#include <cstdint>
#include <thread>
#include <vector>

#include "shared/domain.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"

namespace mp::testing {

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

// Everything that `process`, which is dead, has left.
inline void Bury(uint64_t process) {
  Domain::Current()->Bury(process);
  internal::EndObjectsInLimbo();
}

// Whoever is dead is buried, and what this process has in limbo for them ends.
inline void Settle() {
  if (Domain::Current() == nullptr) return;
  Domain::Current()->BuryTheDead(internal::Evidence::kThorough);
  internal::EndObjectsInLimbo();
}

// The same, until all others of the family are buried: of one that was killed before it had told
// its pid there may not be proof at once.
inline void SettleUntilAlone() {
  while (AllIds().size() > 1) {
    Domain::Current()->BuryTheDead(internal::Evidence::kThorough);
    std::this_thread::yield();
  }
  Settle();
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_BURY_H_
