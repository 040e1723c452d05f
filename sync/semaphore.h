// Semaphore: lets as many threads and processes of a family go on at once as it has permits. A
// handle: copies mean the same semaphore.
//
//   mp::Semaphore seats(3);
//   mp::Process child([seats] {
//     mp::Permit permit = seats.AcquirePermit();  // one of three
//     ...
//   });                                           // given back here, or by the process's death
//
//   seats.Acquire();   // nobody's: any process may release it, as in Python
//   seats.Release();
//
// BoundedSemaphore: the same, and a Release() that would give it more permits than it began with
// is refused; where somebody has released in the place of one who has a Permit, the end of that
// adds nothing.
//
// Ordering: what was done before a permit was released is visible to who then acquires it.
// Death:    a Permit is its process's, and comes back when that dies, at whatever instruction,
//           exactly once. What was acquired without one is nobody's: when its process dies, it does
//           not come back. Nobody who waits is left asleep by a death.
// Fork:     a child has the handle. A copy of its parent's Permit that it has does nothing.
// Lifetime: as that of a Shared (shared/shared.h); and no shorter than that of its permits.
// Threads:  a Permit may be moved to another thread, and ends there.
// Signals:  Release() may be called in a signal handler, also in one that interrupts another
//           operation of this library; not so a BoundedSemaphore's that may be refused: its status
//           takes memory. A wait goes on after a handler.
// Misuse:   more than 2,147,483,647 permits, or a negative number of them to release: this process
//           ends, with one line that names the semaphore, unless the call returns a status; so it
//           does for a negative initial value, which Create() refuses.
// Limit:    as many Permits at once as the domain has room for: 163,840 by default
//           (shared/internal/holds.h); who takes one more ends its process, or has none, if it
//           only tries.
// Cost:     88 bytes of the domain, and 24 for a permit. Who waits spins a little, then sleeps; no
//           system call where nobody sleeps. Figures in docs/benchmarks.md.

#ifndef MP_SYNC_SEMAPHORE_H_
#define MP_SYNC_SEMAPHORE_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/object_type.h"
#include "sync/internal/counter.h"
#include "sync/internal/semaphore_base.h"
#include "sync/permit.h"  // IWYU pragma: export

namespace mp {

struct SemaphoreOptions {
  std::string name = {};  // for messages and listings
};
struct BoundedSemaphoreOptions {
  std::string name = {};  // for messages and listings
};

// Acquire(), AcquirePermit(), GetValue() and Locked(): sync/internal/semaphore_base.h.
class Semaphore : public internal::SemaphoreBase {
 public:
  // Ends the process, with a line that says why, where Create() would fail.
  explicit Semaphore(int value = 1, const SemaphoreOptions& options = {})
      : SemaphoreBase(internal::ObjectType::kSemaphore, value, options.name) {}
  // kResourceExhausted: no memory; see Domain::Get() for more. kInvalidArgument: `value` < 0.
  static absl::StatusOr<Semaphore> Create(int value = 1, const SemaphoreOptions& options = {}) {
    absl::StatusOr<internal::Counter> counter =
        internal::Counter::Create(internal::ObjectType::kSemaphore, value, options.name);
    if (!counter.ok()) return counter.status();
    return Semaphore(*std::move(counter));
  }

  void Release(int count = 1) const;

 private:
  friend struct internal::HandleAccess;
  using Travels = Semaphore;

  explicit Semaphore(internal::Counter counter) : SemaphoreBase(std::move(counter)) {}
};

class BoundedSemaphore : public internal::SemaphoreBase {
 public:
  // Ends the process, with a line that says why, where Create() would fail.
  explicit BoundedSemaphore(int value = 1, const BoundedSemaphoreOptions& options = {})
      : SemaphoreBase(internal::ObjectType::kBoundedSemaphore, value, options.name) {}
  // kResourceExhausted: no memory; see Domain::Get() for more. kInvalidArgument: `value` < 0.
  static absl::StatusOr<BoundedSemaphore> Create(int value = 1,
                                                 const BoundedSemaphoreOptions& options = {}) {
    absl::StatusOr<internal::Counter> counter =
        internal::Counter::Create(internal::ObjectType::kBoundedSemaphore, value, options.name);
    if (!counter.ok()) return counter.status();
    return BoundedSemaphore(*std::move(counter));
  }

  // kFailedPrecondition: it would have more than it began with; nothing is released then.
  // kInvalidArgument: `count` < 0.
  absl::Status Release(int count = 1) const;

 private:
  friend struct internal::HandleAccess;
  using Travels = BoundedSemaphore;

  explicit BoundedSemaphore(internal::Counter counter) : SemaphoreBase(std::move(counter)) {}
};

}  // namespace mp

#endif  // MP_SYNC_SEMAPHORE_H_
