#include "mp/internal/cancellation_state.h"

#include <cerrno>
#include <cstdint>

#include "mp/internal/doorbell.h"
#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"

namespace mp::internal {

void CancellationState::Init() {
  word.store(0, std::memory_order_relaxed);
  for (Word& bell : bells) bell.store(0, std::memory_order_relaxed);
}

void CancellationState::Cancel() {
  const int error = errno;  // of what a handler interrupts
  // Before: it is not cancelled.
  // After:  it is; the burial of who dies before it has called them all wakes who sleeps on it, and
  //         who polls looks.
  // Test:   CancellationCrashTest.WhoWaitsIsToldWhoeverDies
  word.store(1, std::memory_order_seq_cst);  // [A] with [B]
  FutexWake(LowHalf(word), kWakeAll);
  for (const Word& bell : bells) {
    if (bell.load(std::memory_order_seq_cst) == 0) continue;
    // Where there is no descriptor to do that with, it looks by itself.
    Doorbell::RingInHandler(bell);
  }
  errno = error;
}

bool CancellationState::AddBell(uint64_t number) {
  for (const bool from_the_dead : {false, true}) {
    for (Word& bell : bells) {
      uint64_t other = bell.load(std::memory_order_relaxed);
      if (other != 0 && (!from_the_dead || Doorbell::IsThere(other))) continue;
      // Before: it looks by itself.
      // After:  it is called; when it dies, this is anybody's.
      // Test:   CancellationCrashTest.WhoWaitsByDescriptorMayDie
      if (bell.compare_exchange_strong(other, number, std::memory_order_seq_cst)) {  // [B] with [A]
        return true;
      }
    }
  }
  return false;
}

void CancellationState::RemoveBell(uint64_t number) {
  for (Word& bell : bells) {
    uint64_t expected = number;
    if (bell.compare_exchange_strong(expected, 0, std::memory_order_relaxed)) return;
  }
}

}  // namespace mp::internal
