#include "shared/internal/snapshot.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/lane.h"
#include "shared/internal/lock_header.h"
#include "shared/internal/object_header.h"
#include "shared/internal/page_heap.h"
#include "shared/internal/slab.h"
#include "shared/internal/stakes.h"
#include "shared/owner.h"

namespace mp::internal {
namespace {

constexpr uint64_t kPage = PageHeap::kPageSize;
// Of the blocks of a ledger.
constexpr size_t kStakeBytes = 16;

// The bytes of a T, and that they may be read as one. Its pointers lead to where they lead.
template <typename T>
class Copy {
 public:
  const T& operator*() const { return *reinterpret_cast<const T*>(bytes_); }
  const T* operator->() const { return reinterpret_cast<const T*>(bytes_); }
  void* bytes() { return bytes_; }

 private:
  alignas(T) std::byte bytes_[sizeof(T)] = {};
};

}  // namespace

class SnapshotMaker {
 public:
  explicit SnapshotMaker(const DomainMemory& memory) : memory_(memory) {}

  Snapshot Make(std::optional<Evidence> evidence) {
    if (!Read(memory_.base(), domain_)) return {};
    ReadHeap(reinterpret_cast<uint64_t>(domain_->heap_));
    for (ObjectInfo& object : snapshot_.objects) {
      object.bytes = owned_by_objects_[object.address];
    }
    // After the objects: who made one of them is found, or is gone.
    ReadProcesses(domain_->processes_.GetPlace(), evidence);
    for (ObjectInfo& object : snapshot_.objects) {
      object.maker_pid = PidOf(object.maker);
      if (object.maker_pid != 0 && object.handles != 0) object.holders.push_back(object.maker_pid);
    }
    for (const auto& [object, holder] : holders_) {
      ObjectInfo* held = ObjectAt(object);
      const pid_t pid = PidOf(holder);
      if (held != nullptr && held->address == object && pid != 0) held->holders.push_back(pid);
    }
    ReadLanes(domain_->lanes_.GetPlace());
    for (ObjectInfo& object : snapshot_.objects) {
      std::sort(object.holders.begin(), object.holders.end());
      std::sort(object.sleepers.begin(), object.sleepers.end());
    }
    return std::move(snapshot_);
  }

 private:
  // The words of one entry of the page table.
  struct TableEntry {
    uint64_t tag;
    uint64_t link;
  };
  static_assert(sizeof(TableEntry) == sizeof(PageHeap::Entry));

  template <typename T>
  bool Read(uint64_t address, Copy<T>& copy) const {
    return memory_.Read(address, copy.bytes(), sizeof(T));
  }
  std::optional<uint64_t> ReadWord(uint64_t address) const {
    uint64_t word;
    if (!memory_.Read(address, &word, sizeof(word))) return std::nullopt;
    return word;
  }

  void ReadHeap(uint64_t address);
  void ReadTable(const PageHeap::Place& heap);
  void ReadSlab(uint64_t slab, uint64_t entry, uint64_t tag);
  void ReadStake(uint64_t block, ProcessId process);
  void ReadCell(uint64_t cell, uint64_t owner_word);
  std::string ReadName(uint64_t address) const;
  void ReadProcesses(const ProcessTable::Place& table, std::optional<Evidence> evidence);
  std::optional<ProcessTable::Entry> ReadProcess(uint32_t index, uint64_t slot) const;
  void ReadLanes(const LaneTable::Place& table);
  void Count(Owner owner, size_t bytes);
  // 0: it is not there, or dead.
  pid_t PidOf(ProcessId process) const;
  // The object in whose cell an address may lie: the last one that is not behind it.
  ObjectInfo* ObjectAt(uint64_t address);

