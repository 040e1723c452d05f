// Latch: threads and processes of a family wait until it has been counted down to nothing, once. A
// handle: copies mean the same latch.
//
//   mp::Latch started(1);
//   mp::Process child([started] {
//     started.Join();       // from here on counted down by this process's death, if not before
//     ...
//     started.CountDown();
//   });
//   started.Wait();         // also if the child is killed, once it has joined
//
// Ordering: what was done before a CountDown() is visible to whoever has waited.
// Death:    a process that has called Join() is counted down by its death, if it was not before,
//           exactly once, at whatever instruction it dies. Of one that has not, nobody knows that
//           it was to come. Nobody who waits is left asleep by a death.
// Fork:     a child has the handle; what its parent has joined is the parent's.
// Lifetime: as that of a Shared (shared/shared.h); and no shorter than processes have joined it and
//           are not counted down.
// Threads:  what one thread has joined another of its process may count down.
// Signals:  not in a signal handler. Wait() goes on after one.
// Misuse:   a negative number: this process ends, with one line that names the latch. To count
//           down more than are to come is no misuse: the latch is at nothing then. To join more
//           often than are to come is one that nobody is told of: who waits goes on when as many
//           as were to come have been counted down, whoever of those that have joined.
// Limit:    a latch of 2,147,483,647; as many that are joined at once as the domain has room for,
//           permits and others that processes hold included: 163,840 by default
//           (shared/internal/holds.h).
// Cost:     88 bytes of the domain, and 24 for one that is joined. To count down one that is joined
//           looks at all places for holds of the family, as a writer of an RWLock does. Who waits
//           spins a little, then sleeps; no system call where nobody sleeps. Figures in
//           docs/benchmarks.md.

#ifndef MP_SYNC_LATCH_H_
#define MP_SYNC_LATCH_H_

#include <time.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/latch_header.h"

namespace mp {

struct LatchOptions {
  std::string name = {};  // for messages and listings
};

class Latch {
 public:
  // Ends the process, with a line that says why, where Create() would fail.
  explicit Latch(int count, const LatchOptions& options = {});
  // kResourceExhausted: no memory; see Domain::Get() for more. kInvalidArgument: `count` < 0.
  static absl::StatusOr<Latch> Create(int count, const LatchOptions& options = {});

  // One of those that are to come is this process. Each call joins one more. Ends the process where
  // there is no memory for it.
  void Join() const;
  // Those that this process has joined are counted down first.
  void CountDown(int by = 1) const;

  // Until it is at nothing.
  void Wait() const {
    if (state_->value() != 0) WaitUntil(&internal::kUncancelled);
  }
  // False: it was not, in time. Zero or less looks once.
  [[nodiscard]] bool Wait(absl::Duration timeout) const;
  [[nodiscard]] bool TryWait() const;
  // How many are to come; the answer may be old when it arrives.
  int GetCount() const { return static_cast<int>(TryWait() ? 0 : state_->value()); }

 private:
  friend struct internal::HandleAccess;
  using Travels = Latch;

  struct State : internal::LatchHeader {
    void FreeBlocks() {}
  };

  explicit Latch(const internal::Handle<State>& state) : state_(state) {}

  static absl::StatusOr<State*> Make(int count, const LatchOptions& options);
  static State* MakeOrDie(int count, const LatchOptions& options);
  bool WaitUntil(const timespec* deadline) const;
  bool CountDownJoined() const;

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_SYNC_LATCH_H_
