#include "shared/domain.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/internal/fatal.h"
#include "shared/internal/held_locks.h"
#include "shared/internal/memory_limit.h"
#include "shared/internal/spawn_marker.h"
#include "shared/internal/thread_id.h"

namespace mp {

constinit internal::Atomic<Domain*> Domain::current_ = nullptr;
constinit Domain::Identity* Domain::identity_ = nullptr;
constinit internal::Atomic<bool> Domain::forking_ = false;

namespace {

using Kind = internal::ProcessTable::Kind;

constexpr size_t kDefaultReserve = size_t{64} << 30;

// Guards the making of the domain. Held across a fork, so that a child has a domain
// or has none, never half of one. Without thread-safety annotations: std::mutex has none.
constinit std::mutex making;
constinit DomainOptions configured = {};  // guarded by `making`
constinit internal::Atomic<uint32_t> fork_generation = 0;

// From before a fork to after it; guarded by `making`.
constinit internal::ProcessId child_to_be = 0;
constinit int errno_before_fork = 0;
constinit bool forked_by_copy = false;
// Whether this process was forked when no slot was left for it.
constinit bool without_slot = false;
constinit thread_local internal::ProcessId last_forked = 0;

// Of the domain; guarded by `making`.
constinit int domain_fd = -1;
constinit uint64_t spawn_payload = 0;

constexpr size_t kPage = 4096;

// Bytes from "512M" and the like; 0 where the variable is not set.
absl::StatusOr<size_t> SizeFromEnvironment(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return size_t{0};
  std::string_view digits = text;
  int shift = 0;
  switch (digits.back()) {
    case 'K':
      shift = 10;
      break;
    case 'M':
      shift = 20;
      break;
    case 'G':
      shift = 30;
      break;
    case 'T':
      shift = 40;
      break;
    default:
      break;
  }
  if (shift != 0) digits.remove_suffix(1);
  uint64_t value = 0;
  if (!absl::SimpleAtoi(digits, &value) ||
      value > (std::numeric_limits<uint64_t>::max() >> shift) || value == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("domain: ", variable, "=", text, " is no size; write bytes, or 512M, or 4G"));
  }
  return static_cast<size_t>(value << shift);
}

absl::Status CheckReserve(size_t reserve) {
  if (reserve >= Domain::kLeastReserve && reserve <= internal::LargestReserve()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("domain: a reserve of ", reserve, " bytes; from ",
                                                 Domain::kLeastReserve, " to ",
                                                 internal::LargestReserve(), " is possible"));
}

// What is left open is filled in.
absl::StatusOr<DomainOptions> Resolve(DomainOptions options) {
  if (options.reserve == 0) {
    const absl::StatusOr<size_t> size = SizeFromEnvironment("MP_RESERVE");
    if (!size.ok()) return size.status();
    options.reserve = *size != 0 ? *size : kDefaultReserve;
  }
  if (options.commit_limit == 0) {
    const absl::StatusOr<size_t> size = SizeFromEnvironment("MP_COMMIT_LIMIT");
    if (!size.ok()) return size.status();
    options.commit_limit = *size != 0 ? *size : std::numeric_limits<size_t>::max();
  }
  if (absl::Status status = CheckReserve(options.reserve); !status.ok()) return status;
  uint64_t memory = internal::MachineMemory();
  memory = std::min(memory, internal::CgroupMemoryLimit().value_or(memory));
  options.commit_limit = std::min<uint64_t>(options.commit_limit, memory / 4 * 3);
  return options;
}

// A second ago, in nanoseconds of CLOCK_BOOTTIME.
bool IsOld(uint64_t time) {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return absl::DurationFromTimespec(now) - absl::Nanoseconds(static_cast<int64_t>(time)) >
         absl::Seconds(1);
}

// What `allocate` gives; where memory is short, once more when the dead are buried.
template <typename Allocate>
absl::StatusOr<void*> BuryingWhereShort(Domain& domain, Allocate allocate) {
  absl::StatusOr<void*> block = allocate();
  if (absl::IsResourceExhausted(block.status()) &&
      domain.BuryTheDead(internal::Evidence::kThorough) > 0) {
    return allocate();
  }
  return block;
}

int ArenaCount() {
  return static_cast<int>(std::clamp(2 * sysconf(_SC_NPROCESSORS_ONLN), 4L, 64L));
}

}  // namespace

absl::Status ConfigureDomain(const DomainOptions& options) {
  if (options.reserve != 0) {
    if (absl::Status status = CheckReserve(options.reserve); !status.ok()) return status;
  }
  const std::lock_guard lock(making);
  if (Domain::Current() != nullptr) {
    return absl::FailedPreconditionError(
        "domain: this process has one already; configure it before the first shared object");
  }
  configured = options;
  return absl::OkStatus();
}

