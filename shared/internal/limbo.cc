#include "shared/internal/limbo.h"

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/busy.h"
#include "shared/internal/contents.h"
#include "shared/internal/handle.h"
#include "shared/internal/handles_in.h"
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
constinit size_t next_look = 16;     // under limbo_mutex: at that many, drops look at them
constinit uint32_t last_deaths = 0;  // under limbo_mutex: how many there were at the last one
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

// Whether anybody can have inherited what it is asked of. Objects that were made and dropped
// together have the same heirs, which are looked for once while there are any.
class Heirs {
 public:
  bool MayHave(const ProcessTable::Legacy& legacy) {
    if (last_ != legacy) {
      if (!Domain::Current()->AnyInherited(legacy)) return false;
      last_ = legacy;
    }
    return true;
  }

 private:
  std::optional<ProcessTable::Legacy> last_;
};

// Whether it is busy, or a process that is there, or may be, can have inherited it.
bool HasToWait(const Stakes::Look& look, Heirs& heirs) {
  if (IsBusy(*look.object, Domain::Current()->holds())) return true;
  const ProcessTable::Legacy legacy = Stakes::LegacyOf(look);
  // Without a fork in between nobody has inherited it from its maker.
  const bool no_fork = !legacy.spread && legacy.made == legacy.dropped;
  return !no_fork && heirs.MayHave(legacy);
}
bool HasToWait(const Stakes::Look& look) {
  Heirs heirs;
  return HasToWait(look, heirs);
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

void EndBlindly(ObjectHeader* cell);

// Until it has no longer to wait.
void Leave(const Stakes::Look& object, EndObject end) {
  bool look;
  {
    const std::lock_guard lock(limbo_mutex);
    if (limbo == nullptr) limbo = new std::vector<InLimbo>;
    limbo->push_back({object, end});
    const uint32_t deaths = Domain::Current()->lanes().deaths().load(std::memory_order_acquire);
    look = !EndsWait::Any() && (limbo->size() >= next_look || deaths != last_deaths);
    if (look) last_deaths = deaths;
  }
  if (look) EndObjectsInLimbo();
}

// Drops the handles in these blocks. What ends by that, of whatever type, is retired, and
// appended to `ended`.
void DropHandlesIn(const std::vector<Heap::Block>& blocks, std::vector<ObjectHeader*>& ended) {
  for (const Heap::Block& block : blocks) {
    ForEachHandleIn(Domain::Current()->heap(), block.address, block.size, [&](Word& handle) {
      const Stakes::Look last = DropHandle(handle);
      if (last.object == nullptr) return;
      if (HasToWait(last)) {
        Leave(last, &EndBlindly);
      } else if (Retire(last)) {
        ended.push_back(last.object);
      }
    });
  }
}

// Objects of whatever type, retired, without ~T; and those that end by that, and so on.
void EndBlindly(std::vector<ObjectHeader*> cells) {
  if (cells.empty()) return;
  Domain& domain = *Domain::Current();
  for (bool more = true; more;) {
    Contents contents;
    domain.heap().ForEachBlock([&](const Heap::Block& block) { contents.Add(block); });
    const size_t known = cells.size();
    for (size_t i = 0; i < cells.size(); ++i) {
      std::vector<Heap::Block> blocks;
      contents.MoveTo(cells[i], blocks);
      DropHandlesIn(blocks, cells);
    }
    // Who had what has ended now may have put more into it since the look.
    more = cells.size() > known;
  }
  std::vector<Owner> owners;
  for (ObjectHeader* cell : cells) {
    owners.push_back(Owner::Object(cell));
    cell->name.store(0, std::memory_order_relaxed);
  }
  domain.heap().FreeOwnedByAny(owners, domain.AsHolder());
  for (ObjectHeader* cell : cells) FreeCell(cell);
}

void EndBlindly(ObjectHeader* cell) { EndBlindly(std::vector<ObjectHeader*>{cell}); }

}  // namespace

void DropHandlesOf(ObjectHeader* cell) {
  if ((cell->stakes.load(std::memory_order_acquire) & Stakes::kHolds) == 0) return;
  Contents contents;
  Domain::Current()->heap().ForEachBlock([&](const Heap::Block& block) { contents.Add(block); });
  std::vector<Heap::Block> blocks;
  contents.MoveTo(cell, blocks);
  std::vector<ObjectHeader*> ended;
  DropHandlesIn(blocks, ended);
  EndBlindly(std::move(ended));
}

void DropHandlesIn(void* memory, size_t size) {
  std::vector<ObjectHeader*> ended;
  DropHandlesIn({{memory, size, Owner(), false}}, ended);
  EndBlindly(std::move(ended));
}

void EndOrLeave(const Stakes::Look& object, EndObject end) {
  if (object.object == nullptr) return;
  if (HasToWait(object)) {
    Leave(object, end);
  } else if (Retire(object)) {
    end(object.object);
  }
}

bool EndObjectsInLimbo() {
  if (EndsWait::Any()) return false;
  std::vector<InLimbo> all;
  {
    const std::lock_guard lock(limbo_mutex);
    if (limbo != nullptr) all.swap(*limbo);
  }
  if (all.empty()) return false;
  // Outside of the lock: ~T may drop handles, too.
  bool any = false;
  Heirs heirs;
  std::vector<InLimbo> stay;
  for (const InLimbo& each : all) {
    if (!IsStill(each.look)) continue;
    if (HasToWait(each.look, heirs)) {
      stay.push_back(each);
    } else if (Retire(each.look)) {
      // The heirs are gone, and so nobody has brought it back to life since.
      each.end(each.look.object);
      any = true;
    }
  }
  const std::lock_guard lock(limbo_mutex);
  limbo->insert(limbo->end(), stay.begin(), stay.end());
  // Each look costs as much as there is: so the next one when there is twice as much.
  next_look = std::max<size_t>(16, 2 * limbo->size());
  return any;
}

}  // namespace mp::internal
