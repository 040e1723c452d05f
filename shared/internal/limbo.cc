#include "shared/internal/limbo.h"

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/handle.h"
#include "shared/internal/handles_in.h"
#include "shared/internal/lock_header.h"
#include "shared/internal/object.h"
#include "shared/internal/process_table.h"
#include "shared/internal/stakes.h"
#include "shared/owner.h"

namespace mp::internal {
namespace {

struct InLimbo {
  ObjectHeader* cell;
  uint64_t state;  // another object's in the same cell is another one
  EndObject end;
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

// Whether a process that is there, or may be, can have inherited an object in limbo.
bool HasHeir(Domain& domain, const ObjectHeader* cell) {
  const uint64_t stakes = cell->stakes.load(std::memory_order_relaxed);
  const ProcessTable::Legacy legacy{.maker = cell->maker.load(std::memory_order_relaxed),
                                    .made = cell->made.load(std::memory_order_relaxed),
                                    .dropped = stakes & Stakes::kClock,
                                    .spread = (stakes & Stakes::kSpread) != 0};
  // Without a fork in between nobody has inherited it.
  return legacy.made != legacy.dropped && domain.AnyInherited(legacy);
}

void DropHandlesOfAll(const std::vector<ObjectHeader*>& cells);

// Objects of whatever type, without ~T.
void EndBlindly(const std::vector<ObjectHeader*>& cells) {
  Domain& domain = *Domain::Current();
  std::vector<Owner> owners;
  for (ObjectHeader* cell : cells) {
    RetireCell(cell);
    owners.push_back(Owner::Object(cell));
  }
  DropHandlesOfAll(cells);
  for (ObjectHeader* cell : cells) cell->name.store(0, std::memory_order_relaxed);
  domain.heap().FreeOwnedByAny(owners, domain.AsHolder());
  for (ObjectHeader* cell : cells) FreeCell(cell);
}

void EndOneBlindly(ObjectHeader* cell) { EndBlindly({cell}); }

// Whether an object that has lost its last stake may end now.
bool MayEnd(const ObjectHeader* cell) {
  return !IsBusy(*cell) && !HasHeir(*Domain::Current(), cell);
}

// Otherwise this process keeps it.
void Leave(ObjectHeader* cell, EndObject end) {
  bool look;
  {
    const std::lock_guard lock(limbo_mutex);
    if (limbo == nullptr) limbo = new std::vector<InLimbo>;
    limbo->push_back({cell, cell->state.load(std::memory_order_relaxed), end});
    look = limbo->size() >= next_look;
  }
  if (look) EndObjectsInLimbo();
}

void DropHandlesInAll(const std::vector<Heap::Block>& blocks) {
  std::vector<ObjectHeader*> ended;
  for (const Heap::Block& block : blocks) {
    ForEachHandleIn(Domain::Current()->heap(), block.address, block.size, [&](Word& handle) {
      ObjectHeader* object = DropHandle(handle);
      if (object == nullptr) return;
      if (MayEnd(object)) {
        ended.push_back(object);
      } else {
        Leave(object, &EndOneBlindly);
      }
    });
  }
  if (!ended.empty()) EndBlindly(ended);
}

void DropHandlesOfAll(const std::vector<ObjectHeader*>& cells) {
  std::unordered_set<uint64_t> holders;
  for (const ObjectHeader* cell : cells) {
    const bool holds = (cell->stakes.load(std::memory_order_acquire) & Stakes::kHolds) != 0;
    if (holds) holders.insert(reinterpret_cast<uint64_t>(cell));
  }
  if (holders.empty()) return;
  std::vector<Heap::Block> blocks;
  Domain::Current()->heap().ForEachBlock([&](const Heap::Block& block) {
    const bool owned =
        block.owner.kind() == Owner::Kind::kObject && holders.contains(block.owner.identity());
    const bool cell = block.cell && holders.contains(reinterpret_cast<uint64_t>(block.address));
    if (owned || cell) blocks.push_back(block);
  });
  DropHandlesInAll(blocks);
}

}  // namespace

void DropHandlesOf(ObjectHeader* cell) { DropHandlesOfAll({cell}); }

void DropHandlesIn(void* memory, size_t size) {
  DropHandlesInAll({{memory, size, Owner(), false}});
}

void EndOrLeave(ObjectHeader* cell, EndObject end) {
  if (cell == nullptr) return;
  if (MayEnd(cell)) {
    end(cell);
  } else {
    Leave(cell, end);
  }
}

void EndObjectsInLimbo() {
  std::vector<InLimbo> all;
  {
    const std::lock_guard lock(limbo_mutex);
    if (limbo != nullptr) all.swap(*limbo);
  }
  if (all.empty()) return;
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.AsHolder().identity();
  // Outside of the lock: ~T may drop handles, too.
  std::vector<InLimbo> stay;
  for (const InLimbo& each : all) {
    // An heir may have brought it back to life, and another have ended it then.
    auto is_ours = [&] {
      return each.cell->state.load(std::memory_order_acquire) == each.state &&
             domain.stakes().IsKept(*each.cell, self, domain.processes());
    };
    if (!is_ours()) continue;
    if (!MayEnd(each.cell)) {
      stay.push_back(each);
    } else if (is_ours()) {
      // Still: the last heirs are gone, and have done nothing of the kind before.
      each.end(each.cell);
    }
  }
  const std::lock_guard lock(limbo_mutex);
  limbo->insert(limbo->end(), stay.begin(), stay.end());
  // Each look costs as much as there is: so the next one when there is twice as much.
  next_look = std::max<size_t>(16, 2 * limbo->size());
}

}  // namespace mp::internal