absl::StatusOr<Domain*> Domain::Make() {
  const std::lock_guard lock(making);
  if (Domain* domain = Current(); domain != nullptr) return domain;
  if (absl::StatusOr<Domain*> joined = JoinAsSpawned(); !joined.ok() || *joined != nullptr) {
    return joined;
  }
  const absl::StatusOr<DomainOptions> options = Resolve(configured);
  if (!options.ok()) return options.status();
  const absl::StatusOr<internal::DomainMapping> mapping =
      internal::MakeDomainFile(options->reserve, kLeastReserve);
  if (!mapping.ok()) return mapping.status();

  // Nothing is left of one that cannot be made.
  auto give_back = [&mapping] {
    munmap(mapping->base, mapping->size);
    close(mapping->fd);
  };
  const absl::StatusOr<Identity*> identity = MakeIdentity();
  if (!identity.ok()) {
    give_back();
    return identity.status();
  }
  identity_ = *identity;

  auto* domain = new (mapping->base) Domain;
  internal::DomainHeader& header = domain->header_;
  header.layout = internal::DomainHeader::kLayout;
  header.base = reinterpret_cast<uint64_t>(mapping->base);
  header.size = mapping->size;
  // Never fails for so few bytes once the machine has booted.
  [[maybe_unused]] const ssize_t random = getrandom(header.id, sizeof(header.id), 0);
  header.inode = mapping->inode;
  const uint32_t slots = internal::ProcessTable::SlotsFor(mapping->size);
  const size_t lanes_offset = kPage + internal::ProcessTable::BytesFor(slots);
  const size_t holds_offset = lanes_offset + internal::LaneTable::BytesFor(slots);
  const size_t heap_offset = holds_offset + internal::HoldTable::BytesFor(slots);
  auto* const bytes = static_cast<std::byte*>(mapping->base);
  domain->processes_.Format(bytes + kPage, slots);
  domain->stakes_.Format();
  domain->lanes_.Format(bytes + lanes_offset, slots, header.base, header.size);
  domain->holds_.Format(bytes + holds_offset, slots);
  domain->sentry_post_.Format();
  domain->heap_ = Heap::Format(bytes + heap_offset, mapping->size - heap_offset,
                               options->commit_limit, ArenaCount());
  const absl::StatusOr<internal::ProcessId> self = domain->ClaimForSelf();
  if (!self.ok()) {
    munmap(identity_, kPage);
    identity_ = nullptr;
    give_back();
    return self.status();
  }
  identity_->process.store(*self, std::memory_order_relaxed);
  header.magic = internal::DomainHeader::kMagic;
  domain_fd = mapping->fd;
  current_.store(domain, std::memory_order_release);
  return domain;
}

// nullptr: this process was not spawned.
absl::StatusOr<Domain*> Domain::JoinAsSpawned() {
  const std::optional<internal::SpawnMarker> marker = internal::SpawnMarker::FromEnvironment();
  if (!marker.has_value()) return nullptr;
  // It is good once.
  internal::SpawnMarker::RemoveFromEnvironment();
  const absl::StatusOr<internal::DomainHeader> header = internal::ReadDomainHeader(marker->fd);
  if (!header.ok()) return header.status();
  if (header->id[0] != marker->family) {
    return absl::DataLossError("domain: the descriptor of this process is of another family");
  }
  const absl::StatusOr<internal::DomainMapping> mapping =
      internal::MapDomainFile(marker->fd, *header);
  if (!mapping.ok()) return mapping.status();
  auto* const domain = static_cast<Domain*>(mapping->base);
  const absl::StatusOr<Identity*> identity = MakeIdentity();
  if (!identity.ok() || !domain->processes_.BecomeLive(marker->id)) {
    munmap(mapping->base, mapping->size);
    if (!identity.ok()) return identity.status();
    munmap(*identity, kPage);
    return absl::AbortedError(
        "domain: this process was taken for dead before it began, or its marker was used before");
  }
  fcntl(marker->fd, F_SETFD, FD_CLOEXEC);
  identity_ = *identity;
  identity_->process.store(marker->id, std::memory_order_relaxed);
  domain_fd = marker->fd;
  spawn_payload = marker->payload;
  current_.store(domain, std::memory_order_release);
  return domain;
}

