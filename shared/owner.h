// Owner: whose a block of the domain is. One word, kept by the heap beside each
// block, so that what belongs to a dead process, a dropped object or a lost message
// can be found and given back.
//
//   void* block = *heap.Allocate(64, 16, Owner::Object(cell));
//
//   kind       identity                      the block lives until
//   kNone                                    (it is free)
//   kProcess   process id of the domain      it is freed, or its process is buried
//   kObject    address of the object's cell  it is freed, or the object is dropped
//   kMessage   address of the message        it is freed, or the message is gone
//   kHeap                                    the heap's own

#ifndef MP_SHARED_OWNER_H_
#define MP_SHARED_OWNER_H_

#include <cstdint>

namespace mp {

class Owner {
 public:
  enum class Kind : uint64_t { kNone = 0, kProcess = 1, kObject = 2, kMessage = 3, kHeap = 4 };

  constexpr Owner() = default;
  static constexpr Owner Process(uint64_t id) { return Owner(Kind::kProcess, id); }
  static Owner Object(const void* cell) {
    return Owner(Kind::kObject, reinterpret_cast<uint64_t>(cell));
  }
  static Owner Message(const void* message) {
    return Owner(Kind::kMessage, reinterpret_cast<uint64_t>(message));
  }
  static constexpr Owner Heap() { return Owner(Kind::kHeap, 0); }

  // As it stands in shared memory.
  static constexpr Owner FromWord(uint64_t word) { return Owner(word); }
  constexpr uint64_t word() const { return word_; }

  constexpr Kind kind() const { return static_cast<Kind>(word_ & kKindMask); }
  constexpr uint64_t identity() const { return word_ >> kKindBits; }

  friend constexpr bool operator==(Owner, Owner) = default;

 private:
  static constexpr int kKindBits = 3;
  static constexpr uint64_t kKindMask = (uint64_t{1} << kKindBits) - 1;

  explicit constexpr Owner(uint64_t word) : word_(word) {}
  constexpr Owner(Kind kind, uint64_t identity)
      : word_((identity << kKindBits) | static_cast<uint64_t>(kind)) {}

  uint64_t word_ = 0;
};

}  // namespace mp

#endif  // MP_SHARED_OWNER_H_
