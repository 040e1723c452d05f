// Contents: the blocks that may hold handles, by the object whose they are. One look at the heap,
// for who is about to free many objects without destructors.

#ifndef MP_SHARED_INTERNAL_CONTENTS_H_
#define MP_SHARED_INTERNAL_CONTENTS_H_

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "shared/heap.h"
#include "shared/internal/object_header.h"
#include "shared/internal/stakes.h"

namespace mp::internal {

class Contents {
 public:
  // For each block that a visit of the heap meets.
  void Add(const Heap::Block& block) {
    if (block.cell) {
      AddIfHolds(static_cast<ObjectHeader*>(block.address), block);
    } else if (block.owner.kind() == Owner::Kind::kObject) {
      AddIfHolds(reinterpret_cast<ObjectHeader*>(block.owner.identity()), block);
    }
  }
  // Appends those of `object`, once.
  void MoveTo(const ObjectHeader* object, std::vector<Heap::Block>& blocks) {
    const auto found = by_object_.find(object);
    if (found == by_object_.end()) return;
    blocks.insert(blocks.end(), found->second.begin(), found->second.end());
    by_object_.erase(found);
  }

 private:
  void AddIfHolds(const ObjectHeader* object, const Heap::Block& block) {
    if ((object->stakes.load(std::memory_order_acquire) & Stakes::kHolds) == 0) return;
    by_object_[object].push_back(block);
  }

  std::unordered_map<const ObjectHeader*, std::vector<Heap::Block>> by_object_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_CONTENTS_H_