absl::StatusOr<internal::ProcessId> Domain::ClaimForSpawn() {
  const std::lock_guard lock(making);
  absl::StatusOr<internal::ProcessId> id = ClaimForChild(internal::ProcessTable::Birth::kSpawn);
  if (!id.ok()) return id;
  processes_.SetFlag(*id, internal::ProcessTable::kUsedHeap);
  processes_.SetFlag(*id, internal::ProcessTable::kHasHandles);
  return id;
}

absl::StatusOr<int> Domain::FileDescriptor() {
  const std::lock_guard lock(making);
  struct stat file;
  if (fstat(domain_fd, &file) == 0 && file.st_ino == header_.inode) return domain_fd;
  absl::StatusOr<int> reopened = internal::ReopenDomainFile(header_);
  if (reopened.ok()) domain_fd = *reopened;
  return reopened;
}

uint64_t Domain::SpawnPayload() { return spawn_payload; }

absl::StatusOr<Domain::Identity*> Domain::MakeIdentity() {
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("domain: mmap: ", std::strerror(errno)));
  }
  // Where the kernel is too old, copies that _Fork() makes are not noticed.
  madvise(page, kPage, MADV_WIPEONFORK);
  return new (page) Identity{};
}

internal::Undertaker Domain::ThisUndertaker() {
  return {header_, processes_, *heap_, stakes_, lanes_, holds_, ThisProcess().identity()};
}

void Domain::Bury(internal::ProcessId dead) { ThisUndertaker().Bury(dead); }

int Domain::BuryTheDead(internal::Evidence evidence) {
  return ThisUndertaker().BuryTheDead(evidence);
}

bool Domain::AnyInherited(const internal::ProcessTable::Legacy& legacy) {
  if (processes_.MayBeUnknown(legacy.made)) return true;
  std::optional<std::vector<internal::ProcessTable::Entry>> family;
  for (int tries = 0; tries < 3 && !family.has_value(); ++tries) family = processes_.Family();
  if (!family.has_value()) return true;
  const internal::ProcessId self = ThisProcess().identity();
  bool looked = false;
  for (const internal::ProcessTable::Entry& process : *family) {
    // The maker has inherited nothing of its own; this process may be an heir of another's.
    if (process.kind == Kind::kDead || process.id == legacy.maker ||
        !internal::ProcessTable::MayHaveInherited(*family, process, legacy)) {
      continue;
    }
    if (process.kind == Kind::kLive) {
      if (process.id == self ||
          !internal::IsDead(process.pid, process.started, header_, internal::Evidence::kQuick)) {
        return true;
      }
      Bury(process.id);
      continue;
    }
    if (!looked && IsOld(process.claimed)) {
      // A child that was killed before its first instruction, most likely.
      looked = true;
      BuryTheDead(internal::Evidence::kThorough);
    }
    const Kind kind = processes_.Find(process.id).kind;
    if (kind != Kind::kFree && kind != Kind::kDead) return true;
  }
  return false;
}

void Domain::NoteUsedHeap() {
  // Before: it has no blocks, and its burial looks for none.
  // After:  its burial looks at all blocks, perhaps for nothing.
  // Test:   ProcessTableCrashTest.TheFirstUseOfTheHeapLeavesNothing
  processes_.SetFlag(ThisProcess().identity(), internal::ProcessTable::kUsedHeap);
  identity_->used_heap.store(true, std::memory_order_relaxed);
}

absl::StatusOr<void*> Domain::Allocate(size_t size, size_t alignment, Owner owner) {
  const Owner self = AsHolder();
  return BuryingWhereShort(*this, [&] { return heap_->Allocate(size, alignment, owner, self); });
}

absl::StatusOr<void*> Domain::AllocateCell(size_t size, size_t alignment) {
  const Owner self = AsHolder();
  return BuryingWhereShort(*this, [&] { return heap_->AllocateCell(size, alignment, self); });
}

absl::StatusOr<internal::ProcessId> Domain::ClaimForChild(internal::ProcessTable::Birth birth) {
  const absl::StatusOr<internal::ProcessId> registered = RegisterLocked();
  if (!registered.ok()) return registered.status();
  const internal::ProcessId self = *registered;
  processes_.SetFlag(self, internal::ProcessTable::kActed);
  absl::StatusOr<internal::ProcessId> id = processes_.ClaimForChild(self, birth);
  if (id.ok()) return id;
  // The table grows by a page of slots, which is how often the dead are looked for.
  if (BuryTheDead(internal::Evidence::kQuick) == 0 && !processes_.Grow().ok()) {
    BuryTheDead(internal::Evidence::kThorough);
  }
  return processes_.ClaimForChild(self, birth);
}

