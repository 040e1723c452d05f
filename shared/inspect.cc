#include "shared/inspect.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/domain_memory.h"
#include "shared/internal/handles_in.h"
#include "shared/internal/holds.h"
#include "shared/internal/lane.h"
#include "shared/internal/object.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/snapshot.h"
#include "shared/internal/stakes.h"
#include "shared/object_info.h"
#include "shared/owner.h"

namespace mp {
namespace {

// The page of the domain's header.
constexpr size_t kHeaderBytes = 4096;

// The name under which a block is counted.
std::string UserOf(const Heap::Block& block) {
  if (block.owner.kind() == Owner::Kind::kMessage) return "message";
  if (block.owner.kind() == Owner::Kind::kObject) {
    const auto* object = reinterpret_cast<const internal::ObjectHeader*>(block.owner.identity());
    const internal::ObjectType type = object->type();
    if (type != internal::ObjectType::kNone) return std::string(internal::NameOf(type));
  }
  // Also what belongs to an object that is being made or dropped.
  return "process";
}

// What an object owns is freed before its cell: so while a block is held still, the cell
// of its object is there.
absl::Status CheckOwner(Domain& domain, const Heap::Block& block) {
  if (block.owner.kind() != Owner::Kind::kObject) return absl::OkStatus();
  auto* cell = reinterpret_cast<internal::ObjectHeader*>(block.owner.identity());
  auto broken = [&block](const char* what) {
    return absl::InternalError(absl::StrCat(
        "domain: block 0x", absl::Hex(reinterpret_cast<uintptr_t>(block.address)), ": ", what));
  };
  if (!domain.Contains(cell)) return broken("its object lies outside the domain");
  const Heap::Block found = domain.heap().Find(cell);
  if (found.address != cell || !found.cell) return broken("its object is in no cell");
  if (block.cell && block.address != cell) return broken("O1: a cell that another one owns");
  // Being dropped, it belongs to a process before it loses its type: so asked again.
  if (block.cell && cell->type() == internal::ObjectType::kNone &&
      domain.heap().Find(cell).owner == block.owner) {
    return broken("O1: a cell with no type owns itself");
  }
  return absl::OkStatus();
}

// Whether a handle in the block will be found when it is freed without destructors.
bool IsKnownToHold(Domain& domain, const Heap::Block& block) {
  if (!block.cell && block.owner.kind() == Owner::Kind::kProcess) {
    const auto process = domain.processes().Find(block.owner.identity());
    return process.kind == internal::ProcessTable::Kind::kFree ||
           (process.flags & internal::ProcessTable::kHasHandles) != 0;
  }
  const auto* object =
      block.cell ? static_cast<const internal::ObjectHeader*>(block.address)
                 : reinterpret_cast<const internal::ObjectHeader*>(block.owner.identity());
  return block.owner.kind() == Owner::Kind::kMessage ||
         (object->stakes.load(std::memory_order_acquire) & internal::Stakes::kHolds) != 0;
}

// T1 to T3 of stakes.h.
absl::Status CheckStakes(Domain& domain) {
  using internal::Stakes;
  absl::Status status;
  domain.stakes().HoldStill(domain.processes(), [&] {
    std::vector<Heap::Block> blocks;
    domain.heap().ForEachBlock([&](const Heap::Block& block) { blocks.push_back(block); });
    std::unordered_map<internal::ObjectHeader*, uint64_t> handles;
    for (const Heap::Block& block : blocks) {
      bool any = false;
      internal::ForEachHandleIn(domain.heap(), block.address, block.size,
                                [&](const internal::Word& handle) {
                                  ++handles[Stakes::ObjectAt(handle)];
                                  any = true;
                                });
      if (any && !IsKnownToHold(domain, block)) {
        status = absl::InternalError("domain: T3: a handle where nobody looks for one");
      }
    }
    for (const Heap::Block& block : blocks) {
      if (!block.cell || block.owner != Owner::Object(block.address)) continue;
      auto* object = static_cast<internal::ObjectHeader*>(block.address);
      const uint64_t stakes = object->stakes.load(std::memory_order_acquire);
      const bool limbo = (stakes & Stakes::kLimbo) != 0;
      if (handles[object] != (limbo ? 0 : stakes & Stakes::kCount)) {
        status = absl::InternalError(
            absl::StrCat("domain: T1: ", object->Describe(), " is counted wrongly"));
      }
      // Freed meanwhile it is 0.
      const bool any = (stakes & (Stakes::kLimbo | Stakes::kMaker | Stakes::kCount)) != 0;
      if (stakes != 0 && !any) status = absl::InternalError("domain: T2: no limbo, no stake");
    }
  });
  return status;
}

}  // namespace

DomainStats Stats() {
  DomainStats stats;
  Domain* domain = Domain::Current();
  if (domain == nullptr) return stats;
  domain->heap().ForEachBlock([&stats](const Heap::Block& block) {
    DomainStats::Usage& usage = stats.by_type[UserOf(block)];
    usage.bytes += block.size;
    usage.count += block.cell || block.owner.kind() != Owner::Kind::kObject;
    stats.in_use += block.size;
  });
  const HeapStats heap = domain->heap().Stats();
  stats.reserved = domain->header().size;
  stats.committed = heap.committed + heap.overhead + domain->processes().CommittedBytes() +
                    domain->lanes().CommittedBytes() + domain->holds().CommittedBytes() +
                    kHeaderBytes;
  stats.commit_limit = heap.commit_limit;
  return stats;
}

std::string DomainStats::ToString() const {
  std::string text = absl::StrCat("reserved ", reserved, ", committed ", committed, " of ",
                                  commit_limit, ", in use ", in_use, " bytes\n");
  for (const auto& [type, usage] : by_type) {
    absl::StrAppend(&text, "  ", type, ": ", usage.count, ", ", usage.bytes, " bytes\n");
  }
  return text;
}

absl::Status Check() {
  Domain* domain = Domain::Current();
  if (domain == nullptr) return absl::OkStatus();
  const internal::DomainHeader& header = domain->header();
  if (header.magic != internal::DomainHeader::kMagic ||
      header.layout != internal::DomainHeader::kLayout ||
      header.base != reinterpret_cast<uint64_t>(domain)) {
    return absl::InternalError("domain: its header is overwritten");
  }
  if (absl::Status status = domain->processes().Check(); !status.ok()) return status;
  if (absl::Status status = domain->lanes().Check(domain->processes()); !status.ok()) {
    return status;
  }
  if (absl::Status status = domain->holds().Check(domain->processes()); !status.ok()) {
    return status;
  }
  if (absl::Status status = domain->heap().Check(); !status.ok()) return status;
  absl::Status owners;
  domain->heap().ForEachBlock([&](const Heap::Block& block) {
    if (owners.ok()) owners = CheckOwner(*domain, block);
  });
  if (!owners.ok()) return owners;
  return CheckStakes(*domain);
}

std::vector<ObjectInfo> ListObjects() {
  const Domain* domain = Domain::Current();
  if (domain == nullptr) return {};
  const auto memory = internal::DomainMemory::At(domain, domain->header());
  return internal::TakeSnapshot(memory, internal::Evidence::kQuick).objects;
}

}  // namespace mp
