#include "shared/allocator.h"

#include <cstddef>
#include <new>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/domain.h"
#include "shared/internal/limbo.h"

namespace mp::internal {
namespace {

class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(const absl::Status& why) : what_(why.message()) {}
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::string what_;
};

}  // namespace

Owner OwnerAt(const void* place) {
  Domain* domain = Domain::Current();
  if (domain == nullptr || !domain->Contains(place)) return Owner();
  const Heap::Block block = domain->heap().Find(place);
  return block.cell ? Owner::Object(block.address) : block.owner;
}

absl::StatusOr<void*> AllocateBlock(size_t size, size_t alignment, Owner owner) {
  const absl::StatusOr<Domain*> domain = Domain::Get();
  if (!domain.ok()) return domain.status();
  if (owner.kind() == Owner::Kind::kNone) owner = (*domain)->ThisProcess();
  absl::StatusOr<void*> block = (*domain)->Allocate(size, alignment, owner);
  if (!absl::IsResourceExhausted(block.status()) || !EndObjectsInLimbo()) return block;
  return (*domain)->Allocate(size, alignment, owner);
}

void* AllocateOrThrow(size_t size, size_t alignment, Owner owner) {
  const absl::StatusOr<void*> block = AllocateBlock(size, alignment, owner);
  if (!block.ok()) throw OutOfMemory(block.status());
  return *block;
}

void FreeBlock(void* block) { Domain::Current()->Free(block); }

void FreeBlockOf(void* block, Owner owner) {
  Domain& domain = *Domain::Current();
  if (owner.kind() == Owner::Kind::kNone) {
    const Owner whose = domain.heap().Find(block).owner;
    if (whose.kind() == Owner::Kind::kProcess && whose != domain.ThisProcess()) return;
  }
  domain.Free(block);
}

}  // namespace mp::internal