absl::StatusOr<internal::ProcessId> Domain::ClaimForSelf() {
  absl::StatusOr<internal::ProcessId> id = processes_.ClaimForSelf(without_slot);
  if (id.ok()) return id;
  if (absl::Status status = processes_.Grow(); !status.ok()) return status;
  return processes_.ClaimForSelf(without_slot);
}

internal::ProcessId Domain::Register() {
  const std::lock_guard lock(making);
  const absl::StatusOr<internal::ProcessId> id = RegisterLocked();
  if (!id.ok()) internal::Fatal(absl::StrCat("pid ", getpid(), ": ", id.status().message()));
  return *id;
}

absl::StatusOr<internal::ProcessId> Domain::RegisterLocked() {
  internal::ProcessId id = identity_->process.load(std::memory_order_relaxed);
  if (id != 0) return id;
  if (!without_slot) {
    return absl::FailedPreconditionError(
        "a copy of a process of the family uses what it inherited, and nobody knows of it: it was "
        "made by _Fork() or clone(), or is in another PID namespace; use fork(), in one namespace");
  }
  absl::StatusOr<internal::ProcessId> claimed = ClaimForSelf();
  if (!claimed.ok()) return claimed;
  without_slot = false;
  identity_->process.store(*claimed, std::memory_order_relaxed);
  return *claimed;
}

// Whether there may be the child that was to be forked.
bool Domain::HasChild(internal::ProcessId child) {
  const auto entry = processes_.Find(child);
  return entry.kind != Kind::kBorn || internal::AnyUnborn(header_, processes_, entry.claimed);
}

void Domain::EndIfCopy() {
  if (!HasSlot() && !without_slot) static_cast<void>(current_.load()->ThisProcess());
}

void Domain::TellName(std::string_view name, bool daemon) {
  const internal::ProcessId self = ThisProcess().identity();
  if (daemon) processes_.SetFlag(self, internal::ProcessTable::kDaemon);
  processes_.SetName(self, name);
}

internal::ProcessId Domain::LastForked() { return last_forked; }

static_assert(sizeof(Domain) <= kPage);

struct DomainForkHandlers {
  static void Prepare() {
    making.lock();
    errno_before_fork = errno;
    child_to_be = 0;
    Domain::forking_.store(true);
    if (Domain* domain = Domain::Current(); domain != nullptr) {
      const absl::StatusOr<internal::ProcessId> claimed =
          domain->ClaimForChild(internal::ProcessTable::Birth::kFork);
      child_to_be = claimed.value_or(0);
      // A copy's child is one, too: nobody knows it by the pid that it has for itself.
      forked_by_copy = absl::IsFailedPrecondition(claimed.status());
      if (child_to_be == 0 && !forked_by_copy) domain->processes().NoteForkWithoutSlot();
    }
    errno = 0;
  }
  static void InParent() {
    // It was 0: what is there now is of the fork, or of a handler that ran after ours.
    bool forked = errno == 0;
    if (Domain* domain = Domain::Current(); child_to_be != 0) {
      forked = forked || domain->HasChild(child_to_be);
      if (forked) {
        domain->processes().ChildForked(child_to_be);
      } else {
        domain->processes().ChildNotForked(child_to_be);
      }
    }
    Domain::forking_.store(false);
    last_forked = forked ? child_to_be : 0;
    if (errno == 0) errno = errno_before_fork;
    making.unlock();
  }
  static void InChild() {
    if (Domain* domain = Domain::Current(); domain != nullptr) {
      // Whose parent is nobody is in another PID namespace, where its pid means nothing to us.
      const bool foreign = forked_by_copy || getppid() == 0;
      const bool live = !foreign && child_to_be != 0 && domain->processes().BecomeLive(child_to_be);
      without_slot = !foreign && !live;
      Domain::identity_->process.store(live ? child_to_be : 0, std::memory_order_relaxed);
      // Where the kernel has not cleared it.
      Domain::identity_->used_heap.store(false, std::memory_order_relaxed);
    }
    Domain::forking_.store(false);
    fork_generation.fetch_add(1, std::memory_order_relaxed);
    Heap::ForgetThreadArenaInChild();
    internal::LaneTable::ForgetInChild();
    internal::HoldTable::ForgetInChild();
    internal::HeldLocks::ForgetInChild();
    internal::ThreadId::ForgetInChild();
    errno = errno_before_fork;
    making.unlock();
  }
  // When the library is loaded: before any fork that could meet a domain in the making.
  [[gnu::constructor(101)]] static void Register() {
    pthread_atfork(&Prepare, &InParent, &InChild);
  }
};

namespace internal {

uint32_t ForkGeneration() { return fork_generation.load(std::memory_order_relaxed); }

}  // namespace internal
}  // namespace mp
