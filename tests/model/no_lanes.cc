// For models in which no actor sleeps.

#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

void LaneTable::BuryLanesOf(ProcessId) {}
void LaneTable::TellDeath() {}
int FutexWake(const FutexWord&, int) { return 0; }

}  // namespace mp::internal
