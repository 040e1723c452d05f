// HeapLocks: holds every lock of the domain's heap, as a process does that is stopped or
// hangs in the middle of it.

#ifndef MP_TESTS_SHARED_HEAP_LOCKS_H_
#define MP_TESTS_SHARED_HEAP_LOCKS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/journal.h"

namespace mp {
namespace internal {

struct HeapTestPeer {
  // In the order in which the heap takes them.
  static std::vector<Journal*> JournalsOf(Heap& heap) {
    std::vector<Journal*> journals;
    for (uint32_t i = 0; i < heap.arena_count_; ++i) {
      journals.push_back(&heap.arenas_[i].journal());
    }
    journals.push_back(&heap.pages_.journal_);
    return journals;
  }
};

}  // namespace internal

namespace testing {

class HeapLocks {
 public:
  HeapLocks() {
    for (internal::Journal* journal :
         internal::HeapTestPeer::JournalsOf((*Domain::Get())->heap())) {
      sections_.push_back(std::make_unique<internal::Journal::Section>(*journal));
    }
  }

 private:
  std::vector<std::unique_ptr<internal::Journal::Section>> sections_;
};

}  // namespace testing
}  // namespace mp

#endif  // MP_TESTS_SHARED_HEAP_LOCKS_H_
