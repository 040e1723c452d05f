// Reading: what the calling thread reads: its holds (shared/internal/holds.h), the newest first.
// The note of each has the next one (bits 0-47, its address), and how often more than once it reads
// (48-63).

#ifndef MP_SYNC_INTERNAL_READING_H_
#define MP_SYNC_INTERNAL_READING_H_

#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/holds.h"
#include "shared/internal/object_header.h"

namespace mp::internal {

class Reading {
 public:
  static Hold* Find(const ObjectHeader& object) {
    const auto address = reinterpret_cast<uint64_t>(&object);
    Hold* hold = Newest();
    while (hold != nullptr && hold->object.load(std::memory_order_relaxed) != address) {
      hold = NextOf(*hold);
    }
    return hold;
  }
  static void Add(Hold& hold) {
    hold.note.store(reinterpret_cast<uint64_t>(Newest()), std::memory_order_relaxed);
    newest_ = &hold;
  }
  static void Remove(const Hold& hold) {
    Hold* const next = NextOf(hold);
    if (newest_ == &hold) {
      newest_ = next;
      return;
    }
    Hold* newer = newest_;
    while (NextOf(*newer) != &hold) newer = NextOf(*newer);
    const uint64_t again = newer->note.load(std::memory_order_relaxed) & ~kAddress;
    newer->note.store(again | reinterpret_cast<uint64_t>(next), std::memory_order_relaxed);
  }
  // False: more often than can be counted.
  static bool Again(Hold& hold) {
    const uint64_t note = hold.note.load(std::memory_order_relaxed);
    if (note + kOnce < note) return false;
    hold.note.store(note + kOnce, std::memory_order_relaxed);
    return true;
  }
  // False: it reads once.
  static bool LessOften(Hold& hold) {
    const uint64_t note = hold.note.load(std::memory_order_relaxed);
    if (note < kOnce) return false;
    hold.note.store(note - kOnce, std::memory_order_relaxed);
    return true;
  }

 private:
  friend struct ReadingTestPeer;

  static constexpr uint64_t kOnce = uint64_t{1} << 48;
  static constexpr uint64_t kAddress = kOnce - 1;

  static Hold* NextOf(const Hold& hold) {
    return reinterpret_cast<Hold*>(hold.note.load(std::memory_order_relaxed) & kAddress);
  }
  static Hold* Newest() {
    if (generation_ != ForkGeneration()) {
      generation_ = ForkGeneration();  // they are its parent's
      newest_ = nullptr;
    }
    return newest_;
  }

  static inline constinit thread_local Hold* newest_ = nullptr;
  static inline constinit thread_local uint32_t generation_ = 0;
};

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_READING_H_
