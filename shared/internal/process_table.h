// ProcessTable: who is in the family. One slot a process, in the domain.
//
//   FREE --prepare of fork--> BORN --in the parent--> FORKED
//    ^                          \                       |
//    |                           `--in the child--> LIVE <--in the child
//    '--buried-- DEAD <--proof of death-- LIVE, FORKED
//
// A slot is a child's before there is the child, so there is no moment at which a process
// has what it inherited and nobody knows of it. Each use of a slot counts its generation
// up; generation and index together are the process's id, which no other process of the
// family, living or dead, has.
//
// One that is spawned inherits nothing, and maps the domain only when its program begins. So
// that it is not taken for dead before, it tells its pid first, and becomes FORKED by that.
//
// Layout of a slot (128 bytes)
//   field      written by           meaning
//   state      all, by exchange     kind (bits 0-2), actor (3-18), generation (19-63).
//                                   The actor is a slot: of BORN and FORKED the parent,
//                                   of DEAD who buries it; 0: none. Commits every step
//   process    the child            pid (bits 0-31; 0: not yet told), flags (32-)
//   claimed    parent, at BORN      CLOCK_BOOTTIME, nanoseconds: not after the child's start;
//                                   0 before that
//   started    the child            the same, when it took the slot: not before its start, and
//                                   before that of any process that gets its pid later
//   parent     parent, at BORN      id of the parent; 0: none
//   born_from  parent, at BORN      the clock: what its parent made, and dropped before this,
//                                   the child has not; spawned: the end of time
//   inherits   parent, at BORN      the same for what others made, and its parent inherited:
//                                   the least born_from of its line; none: the end of time
//   born_to    the child            the clock: what was made after it, the child has not
//   name       the process          its name, as far as it fits, ended by NUL
//   named      the process          1 when name is written: commits it
//
// The clock counts claims and births. An object that is made when it stands at m, and
// loses its last stake when it stands at d, may have been inherited by those with m <
// born_to and, if they are the maker's children, born_from <= d, else inherits <= d; by a
// child that is not yet LIVE, with any born_to. And if their parent may have had it: where
// that is still in the table the same is asked of it.
//
//   T1  A slot is FREE, or of one process.
//   T2  A slot whose generation is g is never of generation g again once it is FREE.
//   T3  The actor of a slot is not FREE: who is buried hands back what it acted on first.
//   Repair after a death: the burial of the process.
//
// The table's memory is committed a page at a time as slots are used, and stays.

#ifndef MP_SHARED_INTERNAL_PROCESS_TABLE_H_
#define MP_SHARED_INTERNAL_PROCESS_TABLE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

// Generation and index of a slot; 0: none.
using ProcessId = uint64_t;

class ProcessTable {
 public:
  enum class Kind : uint64_t { kFree, kBorn, kForked, kLive, kDead };

  // What a process has done that its burial has to undo.
  enum Flag : uint32_t {
    kUsedHeap = 1,  // it may own blocks
    kActed = 2,     // it may be the actor of slots
    kDaemon = 4,
    kHasHandles = 8,  // there may be handles in its blocks
  };

  static constexpr size_t kNameWords = 7;

  struct Slot {
    Word state;
    Word process;
    Word claimed;
    Word started;
    Word parent;
    Word born_from;
    Word inherits;
    Word born_to;
    Word named;
    Word name[kNameWords];
  };
  static_assert(sizeof(Slot) == 128);

  struct Entry {
    ProcessId id = 0;
    ProcessId parent = 0;
    Kind kind = Kind::kFree;
    pid_t pid = 0;  // 0: it has not told it
    uint64_t claimed = 0;
    uint64_t started = 0;  // 0 where pid is
    uint64_t born_from = 0;
    uint64_t inherits = 0;
    uint64_t born_to = 0;  // the end of time unless LIVE or DEAD
    uint32_t flags = 0;
    std::string name = {};  // "" where it has not told
  };

  // What is known of an object that a child of fork may have inherited.
  struct Legacy {
    ProcessId maker;
    uint64_t made;     // the clock
    uint64_t dropped;  // the clock, when the last stake was
    bool spread;       // others than the maker, and who inherited it, have had handles

    friend bool operator==(const Legacy&, const Legacy&) = default;
  };
  // Whether `process`, one of the `family`, may have inherited it: from its maker, or from a parent
  // that had inherited it. Of a parent that is gone nobody knows.
  static bool MayHaveInherited(const std::vector<Entry>& family, const Entry& process,
                               const Legacy& legacy);

  static constexpr int kIndexBits = 16;
  static constexpr uint32_t kLeastSlots = 4096;
  static constexpr uint32_t kMostSlots = 1 << kIndexBits;

  // How many slots a table has in a domain of `reserve` bytes, slot 0 included, which is
  // nobody's; and how many bytes that takes of the reserve.
  static uint32_t SlotsFor(size_t reserve);
  static constexpr size_t BytesFor(uint32_t slots) { return slots * sizeof(Slot); }

