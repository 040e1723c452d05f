// Domain: the memory that a family of processes shares. A process and what it forks
// have one; it is made at the first shared object or Process, before main() or after.
//
//   mp::ConfigureDomain({.reserve = size_t{4} << 30});      // optional, first of all
//   absl::StatusOr<mp::Domain*> domain = mp::Domain::Get();
//   absl::StatusOr<void*> block = (*domain)->Allocate(100);
//
// A domain is a memfd, mapped at one address in every member, so a pointer into it is
// good in all of them. It has no name and leaves no file: when its last process is
// gone the kernel frees it, whatever ended them. One descriptor stays open, and nothing
// breaks when the program closes it.
//
// Environment: MP_RESERVE and MP_COMMIT_LIMIT, bytes with an optional K, M, G or T, are
//           what DomainOptions leaves at 0.
// Ordering: who gets the domain sees it made; blocks as in heap.h.
// Death:    see heap.h; a member's death takes nothing from the others. What it alone had
//           comes back when it is buried (shared/internal/burial.h): by its parent, when
//           that one joins it, by one of those who wait for anything of the family, or when
//           memory or slots are short.
// Fork:     a child is a member from the fork on. A process forked before there is a domain
//           makes its own: the two are separate families. execve() leaves the family; but a
//           program that is spawned as a member finds a note in its environment, and joins at its
//           first use.
// Threads:  all of it from any number at once. Any may be the first; others, and forks,
//           wait for it.
// Signals:  not in a signal handler.
// Errors:   a status where the system or a limit says no; the next call tries again.
// Misuse:   as in heap.h.
// Cost:     less than 1 MiB of memory and `reserve` bytes of address space.

#ifndef MP_SHARED_DOMAIN_H_
#define MP_SHARED_DOMAIN_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shared/heap.h"
#include "shared/internal/atomic.h"
#include "shared/internal/burial.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/holds.h"
#include "shared/internal/lane.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/sentry_post.h"
#include "shared/internal/stakes.h"
#include "shared/owner.h"

namespace mp {

namespace internal {
class SnapshotMaker;
}

// In bytes; 0: the environment variable, or else the default.
struct DomainOptions {
  // Address space. Default 64 GiB; at least 2 MiB, at most 340 GiB. Capped by
  // RLIMIT_FSIZE, and by half of what RLIMIT_AS leaves.
  size_t reserve = 0;
  // Memory. Default 3/4 of the machine's, and never more than 3/4 of that or of the
  // memory cgroup's limit.
  size_t commit_limit = 0;
};

// For the domain that this process is going to make. kFailedPrecondition: it has one.
// kInvalidArgument: a reserve that no domain can have.
absl::Status ConfigureDomain(const DomainOptions& options);

class Domain {
 public:
  static constexpr size_t kLeastReserve = size_t{2} << 20;

  // This process's; made at the first call. kResourceExhausted: limits, descriptors,
  // addresses. kInvalidArgument: an environment variable that is no size.
  static absl::StatusOr<Domain*> Get() {
    Domain* domain = current_.load(std::memory_order_acquire);
    if (domain != nullptr) return domain;
    return Make();
  }
  // nullptr: there is none yet.
  static Domain* Current() { return current_.load(std::memory_order_acquire); }

  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  bool Contains(const void* address) const {
    return reinterpret_cast<uint64_t>(address) - header_.base < header_.size;
  }
  Heap& heap() { return *heap_; }
  internal::ProcessTable& processes() { return processes_; }
  internal::Stakes& stakes() { return stakes_; }
  internal::LaneTable& lanes() { return lanes_; }
  internal::HoldTable& holds() { return holds_; }
  internal::SentryPost& sentry_post() { return sentry_post_; }
  const internal::DomainHeader& header() const { return header_; }

  // This process as an owner. Differs from that of every other process, living or
  // dead, of the family. Ends a process that is a copy made by _Fork() or clone(): nobody
  // would know of it.
  Owner ThisProcess() {
    const uint64_t id = identity_->process.load(std::memory_order_relaxed);
    return Owner::Process(id != 0 ? id : Register());
  }

  // Its id; 0: it is not registered, and so has made nothing.
  internal::ProcessId ThisProcessIfAny() const {
    return identity_->process.load(std::memory_order_relaxed);
  }

