// Stakes: what keeps objects alive. Lives in the domain; one for all of its objects.
//
//   stakes.Place(word, object, holder);          // a handle, in the domain
//   if (stakes.Drop(word, self, processes)) ...  // it was the last stake
//
// An object has a stake for each handle to it that lies in the domain, and one for the process
// that made it while that has handles of its own. Another process that has handles of its own
// has one in the domain for all of them (object.cc), so its burial finds it. Without a stake the
// object is in limbo: only a child that inherited a handle can still have it, and may make it
// live again. Then its keeper, the process that dropped the last stake, ends it; when that is
// dead, a burial does.
//
// A handle in the domain is a word: the address of the object (bits 0-47) and a tag (48-63) that
// follows from where the word lies. So it is told from other words, and from copies of its bytes,
// when the block that it lies in is freed without destructors: by a burial, by Shared<T>::Reset().
//
// Layout
//   field      written by    meaning
//   journal_   who locks     its lock guards all below, and `stakes` and `keeper` of every object
//   place_     the holder    the word that is about to change; 0: none
//   from_      the holder    the object that it referred to, or 0
//   to_        the holder    the object that it will refer to, or 0
//   unkept_    all           1: there may be objects in limbo whose keeper is dead, or nobody
//
//   of an object: stakes
//     bit 63     in limbo; then bits 0-58 are the clock at which it came there
//     bit 62     the process that made it has handles of its own
//     bit 61     there are handles in its cell or its blocks, or have been
//     bit 60     others than the maker have had handles of their own that they did not inherit
//     bit 59     there has been a handle in the domain
//     bits 0-31  handles in the domain
//
//   T1  The count of an object is the number of words of the domain that refer to it; with
//       place_, of words but that one, plus one if it is from_ and one if it is to_.
//   T2  In limbo is what has neither bit 62 nor a count.
//   T3  A handle that lies in a cell or a block of an object is told by bit 61 of that object;
//       in a block of a process, by the process's slot. Nowhere else are handles looked for.
//   Repair after a death: by the next holder. What the word at place_ says by now keeps its
//   stake, the other one loses it. Nothing is written to that word: its block may be another's.

#ifndef MP_SHARED_INTERNAL_STAKES_H_
#define MP_SHARED_INTERNAL_STAKES_H_

#include <time.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "shared/internal/atomic.h"
#include "shared/internal/journal.h"
#include "shared/internal/object_header.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

class Stakes {
 public:
  static constexpr uint64_t kLimbo = uint64_t{1} << 63;
  static constexpr uint64_t kMaker = uint64_t{1} << 62;
  static constexpr uint64_t kHolds = uint64_t{1} << 61;
  static constexpr uint64_t kSpread = uint64_t{1} << 60;
  static constexpr uint64_t kPlaced = uint64_t{1} << 59;
  static constexpr uint64_t kCount = (uint64_t{1} << 32) - 1;
  static constexpr uint64_t kClock = kPlaced - 1;

  static constexpr int kAddressBits = 48;
  static constexpr uint64_t kAddress = (uint64_t{1} << kAddressBits) - 1;

  // What an object in limbo is, or was when somebody looked at it.
  struct Look {
    ObjectHeader* object = nullptr;  // nullptr: none
    uint64_t state = 0;
    uint64_t stakes = 0;
    ProcessId keeper = 0;
  };
  static Look LookAt(ObjectHeader& object);
  // What tells who may have inherited it.
  static ProcessTable::Legacy LegacyOf(const Look& look) {
    return {.maker = look.object->maker.load(std::memory_order_relaxed),
            .made = look.object->made.load(std::memory_order_relaxed),
            .dropped = look.stakes & kClock,
            .spread = (look.stakes & kSpread) != 0};
  }

  void Format() { journal_.Init(); }

  // The value of a word at `place` that is a handle to `object`; the object that it is a handle to
  // with the value `word`, nullptr: it is none. By accident, it may be one to what is no object.
  static uint64_t WordFor(const Word& place, const ObjectHeader& object);
  static ObjectHeader* ObjectOf(const Word& place, uint64_t word) {
    return reinterpret_cast<ObjectHeader*>(AddressOf(reinterpret_cast<uint64_t>(&place), word));
  }
  // The same of addresses; 0: none.
  static uint64_t AddressOf(uint64_t place, uint64_t word) {
    return (word & ~kAddress) == TagOf(place) ? word & kAddress : 0;
  }
  static ObjectHeader* ObjectAt(const Word& place) {
    return ObjectOf(place, place.load(std::memory_order_acquire));
  }