  const DomainMemory& memory_;
  Copy<Domain> domain_;
  Snapshot snapshot_;
  std::unordered_map<uint64_t, size_t> owned_by_objects_;  // bytes, by address of the cell
  std::vector<std::pair<uint64_t, ProcessId>> holders_;    // cells, and processes
  std::unordered_map<uint64_t, size_t> cell_sizes_;        // bytes, by address of the cell
};

void SnapshotMaker::Count(Owner owner, size_t bytes) {
  ++snapshot_.blocks;
  snapshot_.in_use += bytes;
  if (owner.kind() == Owner::Kind::kObject) owned_by_objects_[owner.identity()] += bytes;
}

void SnapshotMaker::ReadHeap(uint64_t address) {
  // More than belongs on the stack of a small thread.
  const auto heap = std::make_unique<Copy<Heap>>();
  if (!Read(address, *heap)) return;
  const PageHeap::Place place = (*heap)->GetPlace();
  snapshot_.commit_limit = place.limit * kPage;
  snapshot_.committed = place.committed * kPage;
  // Then no address that is made of these leads outside, or around.
  if (place.page_count > memory_.size() / kPage ||
      !memory_.Contains(place.pages, place.page_count * kPage) ||
      !memory_.Contains(place.table, (place.page_count + 1) * sizeof(TableEntry))) {
    return;
  }
  ReadTable(place);
}

void SnapshotMaker::ReadTable(const PageHeap::Place& heap) {
  // Past high water there are no blocks, and the table may have no memory.
  const uint64_t end = std::min(heap.high_water, heap.page_count);
  std::vector<TableEntry> window;
  uint64_t window_begin = 0;
  for (uint64_t page = 1; page < end;) {
    const uint64_t entry = heap.table + page * sizeof(TableEntry);
    if (page - window_begin >= window.size()) {
      // To the end of a page of the table: what comes then may be inside a span, and have
      // no memory any more.
      const uint64_t in_page = (kPage - entry % kPage) / sizeof(TableEntry);
      window.resize(std::clamp<uint64_t>(in_page, 1, end - page));
      window_begin = page;
      if (!memory_.Read(entry, window.data(), window.size() * sizeof(TableEntry))) return;
    }
    const auto [tag, link] = window[page - window_begin];
    const PageHeap::Span span = PageHeap::SpanAt(static_cast<uint32_t>(page), tag, link);
    if (span.kind == PageHeap::Kind::kNone) {
      ++page;
      continue;
    }
    const uint64_t length = std::clamp<uint64_t>(span.length, 1, end - page);
    const uint64_t address = heap.pages + page * kPage;
    if (span.kind == PageHeap::Kind::kUsed) Count(span.owner, length * kPage);
    if (span.kind == PageHeap::Kind::kSlab && length == Slab::kPages) {
      ReadSlab(address, entry, tag);
    }
    page += length;
  }
}

void SnapshotMaker::ReadSlab(uint64_t slab, uint64_t entry, uint64_t tag) {
  Copy<Slab> header;
  if (!Read(slab, header) || !header->HeaderIsWhole()) return;
  std::vector<uint64_t> owners(header->count);
  if (!memory_.Read(slab + offsetof(Slab, owners), owners.data(),
                    owners.size() * sizeof(owners[0]))) {
    return;
  }
  // Given back meanwhile, what was read may be anything.
  if (ReadWord(entry) != tag) return;
  for (uint32_t i = 0; i < header->count; ++i) {
    const Owner owner = Owner::FromWord(owners[i]);
    if (owner.kind() == Owner::Kind::kNone) continue;
    Count(owner, header->size);
    const uint64_t block = slab + header->first + uint64_t{i} * header->size;
    if (header->use == Use::kBlocks && owner.kind() == Owner::Kind::kProcess &&
        header->size == kStakeBytes) {
      ReadStake(block, owner.identity());
    }
    if (header->use == Use::kCells && owner.kind() == Owner::Kind::kObject &&
        owner.identity() == block && header->size >= sizeof(ObjectHeader)) {
      ReadCell(block, slab + offsetof(Slab, owners) + i * sizeof(Word));
      cell_sizes_[block] = header->size;
    }
  }
}

// What a process has in its ledger (ledger.h), and perhaps handles that it has placed itself.
void SnapshotMaker::ReadStake(uint64_t block, ProcessId process) {
  const std::optional<uint64_t> word = ReadWord(block);
  const uint64_t object = word.has_value() ? Stakes::AddressOf(block, *word) : 0;
  if (object != 0) holders_.emplace_back(object, process);
}

pid_t SnapshotMaker::PidOf(ProcessId process) const {
  const ProcessTable::Entry* entry = snapshot_.Find(process);
  return entry != nullptr && entry->kind == ProcessTable::Kind::kLive ? entry->pid : 0;
}

ObjectInfo* SnapshotMaker::ObjectAt(uint64_t address) {
  std::vector<ObjectInfo>& objects = snapshot_.objects;
  const auto next = std::upper_bound(
      objects.begin(), objects.end(), address,
      [](uint64_t wanted, const ObjectInfo& object) { return wanted < object.address; });
  return next == objects.begin() ? nullptr : &*(next - 1);
}

void SnapshotMaker::ReadLanes(const LaneTable::Place& table) {
  const uint64_t count =
      std::min({table.committed, table.count, uint64_t{ProcessTable::kMostSlots}});
  if (!memory_.Contains(table.lanes, count * sizeof(Lane))) return;
  for (uint64_t i = 0; i < count; ++i) {
    Copy<Lane> lane;
    if (!Read(table.lanes + i * sizeof(Lane), lane)) return;
    const uint64_t word = lane->SleepsOn();
    const pid_t thread = lane->alive.HolderTid();
    if (word == 0 || thread == 0 || PidOf(lane->process.load(std::memory_order_relaxed)) == 0) {
      continue;
    }
    ObjectInfo* object = ObjectAt(word);
    if (object == nullptr || word - object->address >= cell_sizes_[object->address]) continue;
    object->sleepers.push_back(thread);
  }
}

void SnapshotMaker::ReadCell(uint64_t cell, uint64_t owner_word) {
  Copy<ObjectHeader> header;
  if (!Read(cell, header)) return;
  const uint64_t state = header->state.load(std::memory_order_relaxed);
  if (header->type() == ObjectType::kNone) return;
  ObjectInfo object;
  object.type = std::string(NameOf(header->type()));
  object.name = ReadName(header->name.load(std::memory_order_relaxed));
  object.address = cell;
  object.maker = header->maker.load(std::memory_order_relaxed);
  object.handles = header->handles.load(std::memory_order_relaxed);
  const uint64_t stakes = header->stakes.load(std::memory_order_relaxed);
  if ((stakes & Stakes::kLimbo) == 0) {
    object.stakes = (stakes & Stakes::kCount) + ((stakes & Stakes::kMaker) != 0 ? 1 : 0);
  }
  if (IsLock(header->type())) {
    Copy<LockHeader> lock;
    if (Read(cell, lock)) object.acquired_by = lock->mutex.HolderTid();
  }
  // Its name is freed after the cell has another owner.
  const std::optional<uint64_t> owner = ReadWord(owner_word);
  const bool own = owner.has_value() && Owner::FromWord(*owner).kind() == Owner::Kind::kObject &&
                   Owner::FromWord(*owner).identity() == cell;
  if (!own || ReadWord(cell + offsetof(ObjectHeader, state)) != state) return;
  snapshot_.objects.push_back(std::move(object));
}

std::string SnapshotMaker::ReadName(uint64_t address) const {
  std::string name;
  if (address == 0) return name;
  // Byte by byte, or almost: what comes after the end may have no memory.
  constexpr size_t kPiece = 16;
  while (name.size() < Snapshot::kLongestName) {
    char piece[kPiece];
    const uint64_t at = address + name.size();
    const size_t size =
        std::min<size_t>(kPiece - at % kPiece, Snapshot::kLongestName - name.size());
    if (!memory_.Read(at, piece, size)) return name;
    const size_t length = strnlen(piece, size);
    name.append(piece, length);
    if (length < size) return name;
  }
  return name;
}

void SnapshotMaker::ReadProcesses(const ProcessTable::Place& table,
                                  std::optional<Evidence> evidence) {
  const uint64_t count =
      std::min({table.committed, table.slot_count, uint64_t{ProcessTable::kMostSlots}});
  if (!memory_.Contains(table.slots, count * sizeof(ProcessTable::Slot))) return;
  for (uint32_t index = 1; index < count; ++index) {
    std::optional<ProcessTable::Entry> process =
        ReadProcess(index, table.slots + index * sizeof(ProcessTable::Slot));
    if (!process.has_value()) continue;
    if (process->kind == ProcessTable::Kind::kLive &&
        (process->pid <= 0 || (evidence.has_value() && IsDead(process->pid, process->started,
                                                              domain_->header_, *evidence)))) {
      process->kind = ProcessTable::Kind::kDead;
    }
    snapshot_.processes.push_back(*std::move(process));
  }
}

std::optional<ProcessTable::Entry> SnapshotMaker::ReadProcess(uint32_t index, uint64_t slot) const {
  // It changes a few times in the life of a process.
  constexpr int kTries = 8;
  for (int i = 0; i < kTries; ++i) {
    Copy<ProcessTable::Slot> copy;
    if (!Read(slot, copy)) return std::nullopt;
    ProcessTable::Entry entry = ProcessTable::Read(index, *copy);
    if (entry.kind == ProcessTable::Kind::kFree) return std::nullopt;
    const std::optional<uint64_t> state = ReadWord(slot + offsetof(ProcessTable::Slot, state));
    if (state != copy->state.load(std::memory_order_relaxed)) continue;
    if (entry.kind > ProcessTable::Kind::kDead) return std::nullopt;
    return entry;
  }
  return std::nullopt;
}

const ProcessTable::Entry* Snapshot::Find(ProcessId id) const {
  // Of one slot there is one process, and they are in order of their slots.
  const auto found =
      std::lower_bound(processes.begin(), processes.end(), id,
                       [](const ProcessTable::Entry& process, ProcessId wanted) {
                         return ProcessTable::IndexOf(process.id) < ProcessTable::IndexOf(wanted);
                       });
  return found != processes.end() && found->id == id ? &*found : nullptr;
}

Snapshot TakeSnapshot(const DomainMemory& memory, std::optional<Evidence> evidence) {
  return SnapshotMaker(memory).Make(evidence);
}

}  // namespace mp::internal
