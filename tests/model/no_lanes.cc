// For models in which no actor sleeps, or owes a wake to one that does.

#include "shared/internal/lane.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

void LaneTable::BuryLanesOf(ProcessId) {}
void LaneTable::TellDeath() {}

}  // namespace mp::internal
