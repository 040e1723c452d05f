// RWLock: many readers at once or one writer, of the threads and processes of a family. A handle:
// copies mean the same lock.
//
//   mp::RWLock lock;
//   mp::Process child([lock] {
//     std::shared_lock reader(lock);
//     ...
//   });
//   mp::LockGuard writer(lock);        // or std::unique_lock
//   if (writer.owner_died()) { Repair(); lock.MarkConsistent(); }
//
// A writer that waits keeps new readers away, so it gets its turn; readers that a writer has kept
// away go on when it has written, all at once. One who reads may read again meanwhile, at any
// time, and gives back as often.
//
// Ordering: what a writer did is visible to the next holders; what readers did, to the next writer.
// Death:    a reader that dies reads no more. When a writer dies, the next holder has the lock;
//           owner_died() tells it, and every later one, readers too, until a writer calls
//           MarkConsistent(); it is told also of one that died while it waited for its turn. The
//           end of the writing thread, and execve(), count as a death. A thread that ends while
//           it reads keeps its hold until its process ends.
// Fork:     a child has the handle, never the hold.
// Lifetime: as that of a Shared (shared/shared.h); and no shorter than it is held.
// Signals:  not in a signal handler. A wait goes on after one.
// Misuse:   to write while this thread reads or writes it, to read while it writes, to give back
//           what it does not have: this process ends, with one line that names the lock.
// Limit:    as Lock's for writers; as many readers at once as the domain has room for, permits and
//           others that processes hold included: 163,840 by default (shared/internal/holds.h); who
//           would be one more ends its process, or has it not, if it only tries.
// Cost:     128 bytes of the domain, and 24 for a reader; a reader writes memory of its own only.
//           A writer looks at all places for holds of the family, of which there are as many as
//           were ever held at once. Who waits spins a little, then sleeps;
//           no system call where nobody sleeps. Figures in docs/benchmarks.md.

#ifndef MP_SYNC_RWLOCK_H_
#define MP_SYNC_RWLOCK_H_

#include <time.h>

#include <chrono>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/internal/atomic.h"
#include "shared/internal/deadline.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/holds.h"
#include "sync/internal/lock_state.h"
#include "sync/lock_guard.h"  // IWYU pragma: export

namespace mp {

struct RWLockOptions {
  std::string name = {};  // for messages and listings
};

class ABSL_LOCKABLE RWLock {
 public:
  // Ends the process, with a line that says why, where Create() would fail.
  RWLock() : RWLock(RWLockOptions{}) {}
  explicit RWLock(const RWLockOptions& options) : RWLock(MakeOrDie(options)) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<RWLock> Create(const RWLockOptions& options = {});

