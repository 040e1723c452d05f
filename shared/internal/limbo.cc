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
  Stakes::Look look;
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

// Whether it is what it was: no heir has brought it back to life, and nobody has ended it.
bool IsStill(const Stakes::Look& look) {
  return look.object->state.load(std::memory_order_acquire) == look.state &&
         look.object->stakes.load(std::memory_order_acquire) == look.stakes;
}

// Whether it is busy, or a process that is there, or may be, can have inherited it.
bool HasToWait(const Stakes::Look& look) {
  if (IsBusy(*look.object)) return true;
  const ProcessTable::Legacy legacy{.maker = look.object->maker.load(std::memory_order_relaxed),
                                    .made = look.object->made.load(std::memory_order_relaxed),
                                    .dropped = look.stakes & Stakes::kClock,
                                    .spread = (look.stakes & Stakes::kSpread) != 0};
  // Without a fork in between nobody has inherited it.
  return legacy.made != legacy.dropped && Domain::Current()->AnyInherited(legacy);
}

// The first step of its end. False: it is not what it was, or another thread is faster.
bool Retire(const Stakes::Look& look) {
  Domain& domain = *Domain::Current();
  const Owner self = domain.AsHolder();
  // Before: an object in limbo, whose keeper is this process.
  // After:  this process's cell, to be given back by it or by its burial, with all blocks
  //         that are still the object's.
  // Test:   StakesCrashTest.WhatIsCopiedOutIsKeptByOneStake
  return domain.stakes().Take(look, domain.processes(), [&] {
    return domain.heap().ChangeOwner(look.object, Owner::Object(look.object), self);
  });
}

void DropHandlesOfAll(const std::vector<ObjectHeader*>& cells);

// Objects of whatever type, retired, without ~T.
void EndBlindly(const std::vector<ObjectHeader*>& cells) {
  Domain& domain = *Domain::Current();
  std::vector<Owner> owners;
  for (ObjectHeader* cell : cells) owners.push_back(Owner::Object(cell));
  DropHandlesOfAll(cells);
  for (ObjectHeader* cell : cells) cell->name.store(0, std::memory_order_relaxed);
  domain.heap().FreeOwnedByAny(owners, domain.AsHolder());
  for (ObjectHeader* cell : cells) FreeCell(cell);
}

void EndOneBlindly(ObjectHeader* cell) { EndBlindly({cell}); }

// Until it has no longer to wait.
void Leave(const Stakes::Look& object, EndObject end) {
  bool look;
  {
    const std::lock_guard lock(limbo_mutex);
    if (limbo == nullptr) limbo = new std::vector<InLimbo>;
    limbo->push_back({object, end});
    look = limbo->size() >= next_look;
  }
  if (look) EndObjectsInLimbo();
}

void DropHandlesInAll(const std::vector<Heap::Block>& blocks) {
  std::vector<ObjectHeader*> ended;
  for (const Heap::Block& block : blocks) {
    ForEachHandleIn(Domain::Current()->heap(), block.address, block.size, [&](Word& handle) {
      const Stakes::Look last = DropHandle(handle);
      if (last.object == nullptr) return;
      if (HasToWait(last)) {
        Leave(last, &EndOneBlindly);
      } else if (Retire(last)) {
        ended.push_back(last.object);
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

void EndOrLeave(const Stakes::Look& object, EndObject end) {
  if (object.object == nullptr) return;
  if (HasToWait(object)) {
    Leave(object, end);
  } else if (Retire(object)) {
    end(object.object);
  }
}

void EndObjectsInLimbo() {
  std::vector<InLimbo> all;
  {
    const std::lock_guard lock(limbo_mutex);
    if (limbo != nullptr) all.swap(*limbo);
  }
  if (all.empty()) return;
  // Outside of the lock: ~T may drop handles, too.
  std::vector<InLimbo> stay;
  for (const InLimbo& each : all) {
    if (!IsStill(each.look)) continue;
    if (HasToWait(each.look)) {
      stay.push_back(each);
    } else if (Retire(each.look)) {
      // The heirs are gone, and so nobody has brought it back to life since.
      each.end(each.look.object);
    }
  }
  const std::lock_guard lock(limbo_mutex);
  limbo->insert(limbo->end(), stay.begin(), stay.end());
  // Each look costs as much as there is: so the next one when there is twice as much.
  next_look = std::max<size_t>(16, 2 * limbo->size());
}

}  // namespace mp::internal
