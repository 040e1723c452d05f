// Holds: what a process has of an object, and gives back when it dies, exactly once: a permit of a
// semaphore, its place in a barrier, a count of a latch, the right to read. Each is a record in a
// table of the domain, which the burial of the process goes through.
//
//   Hold* hold = table.Take(self);               // a free record, this thread's
//   hold->Post(object);                          // it holds the object
//   hold->Withdraw();                            // and no more
//   table.Return(hold);
//
// Where to have it also changes a count, two words change, the count and the record. The change of
// the count commits, and says of which record it is (its tag): by that the burial of a process that
// was killed between the two tells whether it has happened. Who is about to replace the tag of
// another marks that one's record as done first.
//
//   if (table.Change(object, *hold, HoldTable::kTaking, first, next)) hold->End(/*held=*/true);
//
// Layout of a record
//   object    who has the record   cell of the object; stays when the record is free
//   state     the same; `done` and step (bits 0-1): none, or it is about to take or to give back;
//             marks by others      done (2): that has happened; held (3): it holds the object;
//                                  taken (4): a thread of the process has the record, or an object
//                                  of its; marks (5-6) are the object's; turn (7-63): counts what
//                                  it was about to do
//   note      who has the record   the object's
//
//   P1  A record that is not about to do anything holds its object, or does not: `held`.
//   P2  One that is about to do something has done so if `done`, or if its object's count has its
//       tag and turn. No two things that a record is about to do have the same turn there, until
//       44 bits are through: days, for a record in use without a pause. And then it takes somebody
//       who stood before its exchange all that time. (With 8 bits a death can take a permit
//       along, or double it: PermitsModelTest.ATurnComesAgain.)
//   P3  Only the process that owns its chunk writes a record, a thread at a time; and when that is
//       dead, who buries it. Others set `done` and marks, where the record is as they saw it.
//   Repair after a death: the burial of the process settles each of its records, and gives back
//   what they hold (Bury).
//
// Layout of the table: chunks of 256 bytes, each an owner (id of a process; 0: free) and 10
// records; memory is committed a page at a time as they are used, and stays.
//
// Threads: any number, each with records of its own. Signals: not in a handler that interrupts the
// taking of a record. Fork: a child has none of its parent's records; see ForgetInChild.

#ifndef MP_SHARED_INTERNAL_HOLDS_H_
#define MP_SHARED_INTERNAL_HOLDS_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "shared/internal/atomic.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/process_table.h"
#include "shared/internal/word_pair.h"

namespace mp::internal {

// Whether its cell begins with a CountedHeader.
constexpr bool HasCount(ObjectType type) {
  switch (type) {
    case ObjectType::kSemaphore:
    case ObjectType::kBoundedSemaphore:
    case ObjectType::kBarrier:
    case ObjectType::kLatch:
      return true;
    default:
      return false;
  }
}

// What the cell of an object begins with whose holds change a count.
//
// Layout
//   initial   the maker   what the count began with, or may come to; constant
//   count     all         first: the object's, each change commits. Second: turn (bits 0-43) and
//                         tag (44-63) of the record that changed it last, in one step with that;
//                         0: none has
struct CountedHeader : ObjectHeader {
  Word initial;
  WordPair count;

  // By the maker.
  void InitCount(uint64_t initial_value, uint64_t first) {
    initial.store(initial_value, std::memory_order_relaxed);
    count.Init({first, 0});
  }
};

struct Hold {
  static constexpr uint64_t kStep = 3;
  static constexpr uint64_t kDone = 4;
  static constexpr uint64_t kHeld = 8;
  static constexpr uint64_t kTaken = 16;
  static constexpr uint64_t kMark = 32;
  static constexpr uint64_t kOtherMark = 64;
  static constexpr int kTurnShift = 7;
  static constexpr uint64_t kOneTurn = uint64_t{1} << kTurnShift;
  static constexpr uint64_t kTurn = ~(kOneTurn - 1);

  Word object;
  Word state;
  Word note;