  // The same as ThisProcess(), for a call of heap() that may make it the owner of blocks: for a
  // time, too.
  Owner AsHolder() {
    const Owner self = ThisProcess();
    if (!identity_->used_heap.load(std::memory_order_relaxed)) NoteUsedHeap();
    return self;
  }

  // As Heap has them, by this process. What it owns when it dies comes back with its
  // burial; when memory is short, the dead are buried first.
  absl::StatusOr<void*> Allocate(size_t size, size_t alignment, Owner owner);
  absl::StatusOr<void*> Allocate(size_t size, size_t alignment = 16) {
    return Allocate(size, alignment, ThisProcess());
  }
  absl::StatusOr<void*> AllocateCell(size_t size, size_t alignment);
  void Free(void* block) { heap_->Free(block, AsHolder()); }
  void FreeOwnedBy(Owner owner, absl::Span<const void* const> keep) {
    heap_->FreeOwnedBy(owner, keep, AsHolder());
  }

  // Buries `dead`, of whose death the caller has proof; and all of whose death there is
  // evidence, returning how many.
  void Bury(internal::ProcessId dead);
  int BuryTheDead(internal::Evidence evidence);
  // To bury more, as this process.
  internal::Undertaker ThisUndertaker();

  // The clock of processes(), for an object that this process makes; 0 while it forks, when
  // the child may or may not have it.
  uint64_t MadeNow() {
    // In this order: where the fork began in between, its claim has moved the clock.
    const uint64_t now = processes_.Clock();
    return forking_.load(std::memory_order_acquire) ? 0 : now;
  }
  // Whether a process that is there, or may be, may have inherited an object. Buries those of
  // whose death there is evidence.
  bool AnyInherited(const internal::ProcessTable::Legacy& legacy);

  // A slot for a process that is spawned, whose blocks its burial will look for. Where it is not
  // spawned after all, Bury() gives it back.
  absl::StatusOr<internal::ProcessId> ClaimForSpawn();
  // The memfd, for a process that is spawned. kFailedPrecondition: the program has closed it.
  absl::StatusOr<int> FileDescriptor();
  // What this process was spawned to do, as the marker has it; 0: it was not. Once there is a
  // domain.
  static uint64_t SpawnPayload();

  // What this process is called.
  void TellName(std::string_view name, bool daemon);

  // Whether this process is in the table; a child that was forked when that was full is not.
  static bool HasSlot() { return identity_->process.load(std::memory_order_relaxed) != 0; }
  // Ends a copy of a process, made by _Fork() or clone(), as ThisProcess() does; a child without a
  // slot goes on.
  static void EndIfCopy();
  // The child that this thread forked last; 0: none, or it has no slot.
  static internal::ProcessId LastForked();

 private:
  friend struct DomainForkHandlers;
  friend class internal::SnapshotMaker;  // has a copy of it
  friend struct DomainTestPeer;

  Domain() = default;

  // In a page of this process that the kernel clears in every child, however it is forked.
  struct Identity {
    internal::Atomic<internal::ProcessId> process;  // 0: not yet registered
    internal::Atomic<bool> used_heap;               // it may own blocks, and its slot says so
  };

  static absl::StatusOr<Domain*> Make();
  static absl::StatusOr<Domain*> JoinAsSpawned();
  static absl::StatusOr<Identity*> MakeIdentity();
  absl::StatusOr<internal::ProcessId> ClaimForChild(internal::ProcessTable::Birth birth);
  absl::StatusOr<internal::ProcessId> ClaimForSelf();
  internal::ProcessId Register();
  // Under the mutex that guards the making. kFailedPrecondition: a copy that fork() did not
  // make; kResourceExhausted: no slot is left.
  absl::StatusOr<internal::ProcessId> RegisterLocked();
  bool HasChild(internal::ProcessId child);
  void NoteUsedHeap();

  static internal::Atomic<Domain*> current_;
  static Identity* identity_;  // constant once there is a domain
  static internal::Atomic<bool> forking_;

  // In shared memory.
  internal::DomainHeader header_;
  Heap* heap_;  // constant
  internal::ProcessTable processes_;
  internal::Stakes stakes_;
  internal::LaneTable lanes_;
  internal::HoldTable holds_;
  internal::SentryPost sentry_post_;
};

namespace internal {

// Counts the forks between the first process and this one that the fork handlers saw.
// What is bound to a process, not to its children, keeps the count it was made under.
uint32_t ForkGeneration();

}  // namespace internal
}  // namespace mp

#endif  // MP_SHARED_DOMAIN_H_
