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
// Death:    see heap.h; a member's death takes nothing from the others.
// Fork:     a child is a member. A process forked before there is a domain makes its
//           own: the two are separate families. execve() leaves the family.
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

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/heap.h"
#include "shared/internal/atomic.h"
#include "shared/internal/domain_file.h"
#include "shared/owner.h"

namespace mp {

// In bytes; 0: the environment variable, or else the default.
struct DomainOptions {
  // Address space. Default 64 GiB; at least 1 MiB, at most 340 GiB. Capped by
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
  static constexpr size_t kLeastReserve = size_t{1} << 20;
  // The heap begins on the page after the header.
  static constexpr size_t kHeapOffset = 4096;

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
  const internal::DomainHeader& header() const { return header_; }

  // This process as an owner. Differs from that of every other process, living or
  // dead, of the family.
  Owner ThisProcess() {
    const uint64_t id = process_id_.load(std::memory_order_relaxed);
    return Owner::Process(id != 0 ? id : Register());
  }

  // A block that is this process's, as Heap::Allocate() has it.
  absl::StatusOr<void*> Allocate(size_t size, size_t alignment = 16) {
    return heap_->Allocate(size, alignment, ThisProcess());
  }
  void Free(void* block) { heap_->Free(block, ThisProcess()); }

 private:
  friend struct DomainForkHandlers;

  Domain() = default;

  static absl::StatusOr<Domain*> Make();
  uint64_t Register();

  static internal::Atomic<Domain*> current_;
  static internal::Atomic<uint64_t> process_id_;  // 0: not yet registered

  // In shared memory.
  internal::DomainHeader header_;
  Heap* heap_;                   // constant
  internal::Word last_process_;  // ids that were given away
};

namespace internal {

// Counts the forks between the first process and this one that the fork handlers saw.
// What is bound to a process, not to its children, keeps the count it was made under.
uint32_t ForkGeneration();

}  // namespace internal
}  // namespace mp

#endif  // MP_SHARED_DOMAIN_H_