  // To write. False: it was not to be had in time. Zero or less tries once.
  void Acquire() const ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    static_cast<void>(AcquireBefore(&internal::kUncancelled));
  }
  [[nodiscard]] bool Acquire(absl::Duration timeout) const ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true);
  // False also when the caller has it.
  [[nodiscard]] bool TryAcquire() const ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true);
  void Release() const ABSL_UNLOCK_FUNCTION();

  // To read.
  void AcquireShared() const ABSL_SHARED_LOCK_FUNCTION() {
    if (!TryBeginReading()) static_cast<void>(AcquireSharedBefore(&internal::kUncancelled));
  }
  [[nodiscard]] bool AcquireShared(absl::Duration timeout) const ABSL_SHARED_TRYLOCK_FUNCTION(true);
  // May fail while another only tries to write, as the standard's may; and where the domain has
  // room for no more readers.
  [[nodiscard]] bool TryAcquireShared() const ABSL_SHARED_TRYLOCK_FUNCTION(true);
  void ReleaseShared() const ABSL_UNLOCK_FUNCTION();

  // Whether anybody writes now; the answer may be old when it arrives.
  bool Locked() const { return state_->Locked(); }
  // Each ends the process if the caller's thread does not.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() { state_->AssertHeld(); }
  void AssertReaderHeld() const ABSL_ASSERT_SHARED_LOCK();

  // By a holder; and by the writer.
  bool owner_died() const { return state_->owner_died(); }
  void MarkConsistent() const { state_->MarkConsistent(); }

  // SharedLockable and TimedLockable, for std::shared_lock, std::unique_lock, std::scoped_lock.
  void lock() const ABSL_EXCLUSIVE_LOCK_FUNCTION() { Acquire(); }
  void unlock() const ABSL_UNLOCK_FUNCTION() { Release(); }
  [[nodiscard]] bool try_lock() const ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return TryAcquire(); }
  void lock_shared() const ABSL_SHARED_LOCK_FUNCTION() { AcquireShared(); }
  void unlock_shared() const ABSL_UNLOCK_FUNCTION() { ReleaseShared(); }
  [[nodiscard]] bool try_lock_shared() const ABSL_SHARED_TRYLOCK_FUNCTION(true) {
    return TryAcquireShared();
  }
  template <typename Rep, typename Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) const
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return Acquire(internal::FromChronoTimeout(timeout));
  }
  template <typename Clock, typename Period>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Period>& time) const
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return Acquire(internal::FromChronoTime(time));
  }
  template <typename Rep, typename Period>
  [[nodiscard]] bool try_lock_shared_for(const std::chrono::duration<Rep, Period>& timeout) const
      ABSL_SHARED_TRYLOCK_FUNCTION(true) {
    return AcquireShared(internal::FromChronoTimeout(timeout));
  }
  template <typename Clock, typename Period>
  [[nodiscard]] bool try_lock_shared_until(const std::chrono::time_point<Clock, Period>& time) const
      ABSL_SHARED_TRYLOCK_FUNCTION(true) {
    return AcquireShared(internal::FromChronoTime(time));
  }

 private:
  friend struct internal::HandleAccess;
  using Travels = RWLock;

  // Layout: LockState, whose lock the writer holds from before it waits for the readers to go, then
  //   writer   its holder,   kWriter: it writes, or waits for the readers; kDrains: it waits;
  //            readers       kReaders: some wait for it
  //   left     readers       counts those who went while a writer waited; its low half is slept on
  //
  // Each reader has a hold (shared/internal/holds.h), which it posts before it looks at `writer`;
  // a writer says so there before it looks at the holds.
  //
  //   R1  Where the lock is nobody's, or its holder died, `writer` says nothing.
  //   Repair after a death: of a reader, the burial of its process. Of a writer, that of the lock;
  //   who gets it next has also taken over what was said in `writer`.
  struct State : internal::LockState {
    static constexpr uint64_t kWriter = 1;
    static constexpr uint64_t kDrains = 2;
    static constexpr uint64_t kReaders = 4;

    internal::Word writer;
    internal::Word left;
  };

  explicit RWLock(const internal::Handle<State>& state) : state_(state) {}

  static absl::StatusOr<State*> Make(const RWLockOptions& options);
  static internal::Handle<State> MakeOrDie(const RWLockOptions& options);

  bool TryBeginWriting() const;
  bool AcquireBefore(const timespec* deadline) const;
  bool WaitForReaders(const timespec* deadline) const;
  bool AnyReader() const;
  void EndWriting() const;

  bool AcquireSharedBefore(const timespec* deadline) const;
  bool WaitForWriter(const timespec* deadline) const;
  bool IsReading() const;
  bool TryReadAgain() const;
  bool TryBeginReading() const;
  bool TryBeginReading(internal::Hold& hold) const;
  void EndReading(internal::Hold& hold) const;
  void ReadAsHolder(internal::Hold& hold) const;

  internal::Handle<State> state_;
};

// A kill while one that lies in the domain is assigned leaves the one or the other.
static_assert(sizeof(RWLock) == sizeof(internal::Word));

}  // namespace mp

#endif  // MP_SYNC_RWLOCK_H_
