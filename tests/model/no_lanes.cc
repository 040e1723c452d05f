// For models in which no actor sleeps, or has permits.

#include "shared/internal/lane.h"
#include "shared/internal/permits.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

void LaneTable::BuryLanesOf(ProcessId) {}
void LaneTable::TellDeath() {}
void PermitTable::Bury(ProcessId) {}

}  // namespace mp::internal