  // Of an object without a count. Either is a barrier: what this thread reads after it, it reads
  // after others can see it.
  void Post(const ObjectHeader& held) {
    const uint64_t turn = (state.load(std::memory_order_relaxed) & kTurn) + kOneTurn;
    object.store(reinterpret_cast<uint64_t>(&held), std::memory_order_relaxed);
    // Before: it holds nothing.
    // After:  it holds the object, until its process's burial at the latest.
    // Test:   RWLockCrashTest.AReaderMayDie
    state.exchange(turn | kTaken | kHeld, std::memory_order_seq_cst);
  }
  void Withdraw() {
    const uint64_t held = state.load(std::memory_order_relaxed);
    // Before: it holds the object.
    // After:  it does not; who waits for that and is not woken is told of the death.
    // Test:   RWLockCrashTest.AReaderMayDie
    state.exchange(held & ~kHeld, std::memory_order_seq_cst);
  }
  // The end of what HoldTable::Change() has done or not. Nobody has put marks on it.
  void End(bool held) {
    const uint64_t turn = state.load(std::memory_order_relaxed) & kTurn;
    // Before: about to; the count, or `done`, says whether it has happened.
    // After:  the record says it.
    // Test:   SemaphoreCrashTest.APermitOfTheDeadComesBackOnce
    state.store(turn | kTaken | (held ? kHeld : 0), std::memory_order_release);
  }
  // The same where it is held, and somebody may.
  void EndHeld() {
    uint64_t seen = state.load(std::memory_order_relaxed);
    // Before and after: as in End().
    // Test:   BarrierCrashTest.AWaiterMayDie
    while (!state.compare_exchange_weak(seen, (seen & ~(kStep | kDone)) | kHeld,
                                        std::memory_order_acq_rel, std::memory_order_relaxed)) {
    }
  }
  // Whether it holds that, or is about to, or to give it back.
  bool Holds(const ObjectHeader& held) const {
    // The state first: what it says is of the object that is there then.
    return (state.load(std::memory_order_seq_cst) & (kHeld | kStep)) != 0 &&
           object.load(std::memory_order_acquire) == reinterpret_cast<uint64_t>(&held);
  }
  // By anybody. False: it is no longer as it was `seen`, and may be of another object.
  [[nodiscard]] bool TryMark(uint64_t seen, uint64_t mark) {
    // A mark commits nothing: who dies before what it is for leaves it without a meaning.
    return state.compare_exchange_strong(seen, seen | mark, std::memory_order_seq_cst);
  }
};

class HoldTable {
 public:
  enum Step : uint64_t { kTaking = 1, kGiving = 2 };

  static constexpr uint32_t ChunksFor(uint32_t slots) { return slots / 4; }
  static constexpr size_t BytesFor(uint32_t slots) { return ChunksFor(slots) * sizeof(Chunk); }

  // `memory`: zero bytes of the domain, not yet committed.
  void Format(void* memory, uint32_t slots);

  // One for the calling thread; `self` is its process. nullptr: all are taken, or there is no
  // memory for more.
  Hold* Take(ProcessId self) { return cached_ != 0 ? cache_[--cached_] : TakeFromChunks(self); }
  // Whether the next one is at hand.
  static bool HasCached() { return cached_ != 0; }
  // By any thread of the process: one that holds nothing.
  void Return(Hold* hold) {
    if (cached_ >= room_) return Untake(*hold);
    cache_[cached_++] = hold;
  }
  // In a child of fork, first of all.
  static void ForgetInChild() { cached_ = 0; }

  // Changes the object's count to what `next` makes of it, in one step with `hold`, which is about
  // to take or to give back until the caller ends that. `first` is what the count may be. False:
  // `next` had nothing to say.
  template <typename Next>
  bool Change(CountedHeader& object, Hold& hold, Step step, uint64_t first, const Next& next);

  // A step of every burial, before the dead one's handles are dropped. `give_back(object, hold)`
  // is for each that is held, and has a count.
  template <typename GiveBack>
  void Bury(ProcessId dead, const GiveBack& give_back);

  // Those of the process that hold the object: `visit(hold)`, until it is true.
  template <typename Visit>
  bool VisitOf(ProcessId self, const ObjectHeader& object, const Visit& visit) const {
    return VisitWhere([self](ProcessId owner) { return owner == self; }, object, visit);
  }
  // The same for those of all.
  template <typename Visit>
  bool VisitAll(const ObjectHeader& object, const Visit& visit) const {
    return VisitWhere([](ProcessId owner) { return owner != 0; }, object, visit);
  }
  // How many hold the object, or are about to, or to give it back.
  uint64_t CountOf(const ObjectHeader& object) const;
  bool AnyOf(const ObjectHeader& object) const {
    return VisitAll(object, [](Hold&) { return true; });
  }

  // The first broken invariant.
  absl::Status Check(const ProcessTable& processes) const;

  size_t CommittedBytes() const {
    return committed_.load(std::memory_order_relaxed) * sizeof(Chunk);
  }

 private:
  friend class HoldCacheEnd;
  friend struct HoldTableTestPeer;

  static constexpr uint32_t kRecords = 10;
  struct Chunk {
    Word owner;
    Hold records[kRecords];
    Word unused;
  };
  static_assert(sizeof(Chunk) == 256);
  static constexpr uint32_t kChunksInAPage = 4096 / sizeof(Chunk);
  static constexpr int kMostCached = kRecords;

  static constexpr int kTagShift = 44;
  static constexpr uint64_t kTurnInLast = (uint64_t{1} << kTagShift) - 1;

