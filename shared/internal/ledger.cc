#include "shared/internal/ledger.h"

#include <pthread.h>

#include <cstddef>
#include <mutex>
#include <new>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/fatal.h"
#include "shared/internal/process_table.h"

namespace mp::internal {
namespace {

struct Entry {
  Word* stake;  // the handle in the domain
  size_t handles;
};

// Held across a fork; a child has none.
constinit std::mutex mutex;
// Under mutex; made with the first, since most processes have none. Never destroyed: static
// handles are dropped late.
constinit std::unordered_map<ObjectHeader*, Entry>* ledger = nullptr;

[[gnu::constructor(101)]] void RegisterForkHandlers() {
  pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); },
                 [] {
                   if (ledger != nullptr) ledger->clear();
                   mutex.unlock();
                 });
}

}  // namespace

void TakeForeign(ObjectHeader* object) {
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.AsHolder().identity();
  const std::lock_guard lock(mutex);
  if (ledger == nullptr) ledger = new std::unordered_map<ObjectHeader*, Entry>;
  const auto [entry, first] = ledger->try_emplace(object, Entry{nullptr, 0});
  if (first) {
    const absl::StatusOr<void*> memory = domain.Allocate(sizeof(Word), alignof(Word));
    if (!memory.ok()) {
      Fatal(absl::StrCat(object->Describe(), ": a handle cannot be copied out of the domain: ",
                         memory.status().message()));
    }
    entry->second.stake = new (*memory) Word(0);
    domain.processes().SetFlag(self, ProcessTable::kHasHandles);
    domain.stakes().PlaceOwn(*entry->second.stake, *object, domain.processes());
  }
  ++entry->second.handles;
}

bool CopyForeign(ObjectHeader* object) {
  const std::lock_guard lock(mutex);
  if (ledger == nullptr) return false;
  const auto entry = ledger->find(object);
  if (entry == ledger->end()) return false;
  ++entry->second.handles;
  return true;
}

Stakes::Look DropForeign(ObjectHeader* object) {
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.AsHolder().identity();
  const std::lock_guard lock(mutex);
  if (ledger == nullptr) return {};
  const auto entry = ledger->find(object);
  if (entry == ledger->end() || --entry->second.handles != 0) return {};
  Word* const stake = entry->second.stake;
  ledger->erase(entry);
  const Stakes::Look ended = domain.stakes().Drop(*stake, self, domain.processes());
  domain.Free(stake);
  return ended;
}

}  // namespace mp::internal
