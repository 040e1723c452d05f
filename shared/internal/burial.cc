#include "shared/internal/burial.h"

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include "shared/owner.h"

namespace mp::internal {

using Kind = ProcessTable::Kind;

void Undertaker::Bury(ProcessId dead, Kind was) const {
  processes.DeclareDead(dead, was);
  // First, or its own burial would not look for what it had begun.
  processes.SetFlag(self, ProcessTable::kActed);
  if (!processes.BeginBurial(dead, self)) return;
  const uint32_t flags = processes.Find(dead).flags;
  if ((flags & ProcessTable::kActed) != 0) processes.ReleaseActed(dead);
  if ((flags & ProcessTable::kUsedHeap) != 0) {
    heap.FreeOwnedBy(Owner::Process(dead), {}, Owner::Process(self));
  }
  processes.EndBurial(dead);
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
  for (const ProcessId id : dead) Bury(id);
  const auto buried = static_cast<int>(dead.size());
  // Only now: their children are known for such, and none of their pids is taken for alive.
  return evidence == Evidence::kThorough ? buried + BuryTheUnborn() : buried;
}

// A child that has a slot and has not yet told its pid will do so at once, or was killed
// before. If it is there it maps the domain, so it is not when nobody unknown does.
int Undertaker::BuryTheUnborn() const {
  std::vector<ProcessId> unborn;
  std::set<pid_t> known;
  uint64_t since = std::numeric_limits<uint64_t>::max();
  for (auto process = processes.Next(0); process.kind != Kind::kFree;
       process = processes.Next(process.id)) {
    if (process.kind == Kind::kLive) known.insert(process.pid);
    if (process.kind != Kind::kForked) continue;
    unborn.push_back(process.id);
    since = std::min(since, process.started);
  }
  if (unborn.empty() ||
      AnyUnknownMaps(header, since, [&known](pid_t pid) { return known.contains(pid); })) {
    return 0;
  }
  for (const ProcessId id : unborn) Bury(id, Kind::kForked);
  return static_cast<int>(unborn.size());
}

}  // namespace mp::internal
