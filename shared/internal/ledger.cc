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
  if (CopyForeign(object)) return;
  // Without the mutex: a fork waits for that, and this for who is stopped inside the domain.
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.AsHolder().identity();
  const absl::StatusOr<void*> memory = domain.Allocate(sizeof(Word), alignof(Word));
  if (!memory.ok()) {
    Fatal(absl::StrCat(object->Describe(), ": a handle cannot be copied out of the domain: ",
                       memory.status().message()));
  }
  auto* const stake = new (*memory) Word(0);
  domain.processes().SetFlag(self, ProcessTable::kHasHandles);
  domain.stakes().PlaceOwn(*stake, *object, domain.processes());
  {
    const std::lock_guard lock(mutex);
    if (ledger == nullptr) ledger = new std::unordered_map<ObjectHeader*, Entry>;
    const auto [entry, first] = ledger->try_emplace(object, Entry{stake, 0});
    ++entry->second.handles;
    if (first) return;
  }
  // Another thread was faster; that one's is another stake, so this is not the last.
  static_cast<void>(domain.stakes().Drop(*stake, self, domain.processes()));
  domain.Free(stake);
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
  Word* stake = nullptr;
  {
    const std::lock_guard lock(mutex);
    if (ledger == nullptr) return {};
    const auto entry = ledger->find(object);
    if (entry == ledger->end() || --entry->second.handles != 0) return {};
    stake = entry->second.stake;
    ledger->erase(entry);
  }
  Domain& domain = *Domain::Current();
  const ProcessId self = domain.AsHolder().identity();
  const Stakes::Look ended = domain.stakes().Drop(*stake, self, domain.processes());
  domain.Free(stake);
  return ended;
}

}  // namespace mp::internal
