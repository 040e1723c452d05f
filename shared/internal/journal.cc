#include "shared/internal/journal.h"

#include "shared/internal/fatal.h"

namespace mp::internal {

void Journal::Init() {
  mutex_.Init(/*recursive=*/false);
  committed_.store(0, std::memory_order_relaxed);
}

void Journal::Section::EnteredSlow(RobustMutex::Result result) {
  switch (result) {
    case RobustMutex::Result::kBusy:
      return;
    case RobustMutex::Result::kOwnerDied: {
      // [B] with [A]. Dying in here leaves OWNER_DIED: the next one does it again.
      const uint64_t pending = journal_.committed_.load(std::memory_order_acquire);
      if (pending > kCapacity) Fatal("journal: its memory was overwritten");
      journal_.Apply(pending);
      journal_.mutex_.MarkConsistent();
      held_ = true;
      return;
    }
    case RobustMutex::Result::kHeldByCaller:
      Fatal(
          "domain: entered again by a thread that is inside it; a signal handler must not allocate "
          "or free in it, nor copy or drop handles");
    case RobustMutex::Result::kAcquired:
      break;
  }
  held_ = true;
}

void Journal::Section::Overflow() { Fatal("journal: a section of more words than it holds"); }

void Journal::Section::NotHeld() {
  Fatal("journal: left by a thread that does not hold it; its memory was overwritten");
}

}  // namespace mp::internal
