// Permits: counts of how many may do something at once, and records of which processes do, so that
// what a dead one had comes back exactly once.
//
//   PermitRecord* record = table.TakeRecord(self);     // this thread's, free
//   if (table.TryAcquire(object, *record, false)) ...  // the record is a permit of the process
//   table.Release(object, *record);                    // and is free again
//   table.ReturnRecord(record);
//
// To take a permit changes two words, the count and the record. The change of the count commits,
// and says of which record it is (its tag): by that the burial of a process that was killed between
// the two tells whether it has the permit. Who is about to replace the tag of another marks that
// one's record as done first.
//
// Layout of a count (in the cell of an object, after its header)
//   initial   the maker   the value that it began with
//   permits   all         value (bits 0-30): how many are left; sleepers (31): somebody may sleep
//                         on the low half. Each change commits
//   last      who has a   turn (bits 0-43) and tag (44-63) of the record that changed the count
//             record      last, in one step with that; 0: none has
//
// Layout of a record
//   object    who has the record   cell of the object; stays when the record is free
//   state     the same; `done`     step (bits 0-1): none, or it is about to acquire or release;
//             by whom replaces     done (2): that has happened; held (3): it is a permit;
//             the tag              taken (4): a thread of the process has it, or a permit;
//                                  turn (5-63): counts what it was about to do
//
//   P1  A record that is not about to do anything is a permit, or is not: `held`.
//   P2  One that is about to do something has done so if `done`, or if its object's count has its
//       tag and turn. No two things that a record is about to do have the same turn there, until
//       44 bits are through: days, for a record in use without a pause. And then it takes somebody
//       who stood before its exchange all that time. (With 8 bits a death can take a permit
//       along, or double it: PermitsModelTest.ATurnComesAgain.)
//   P3  Only the process that owns its chunk writes a record, a thread at a time; and when that is
//       dead, who buries it.
//   Repair after a death: the burial of the process settles each of its records (Bury).
//
// Layout of the table: chunks of 256 bytes, each an owner (id of a process; 0: free) and 15
// records; memory is committed a page at a time as they are used, and stays.
//
// Threads: any number, each with records of its own. Signals: not in a handler that interrupts the
// taking of a record. Fork: a child has none of its parent's records; see ForgetInChild.

#ifndef MP_SHARED_INTERNAL_PERMITS_H_
#define MP_SHARED_INTERNAL_PERMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/process_table.h"
#include "shared/internal/word_pair.h"

namespace mp::internal {

// What the cell of an object with a count begins with.
struct PermitsHeader : ObjectHeader {
  static constexpr uint64_t kValue = 0x7fffffff;
  static constexpr uint64_t kSleepers = 0x80000000;
  static constexpr int kMostValue = 0x7fffffff;

  Word initial;
  WordPair count;  // permits, last

  // By the maker.
  void Init(uint64_t value) {
    initial.store(value, std::memory_order_relaxed);
    count.Init({value, 0});
  }
  Word& permits() { return count.first(); }
  FutexWord& word() { return LowHalf(count.first()); }
  uint64_t value() const { return count.first().load(std::memory_order_acquire) & kValue; }

  // Without a record. `slept`: others may sleep still.
  [[nodiscard]] bool TryAcquire(bool slept);
  // False: there would be more than most(). Who sleeps is woken.
  [[nodiscard]] bool TryRelease(uint64_t released);
  // How many there can be left.
  uint64_t most() const;
};

// Whether its cell begins with a PermitsHeader.
constexpr bool HasPermits(ObjectType type) {
  return type == ObjectType::kSemaphore || type == ObjectType::kBoundedSemaphore;
}

struct PermitRecord {
  Word object;
  Word state;
};

class PermitTable {
 public:
  static constexpr uint32_t ChunksFor(uint32_t slots) { return slots / 4; }
  static constexpr size_t BytesFor(uint32_t slots) { return ChunksFor(slots) * sizeof(Chunk); }

  // `memory`: zero bytes of the domain, not yet committed.
  void Format(void* memory, uint32_t slots);

  // One for the calling thread; `self` is its process. nullptr: all are taken, or there is no
  // memory for more.
  PermitRecord* TakeRecord(ProcessId self) {
    return cached_ != 0 ? cache_[--cached_] : TakeFromChunks(self);
  }
  // By any thread of the process: one that is no permit.
  void ReturnRecord(PermitRecord* record) {
    if (cached_ >= room_) return Untake(*record);
    cache_[cached_++] = record;
  }
  // In a child of fork, first of all.
  static void ForgetInChild() { cached_ = 0; }

  // With a record. False: there is none left.
  [[nodiscard]] bool TryAcquire(PermitsHeader& object, PermitRecord& record, bool slept);
  // Who sleeps is woken. False: there were as many as there can be, and are no more.
  bool Release(PermitsHeader& object, PermitRecord& record);

  // A step of every burial, before the dead one's handles are dropped.
  void Bury(ProcessId dead);
  // How many permits of the object are somebody's, or are being taken or released.
  uint64_t CountHeld(const PermitsHeader& object) const;
  // Without a look at the records where none was ever used.
  bool IsHeld(const PermitsHeader& object) const {
    return object.count.second() != 0 && CountHeld(object) != 0;
  }

  // The first broken invariant.
  absl::Status Check(const ProcessTable& processes) const;

  size_t CommittedBytes() const {
    return committed_.load(std::memory_order_relaxed) * sizeof(Chunk);
  }

 private:
  friend class PermitCacheEnd;
  friend struct PermitTableTestPeer;

  static constexpr uint32_t kRecords = 15;
  struct Chunk {
    Word owner;
    Word unused;
    PermitRecord records[kRecords];
  };
  static_assert(sizeof(Chunk) == 256);
  static constexpr uint32_t kChunksInAPage = 4096 / sizeof(Chunk);
  static constexpr int kMostCached = kRecords;

  static inline constinit thread_local int cached_ = 0;
  // How many it may return to its cache: none where nobody would empty that at its end.
  static inline constinit thread_local int room_ = 0;
  static inline constinit thread_local PermitRecord* cache_[kMostCached] = {};

  uint64_t TagOf(const PermitRecord& record) const {
    return (reinterpret_cast<uint64_t>(&record) - reinterpret_cast<uint64_t>(chunks_)) /
           sizeof(PermitRecord);
  }
  PermitRecord& RecordOf(uint64_t tag) const {
    return reinterpret_cast<PermitRecord*>(chunks_)[tag];
  }
  // What a count has for what the record was about to do in that state.
  uint64_t LastOf(const PermitRecord& record, uint64_t state) const;
  static uint64_t Begin(PermitRecord& record, const PermitsHeader& object, uint64_t step);
  static absl::Status CheckRecord(const Chunk& chunk, uint64_t owner, const PermitRecord& record);
  void MarkDone(uint64_t last, const PermitRecord& self) const;
  void Settle(PermitRecord& record);
  PermitRecord* TakeFromChunks(ProcessId self);
  bool TakeAllOf(Chunk& chunk);
  static void Untake(PermitRecord& record);
  bool Grow();
  static void BeginThread() { room_ = kMostCached; }
  static void EndThread();

  Chunk* chunks_;   // constant
  uint64_t count_;  // constant
  Word committed_;  // chunks that have memory; grows only
  Word hint_;       // from where on to look for one that is free
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_PERMITS_H_
