#include "shared/internal/object.h"

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/internal/fatal.h"

namespace mp::internal {
namespace {

struct InLimbo {
  ObjectHeader* cell;
  EndObject end;
  IsBusy is_busy;
};

// This process's objects in limbo. Held across a fork; a child has none.
constinit std::mutex limbo_mutex;
constinit size_t next_look = 16;  // under limbo_mutex: at that many, drops look at them
// Under limbo_mutex; made with the first, since most children have none. Never destroyed:
// static handles are dropped late.
constinit std::vector<InLimbo>* limbo = nullptr;

[[gnu::constructor(101)]] void RegisterForkHandlers() {
  pthread_atfork([] { limbo_mutex.lock(); }, [] { limbo_mutex.unlock(); },
                 [] {
                   if (limbo != nullptr) limbo->clear();
                   limbo_mutex.unlock();
                 });
}

}  // namespace

absl::StatusOr<ObjectHeader*> MakeCell(size_t size, size_t alignment, std::string_view name) {
  const absl::StatusOr<Domain*> made = Domain::Get();
  if (!made.ok()) return made.status();
  Domain& domain = **made;
  const absl::StatusOr<void*> memory = domain.AllocateCell(size, alignment);
  if (!memory.ok()) return memory.status();
  // Cells are only ever cells: what stands in a new one is the generation of the last, and
  // its type, if who freed it died on the way.
  auto* cell = static_cast<ObjectHeader*>(*memory);
  cell->state.store(cell->state.load(std::memory_order_relaxed) & ~ObjectHeader::kTypeMask,
                    std::memory_order_relaxed);
  cell->maker.store(domain.ThisProcess().identity(), std::memory_order_relaxed);
  cell->handles.store(1, std::memory_order_relaxed);
  cell->made.store(domain.MadeNow(), std::memory_order_relaxed);
  cell->dropped.store(0, std::memory_order_relaxed);
  cell->name.store(0, std::memory_order_relaxed);
  if (!name.empty()) {
    const absl::StatusOr<void*> block = domain.Allocate(name.size() + 1, 1, Owner::Object(cell));
    if (!block.ok()) {
      domain.Free(cell);
      return block.status();
    }
    std::memcpy(*block, name.data(), name.size());
    static_cast<char*>(*block)[name.size()] = '\0';
    cell->name.store(reinterpret_cast<uint64_t>(*block), std::memory_order_relaxed);
  }
  return cell;
}

void PublishCell(ObjectHeader* cell, ObjectType type) {
  const uint64_t generation =
      cell->state.load(std::memory_order_relaxed) >> ObjectHeader::kTypeBits;
  // Before: a cell of this process's, which its burial gives back.
  // After:  an object; until the next line it is still this process's to bury.
  // Test:   ObjectCrashTest.AnObjectIsThereOrItsCellIsTheDeads
  cell->state.store(((generation + 1) << ObjectHeader::kTypeBits) | static_cast<uint64_t>(type),
                    std::memory_order_release);
  Domain::Current()->heap().SetOwner(cell, Owner::Object(cell));
}

bool LeaveToOthers(ObjectHeader* cell, EndObject end, IsBusy is_busy) {
  // It is there already, and a copy of a handle that another process has was dropped.
  if (cell->dropped.load(std::memory_order_relaxed) != 0) return true;
  Domain& domain = *Domain::Current();
  const uint64_t now = domain.processes().Clock();
  const uint64_t made = cell->made.load(std::memory_order_relaxed);
  // Without a fork in between nobody has inherited it.
  if (!is_busy(cell) && (made == now || !domain.AnyInherited(made, now))) return false;
  bool look;
  {
    const std::lock_guard lock(limbo_mutex);
    if (limbo == nullptr) limbo = new std::vector<InLimbo>;
    look = limbo->size() >= next_look;
  }
  if (look) EndObjectsInLimbo();
  const std::lock_guard lock(limbo_mutex);
  // Before: an object that its maker has no handle of; were the maker to die, it would stay.
  // After:  one that a burial gives back when nobody can have it.
  // Test:   ObjectCrashTest.AnObjectInLimboComesBack
  cell->dropped.store(now, std::memory_order_release);
  limbo->push_back({cell, end, is_busy});
  return true;
}

void EndObjectsInLimbo() {
  std::vector<InLimbo> all;
  {
    const std::lock_guard lock(limbo_mutex);
    if (limbo == nullptr) return;
    all.swap(*limbo);
  }
  if (all.empty()) return;
  // Outside of the lock: ~T may drop handles, too.
  std::vector<InLimbo> stay;
  for (const InLimbo& each : all) {
    const uint64_t made = each.cell->made.load(std::memory_order_relaxed);
    const uint64_t dropped = each.cell->dropped.load(std::memory_order_relaxed);
    if (each.cell->handles.load(std::memory_order_acquire) != 0) {
      // A handle that another process has was copied here: it is no longer in limbo.
      each.cell->dropped.store(0, std::memory_order_release);
    } else if (each.is_busy(each.cell) || Domain::Current()->AnyInherited(made, dropped)) {
      stay.push_back(each);
    } else {
      each.end(each.cell);
    }
  }
  const std::lock_guard lock(limbo_mutex);
  limbo->insert(limbo->end(), stay.begin(), stay.end());
  // Each look costs as much as there is: so the next one when there is twice as much.
  next_look = std::max<size_t>(16, 2 * limbo->size());
}

void RetireCell(ObjectHeader* cell) {
  Domain& domain = *Domain::Current();
  // Before: an object.
  // After:  this process's cell, to be given back by it or by its burial, with all blocks
  //         that are still the object's.
  // Test:   ObjectCrashTest.AnObjectIsThereOrItsCellIsTheDeads
  domain.heap().SetOwner(cell, domain.AsHolder());
}

void FreeCell(ObjectHeader* cell) {
  Domain& domain = *Domain::Current();
  const uint64_t state = cell->state.load(std::memory_order_relaxed);
  cell->state.store(state & ~ObjectHeader::kTypeMask, std::memory_order_release);
  domain.Free(reinterpret_cast<void*>(cell->name.load(std::memory_order_relaxed)));
  domain.Free(cell);
}

void CannotMake(ObjectType type, size_t size, std::string_view name, const absl::Status& why) {
  const std::string quoted = name.empty() ? "" : absl::StrCat(" \"", name, "\"");
  Fatal(absl::StrCat(NameOf(type), quoted, ": cannot be made (", size, " bytes): ", why.message()));
}

}  // namespace mp::internal
