// Barrier: as many threads and processes of a family as there are parties wait for one another,
// round by round. A handle: copies mean the same barrier.
//
//   mp::Barrier barrier(2, {.action = [] { Swap(); }});   // run by one of them, before they go on
//   mp::Process child([barrier] {
//     for (int step = 0; step < kSteps; ++step) {
//       Compute(step);
//       if (!barrier.Wait().ok()) return;                 // broken: somebody will not come
//     }
//   });
//
// A round is broken by whoever does not wait any longer, or dies while it waits; by an action that
// throws; by Abort() and Reset(). Who waits then, and who comes later, gets kAborted, whose message
// says why and names the process, until Reset().
//
// Ordering: what was done before a Wait() is visible to all when it has returned, and to the
//           action.
// Death:    the round of a process that dies while it waits, or runs the action, is broken, and
//           complete for nobody; unless all had come when it died. One that dies before it has come
//           is not missed: nothing is known of it. Nobody who waits is left asleep by a death.
// Fork:     a child has the handle, and does not wait in its parent's place. One that was forked
//           within the action, and comes out of it, gets kFailedPrecondition and ends nothing.
// Action:   is kept by the process that made the barrier, and by those that were forked from it
//           later. The last one to come runs it, or if that has not got it, another that waits.
// Lifetime: as that of a Shared (shared/shared.h). The action ends with the barrier in the process
//           that ended it; another keeps what it has until its own end, or until it makes another
//           barrier with an action in the same place.
// Signals:  Abort() may be called in a signal handler. Wait() goes on after one.
// Misuse:   Wait() within the action: it returns when its time is over, or waits for ever.
// Limit:    65,535 parties; as many that wait at once as the domain has room for, permits and
//           others that processes hold included: 163,840 by default (shared/internal/holds.h).
// Cost:     232 bytes of the domain, and 24 for one that waits. Who waits spins a little, then
//           sleeps; no system call where nobody sleeps. Figures in docs/benchmarks.md.

#ifndef MP_SYNC_BARRIER_H_
#define MP_SYNC_BARRIER_H_

#include <time.h>

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/barrier_header.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"

namespace mp {

struct BarrierOptions {
  std::function<void()> action = {};
  absl::Duration timeout = absl::InfiniteDuration();  // of a Wait() that names none
  std::string name = {};                              // for messages and listings
};

class Barrier {
 public:
  // Ends the process, with a line that says why, where Create() would fail.
  explicit Barrier(int parties, const BarrierOptions& options = {});
  // kResourceExhausted: no memory; see Domain::Get() for more. kInvalidArgument: not between 1 and
  // 65,535 parties.
  static absl::StatusOr<Barrier> Create(int parties, const BarrierOptions& options = {});

  // Until all have come. Returns as which of them, from 0 on in the order in which they came.
  // kAborted: it is broken. kDeadlineExceeded: not all came in time, and so this has broken it; or
  // the action of the round before was not over in time, which goes on. Zero or less waits for
  // nobody. kInternal: the action, run here, threw. kFailedPrecondition: all
  // came, and none of them has the action; it is broken. kResourceExhausted: no memory for its
  // place.
  absl::StatusOr<int> Wait() const;
  absl::StatusOr<int> Wait(absl::Duration timeout) const;

  // As new; who waits gets kAborted, once: who comes after that is in the next round.
  void Reset() const;
  // Broken, until Reset().
  void Abort() const;

  int parties() const { return static_cast<int>(state_->parties()); }
  // How many wait, and whether it is broken; the answer may be old when it arrives.
  int NWaiting() const { return static_cast<int>(State::Waiting(Settled())); }
  bool Broken() const { return State::IsBroken(Settled()); }

 private:
  friend struct internal::HandleAccess;
  using Travels = Barrier;

  struct State : internal::BarrierHeader {
    void FreeBlocks();
  };
  using Place = State::Place;
  using Action = std::function<void()>;

  explicit Barrier(const internal::Handle<State>& state) : state_(state) {}

  static absl::StatusOr<State*> Make(int parties, const BarrierOptions& options);
  static State* MakeOrDie(int parties, const BarrierOptions& options);
  absl::StatusOr<int> WaitUntil(const timespec* deadline) const;
  absl::StatusOr<int> WaitIn(Place& place, const timespec* deadline) const;
  // `action`: of this process; nullptr: it has none.
  absl::StatusOr<int> WaitForOthers(const Place& place, const Action* action,
                                    const timespec* deadline) const;
  absl::StatusOr<int> Act(const Place& place, const Action& action) const;
  // False: it is still pending at `deadline`.
  template <typename IsPending>
  bool SleepWhile(const timespec* deadline, const IsPending& is_pending) const;
  absl::Status WhyBroken(uint64_t round) const;
  // The count, without those who are dead.
  uint64_t Settled() const;

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_SYNC_BARRIER_H_
