#include "shared/domain.h"

#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "shared/internal/memory_limit.h"

namespace mp {

constinit internal::Atomic<Domain*> Domain::current_ = nullptr;
constinit internal::Atomic<uint64_t> Domain::process_id_ = 0;

namespace {

constexpr size_t kDefaultReserve = size_t{64} << 30;

// Guards the making of the domain. Held across a fork, so that a child has a domain
// or has none, never half of one. Without thread-safety annotations: std::mutex has none.
constinit std::mutex making;
constinit DomainOptions configured = {};  // guarded by `making`
constinit internal::Atomic<uint32_t> fork_generation = 0;

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
  const absl::StatusOr<DomainOptions> options = Resolve(configured);
  if (!options.ok()) return options.status();
  const absl::StatusOr<internal::DomainMapping> mapping =
      internal::MakeDomainFile(options->reserve, kLeastReserve);
  if (!mapping.ok()) return mapping.status();

  auto* domain = new (mapping->base) Domain;
  internal::DomainHeader& header = domain->header_;
  header.layout = internal::DomainHeader::kLayout;
  header.base = reinterpret_cast<uint64_t>(mapping->base);
  header.size = mapping->size;
  // Never fails for so few bytes once the machine has booted.
  [[maybe_unused]] const ssize_t random = getrandom(header.id, sizeof(header.id), 0);
  domain->heap_ = Heap::Format(reinterpret_cast<std::byte*>(domain) + kHeapOffset,
                               mapping->size - kHeapOffset, options->commit_limit, ArenaCount());
  header.magic = internal::DomainHeader::kMagic;
  current_.store(domain, std::memory_order_release);
  return domain;
}

uint64_t Domain::Register() {
  const uint64_t id = last_process_.fetch_add(1, std::memory_order_relaxed) + 1;
  uint64_t none = 0;
  // Two threads at once: the first one's id is the process's.
  return process_id_.compare_exchange_strong(none, id, std::memory_order_relaxed) ? id : none;
}

static_assert(sizeof(Domain) <= Domain::kHeapOffset);

struct DomainForkHandlers {
  static void Prepare() { making.lock(); }
  static void InParent() { making.unlock(); }
  static void InChild() {
    Domain::process_id_.store(0, std::memory_order_relaxed);
    fork_generation.fetch_add(1, std::memory_order_relaxed);
    Heap::ForgetThreadArenaInChild();
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
