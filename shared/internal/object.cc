#include "shared/internal/object.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/internal/fatal.h"
#include "shared/internal/limbo.h"
#include "shared/internal/stakes.h"
#include "shared/owner.h"

namespace mp::internal {

absl::StatusOr<ObjectHeader*> MakeCell(size_t size, size_t alignment, std::string_view name) {
  const absl::StatusOr<Domain*> made = Domain::Get();
  if (!made.ok()) return made.status();
  Domain& domain = **made;
  absl::StatusOr<void*> memory = domain.AllocateCell(size, alignment);
  if (absl::IsResourceExhausted(memory.status()) && EndObjectsInLimbo()) {
    memory = domain.AllocateCell(size, alignment);
  }
  if (!memory.ok()) return memory.status();
  // Cells are only ever cells: what stands in a new one is the generation of the last, and
  // its type, if who freed it died on the way.
  auto* cell = static_cast<ObjectHeader*>(*memory);
  cell->state.store(cell->state.load(std::memory_order_relaxed) & ~ObjectHeader::kTypeMask,
                    std::memory_order_relaxed);
  cell->maker.store(domain.ThisProcess().identity(), std::memory_order_relaxed);
  cell->handles.store(1, std::memory_order_relaxed);
  cell->made.store(domain.MadeNow(), std::memory_order_relaxed);
  cell->keeper.store(0, std::memory_order_relaxed);
  cell->name.store(0, std::memory_order_relaxed);
  // Without the lock: no change of the last object's stakes can be to come. Had it ever been in
  // the domain, it ended under the lock, which settles what the dead had begun; and otherwise
  // only its maker, which ended it itself, changed them. Release: a burial that sees this stake
  // sees whose it is.
  cell->stakes.store(Stakes::kMaker, std::memory_order_release);
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
  cell->stakes.store(0, std::memory_order_release);
  domain.Free(reinterpret_cast<void*>(cell->name.load(std::memory_order_relaxed)));
  domain.Free(cell);
}

void CannotMake(ObjectType type, size_t size, std::string_view name, const absl::Status& why) {
  const std::string quoted = name.empty() ? "" : absl::StrCat(" \"", name, "\"");
  Fatal(absl::StrCat(NameOf(type), quoted, ": cannot be made (", size, " bytes): ", why.message()));
}

}  // namespace mp::internal