  // `memory`: zero bytes of the domain, not yet committed.
  void Format(void* memory, uint32_t slots);

  // How a child comes to be: with all that its parent has, or with nothing of it.
  enum class Birth { kFork, kSpawn };

  // A slot for a child that the process `parent` is about to have (BORN), or for the calling
  // process itself, with no parent (LIVE at once); `heir`: it was forked without a slot, and
  // may have inherited anything. kResourceExhausted: all are taken; burying the dead helps, or
  // Grow().
  absl::StatusOr<ProcessId> ClaimForChild(ProcessId parent, Birth birth = Birth::kFork);
  absl::StatusOr<ProcessId> ClaimForSelf(bool heir);
  // Before a fork for which there is no slot: of what was made until now nobody will ever know
  // whether the child has it.
  void NoteForkWithoutSlot();
  bool MayBeUnknown(uint64_t made) const {
    return made < unknown_to_.load(std::memory_order_acquire);
  }

  // More FREE slots. kResourceExhausted: there can be none, or no memory.
  absl::Status Grow();

  // In the parent, after the fork: there is a child. And: there is none.
  void ChildForked(ProcessId id);
  void ChildNotForked(ProcessId id);
  // In a child that is spawned, before its program begins: it still has its parent's memory.
  // Async-signal-safe.
  void TellSpawned(ProcessId id);
  // In the child, first of all. False: the slot is not the child's.
  [[nodiscard]] bool BecomeLive(ProcessId id);

  // Of a process whose slot is its own until the end of the call: itself, or one that the caller
  // buries. Of another, it may be told of the next one in its slot, which does no harm.
  void SetFlag(ProcessId self, Flag flag);
  // By the process itself.
  void SetName(ProcessId self, std::string_view name);

  // From what it was proven of, LIVE or FORKED, to DEAD.
  void DeclareDead(ProcessId id, Kind was);
  // Makes the process `self` the one that buries the dead `id`. False: another does, or it is done.
  [[nodiscard]] bool BeginBurial(ProcessId id, ProcessId self);
  // The last step: the slot is FREE. Or not yet: it is left to another time.
  void EndBurial(ProcessId id);
  void PutOffBurial(ProcessId id);
  // A step of every burial, before the last: what the dead `id` was the actor of is left to
  // others.
  void ReleaseActed(ProcessId id);

  // A copy; kind kFree where the slot is not of `id`.
  Entry Find(ProcessId id) const;
  // Those that are not FREE, in order of their slots: from `after` on, 0 at first. Kind kFree
  // at the end.
  Entry Next(ProcessId after) const;
  // The process of a slot, or of a copy of one; of one process only if the slot's state is
  // the same afterwards.
  static Entry Read(uint32_t index, const Slot& slot);

  // All that are not FREE. Nothing where others were born meanwhile: one that was may be
  // missed, and its parent too, if that one died. Who is an heir of what no longer has a
  // handle is told by any one look: heirs come from heirs.
  std::optional<std::vector<Entry>> Family() const;

  // Never 0.
  uint64_t Clock() const { return clock_.load(std::memory_order_acquire); }

  // The first broken invariant.
  absl::Status Check() const;

  uint32_t slot_count() const { return static_cast<uint32_t>(slot_count_); }
  // Those that have memory.
  uint32_t committed() const {
    return static_cast<uint32_t>(committed_.load(std::memory_order_acquire));
  }

  // For who has a copy of the table's bytes: what they say, which nobody has checked.
  struct Place {
    uint64_t slots;  // their address
    uint64_t slot_count;
    uint64_t committed;
  };
  Place GetPlace() const {
    return {reinterpret_cast<uint64_t>(slots_), slot_count_,
            committed_.load(std::memory_order_acquire)};
  }

  // Bytes that have memory.
  size_t CommittedBytes() const {
    return committed_.load(std::memory_order_relaxed) * sizeof(Slot);
  }

  static constexpr uint32_t IndexOf(ProcessId id) { return id & (kMostSlots - 1); }
  static constexpr uint64_t GenerationOf(ProcessId id) { return id >> kIndexBits; }

 private:
  friend struct ProcessTableTestPeer;

  static constexpr uint32_t kSlotsInAPage = 4096 / sizeof(Slot);

  absl::StatusOr<ProcessId> Claim(Kind kind, uint32_t actor, ProcessId parent, Birth birth,
                                  uint64_t inherits);
  // The state of the slot of `id`, unless that is another's by now.
  bool Load(ProcessId id, uint64_t& state) const;
  bool Change(ProcessId id, Kind from, Kind to, uint32_t actor);
  void ForgetClaim(ProcessId id, Kind kind);

  Slot* slots_;          // constant
  uint64_t slot_count_;  // constant
  Word committed_;       // slots that have memory; grows only
  Word clock_;           // counts claims and births
  Word unknown_to_;      // the clock at the last fork without a slot
  Word hint_;            // from where on to look for one that is FREE
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_PROCESS_TABLE_H_
