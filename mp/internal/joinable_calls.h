// JoinableCalls: what the JoinableQueues of a T have in common, whatever a T is: who takes waits
// for what is put, and for what comes back; who joins, until all is finished.

#ifndef MP_MP_INTERNAL_JOINABLE_CALLS_H_
#define MP_MP_INTERNAL_JOINABLE_CALLS_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/internal/joinable_rings.h"
#include "mp/internal/joinable_state.h"
#include "mp/internal/queue_calls.h"
#include "shared/internal/atomic.h"
#include "shared/internal/handle.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

class JoinableCalls {
 public:
  using Lease = JoinableRings::Lease;

  static absl::StatusOr<JoinableState*> Make(size_t maxsize, int max_deliveries,
                                             std::string_view name);
  static JoinableState* MakeOrDie(size_t maxsize, int max_deliveries, std::string_view name);

  // After `count` values were put, if they were: who sleeps for them is told.
  static absl::Status AfterPut(absl::Status status, JoinableState& state, size_t count) {
    // The put ended with an instruction that no load passes: who sleeps has said so before, and is
    // seen here, or sees what has been put. [A] with [B]
    if (state.take_sleeps.load(std::memory_order_relaxed) != 0 && status.ok() && count != 0)
        [[unlikely]]
      Wake(state, count);
    return status;
  }

  static absl::Status Get(JoinableState& state, Received& received, const timespec* deadline);
  static absl::Status GetMany(JoinableState& state, size_t most,
                              std::vector<std::unique_ptr<Received>>& received,
                              const timespec* deadline);
  static absl::Status Take(JoinableState& state, Lease& lease, const timespec* deadline);
  static void Finish(JoinableState& state, const Lease& lease);
  static void Return(JoinableState& state, const Lease& lease);

  // What the dead had leased comes back, as far as that is known.
  static void Settle(JoinableState& state, const timespec* deadline);

  static void TaskDone(JoinableState& state);
  static absl::Status Join(JoinableState& state, const timespec* deadline);
  static void Shutdown(JoinableState& state, bool immediate);

  static size_t Size(JoinableState& state) {
    return state.Size() + state.returned.load(std::memory_order_acquire);
  }

 private:
  using Result = JoinableRings::Result;

  static Result Until(JoinableState& state, size_t count, const timespec* deadline,
                      absl::FunctionRef<Result()> try_it);
  static Result WaitUntil(JoinableState& state, const timespec* deadline,
                          absl::FunctionRef<Result()> try_it);
  static absl::Status StatusOf(Result result, const JoinableState& state);
  static void TellTakers(JoinableState& state);
  static void TellJoiners(JoinableState& state);
  // `count` is not 0: who is left asleep is woken by who was woken.
  static void Wake(JoinableState& state, size_t count);
};

// One lease, of this process: returned at the end of this, unless it was finished.
class LeaseHold {
 public:
  // Takes over a lease of this process's.
  LeaseHold(const Handle<JoinableState>& state, const JoinableCalls::Lease& lease);
  LeaseHold(LeaseHold&& other) noexcept;
  LeaseHold& operator=(LeaseHold&& other) noexcept;
  ~LeaseHold() { Return(); }

  const JoinableCalls::Lease& lease() const { return lease_; }
  // Once; then nothing happens, nor in a child that was forked meanwhile.
  void Finish();

 private:
  void Return();
  // Whether there is something to end; then there is not.
  bool Release();

  Handle<JoinableState> state_;
  JoinableCalls::Lease lease_;
  ProcessId process_;  // whose it is; 0: it has ended, or moved on
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_JOINABLE_CALLS_H_