  // `place`, no handle so far, is one to `object`. `holder`: the object in whose cell or blocks it
  // lies, nullptr: none. PlaceOwn: it stands for handles that this process has of its own.
  void Place(Word& place, ObjectHeader& object, ObjectHeader* holder,
             const ProcessTable& processes);
  void PlaceOwn(Word& place, ObjectHeader& object, const ProcessTable& processes);
  // The handle at `place` is one to `to` instead, or none. Returns the object that it was one to,
  // if that was its last stake: `self` is its keeper. None where it still has one.
  [[nodiscard]] Look Replace(Word& place, ObjectHeader& to, ObjectHeader* holder, ProcessId self,
                             const ProcessTable& processes);
  [[nodiscard]] Look Drop(Word& place, ProcessId self, const ProcessTable& processes);

  // Before a block that has handles becomes one of `holder`'s.
  void NoteHolds(ObjectHeader& holder, const ProcessTable& processes);

  // The process that made the object has handles again; it has none any more, as it had when
  // `state` was the object's. Returns it if that was the last stake: `self` is the keeper.
  void TakeMaker(ObjectHeader& object, const ProcessTable& processes);
  [[nodiscard]] Look DropMaker(ObjectHeader& object, uint64_t state, ProcessId self,
                               const ProcessTable& processes);

  // Calls `take` if the object is still what it was, while nobody else can change that. False
  // when it is not, or `take` returns false.
  [[nodiscard]] bool Take(const Look& look, const ProcessTable& processes,
                          absl::FunctionRef<bool()> take) {
    return TakeUntil(nullptr, look, processes, take);
  }

  // For burials: false when the lock was not free until `deadline`. An object that loses its last
  // stake has no keeper, and is appended to `ended`.
  [[nodiscard]] bool TryDrop(Word& place, const timespec& deadline, const ProcessTable& processes,
                             std::vector<Look>& ended);
  [[nodiscard]] bool TryDropMaker(ObjectHeader& object, ProcessId dead, const timespec& deadline,
                                  const ProcessTable& processes, std::vector<Look>& ended);
  // As Take(); false also when the lock was not free.
  [[nodiscard]] bool TryTake(const Look& look, const timespec& deadline,
                             const ProcessTable& processes, absl::FunctionRef<bool()> take) {
    return TakeUntil(&deadline, look, processes, take);
  }
  // What a dead process had begun is settled.
  [[nodiscard]] bool TrySettle(const timespec& deadline, const ProcessTable& processes);

  // Whether burials have something to look for; set before it is there.
  Word& unkept() { return unkept_; }

  // Calls `look` while nothing of it changes. It may not call this again.
  void HoldStill(const ProcessTable& processes, absl::FunctionRef<void()> look);

 private:
  static uint64_t TagOf(uint64_t place) {
    // Fibonacci hashing: neighbours have tags far apart. Never 0, which a plain pointer has.
    const uint64_t tag = place * 0x9e3779b97f4a7c15;
    return (tag & ~kAddress) | uint64_t{1} << kAddressBits;
  }

  // The last step of a change, and its repair.
  Look Settle(Journal::Section& section, ProcessId keeper, const ProcessTable& processes);
  void SettleTheDeads(Journal::Section& section, const ProcessTable& processes);
  // Returns false when the lock was not free until `deadline`, if there is one. `mark`: bits that
  // `to` gets.
  bool Change(const timespec* deadline, Word& place, ObjectHeader* from, ObjectHeader* to,
              uint64_t mark, ObjectHeader* holder, ProcessId keeper, const ProcessTable& processes,
              Look& ended);
  bool TakeUntil(const timespec* deadline, const Look& look, const ProcessTable& processes,
                 absl::FunctionRef<bool()> take);
  // Stages `stakes`, or limbo where that is none: then the object is returned.
  Look Set(Journal::Section& section, ObjectHeader& object, uint64_t stakes, ProcessId keeper,
           const ProcessTable& processes);

  Journal journal_;
  Word place_;
  Word from_;
  Word to_;
  Word unkept_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_STAKES_H_