  static inline constinit thread_local int cached_ = 0;
  // How many it may return to its cache: none where nobody would empty that at its end.
  static inline constinit thread_local int room_ = 0;
  static inline constinit thread_local Hold* cache_[kMostCached] = {};

  // Of all words of the table; 0 is a chunk's owner.
  uint64_t TagOf(const Hold& hold) const {
    return (reinterpret_cast<uint64_t>(&hold) - reinterpret_cast<uint64_t>(chunks_)) / sizeof(Word);
  }
  Hold& HoldOf(uint64_t tag) const {
    return *reinterpret_cast<Hold*>(reinterpret_cast<Word*>(chunks_) + tag);
  }
  // What a count has for what the record was about to do in that state.
  uint64_t LastOf(const Hold& hold, uint64_t state) const {
    return TagOf(hold) << kTagShift | (state >> Hold::kTurnShift & kTurnInLast);
  }
  template <typename IsOwner, typename Visit>
  bool VisitWhere(const IsOwner& is_owner, const ObjectHeader& object, const Visit& visit) const;
  uint64_t Begin(Hold& hold, const ObjectHeader& object, Step step) const;
  static absl::Status CheckRecord(const Chunk& chunk, uint64_t owner, const Hold& hold);
  void MarkDone(uint64_t last, const Hold& self) const;
  void Settle(const CountedHeader& object, Hold& hold) const;
  Hold* TakeFromChunks(ProcessId self);
  bool TakeAllOf(Chunk& chunk);
  static void Untake(Hold& hold);
  bool Grow();
  static void BeginThread() { room_ = kMostCached; }
  static void EndThread();

  Chunk* chunks_;   // constant
  uint64_t count_;  // constant
  Word committed_;  // chunks that have memory; grows only
  Word hint_;       // from where on to look for one that is free
};

template <typename Next>
bool HoldTable::Change(CountedHeader& object, Hold& hold, Step step, uint64_t first,
                       const Next& next) {
  std::optional<uint64_t> to = next(first);
  if (!to.has_value()) return false;
  const uint64_t last = Begin(hold, object, step);
  TwoWords seen = {first, object.count.second()};
  for (;;) {
    MarkDone(seen.second, hold);
    // Before: it has not happened.
    // After:  it has, and its burial finds that.
    // Test:   SemaphoreCrashTest.APermitOfTheDeadComesBackOnce
    if (object.count.Exchange(seen, {*to, last})) return true;
    to = next(seen.first);
    if (!to.has_value()) {
      hold.End(step == kGiving);
      return false;
    }
  }
}

template <typename GiveBack>
void HoldTable::Bury(ProcessId dead, const GiveBack& give_back) {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  for (uint64_t index = 0; index < committed; ++index) {
    Chunk& chunk = chunks_[index];
    if (chunk.owner.load(std::memory_order_acquire) != dead) continue;
    for (Hold& hold : chunk.records) {
      // An object that is held, or about to be, has not ended (busy.h).
      if ((hold.state.load(std::memory_order_acquire) & (Hold::kStep | Hold::kHeld)) != 0) {
        auto& object =
            *reinterpret_cast<ObjectHeader*>(hold.object.load(std::memory_order_relaxed));
        if (HasCount(object.type())) {
          auto& counted = static_cast<CountedHeader&>(object);
          Settle(counted, hold);
          if ((hold.state.load(std::memory_order_acquire) & Hold::kHeld) != 0) {
            give_back(counted, hold);
          }
        }
      }
      const uint64_t turn = hold.state.load(std::memory_order_relaxed) & Hold::kTurn;
      // First: where it holds nothing nobody asks what.
      hold.state.store(turn, std::memory_order_release);
      hold.object.store(0, std::memory_order_release);
    }
    // Before: the dead one's; who buries it again finds nothing held.
    // After:  free.
    // Test:   PermitsCrashTest.TheBurialOfAPermitMayBeInterrupted
    chunk.owner.store(0, std::memory_order_release);
  }
}

template <typename IsOwner, typename Visit>
bool HoldTable::VisitWhere(const IsOwner& is_owner, const ObjectHeader& object,
                           const Visit& visit) const {
  // Sequentially consistent, as the claim of a chunk (TakeFromChunks) and what a hold says: who
  // has said something elsewhere before it looks here, as a writer, sees the hold of whoever has
  // not seen that, and so its chunk first.
  const uint64_t committed = committed_.load(std::memory_order_seq_cst);
  for (uint64_t index = 0; index < committed; ++index) {
    if (!is_owner(chunks_[index].owner.load(std::memory_order_seq_cst))) continue;
    for (Hold& hold : chunks_[index].records) {
      if (hold.Holds(object) && visit(hold)) return true;
    }
  }
  return false;
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_HOLDS_H_
