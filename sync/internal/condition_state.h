// ConditionState: who waits on a condition, and how many of them have been notified.
//
// Layout: LockState, which is its lock unless it was made with another's, then
//   field    written by   meaning
//   signal   all          sleepers (bit 0): somebody may sleep on its low half
//                         notifies (1-31): how many there were
//                         tokens (32-47): how many more of those who wait may go
//                         waiting (48-63): how many wait, and have no token
//
//   C1  Who waits was counted while it held the lock; it goes with a token of a notify that came
//       later, or leaves without one. Either is one change of `signal`.
//   C2  tokens <= waiting. Where nobody waits, there are no sleepers and no tokens.
//   Repair after a death: who died waiting stays counted; a notify that finds tokens left over
//   counts anew by the lanes. Where one dies that waited, or was on its way back from that, whoever
//   has waited since before a notify goes: the token may have been the dead one's.

#ifndef MP_SYNC_INTERNAL_CONDITION_STATE_H_
#define MP_SYNC_INTERNAL_CONDITION_STATE_H_

#include <time.h>

#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/robust_mutex.h"
#include "sync/internal/lock_state.h"

namespace mp::internal {

struct ConditionState : LockState {
  Word signal;

  void Init() {
    LockState::Init(/*recursive=*/true);
    signal.store(0, std::memory_order_relaxed);
  }

  FutexWord& word() { return LowHalf(signal); }

  // By the holder of the lock. How many sleepers are to be woken when the lock is free.
  int Notify(int count);
  uint64_t CountAnew(uint64_t waiting);

  // One who waits.
  class Waiter {
   public:
    // `lane`: its lane, with a note that it sleeps on word(). One without (nullptr) would not be
    // found among the living, nor told of a death: it is not counted, and looks up by itself.
    // `lock`: the condition's.
    Waiter(ConditionState& state, const RobustMutex& lock, const Lane* lane)
        : state_(state), lock_(lock), lane_(lane) {}
    // By the holder of the lock. False: too many wait.
    [[nodiscard]] bool Register();
    // Without the lock. False: at `deadline` nobody had notified it.
    bool Wait(const timespec* deadline);

   private:
    bool MayGo(uint64_t seen) const;
    bool TakeToken();
    void Leave();
    bool Nap(const timespec* deadline) const;

    ConditionState& state_;
    const RobustMutex& lock_;
    const Lane* const lane_;
    uint64_t seen_ = 0;
    uint32_t notifies_ = 0;  // when it came
  };
};
static_assert(sizeof(ConditionState) <= 112);  // with its owner word, 120 bytes

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_CONDITION_STATE_H_
