// Lanes: what the others have to know of a thread that sleeps. One lane a thread, in the domain: it
// holds the lane's robust mutex for its life, so that the kernel tells of its end; what it sleeps
// on stands beside it, so that whoever learns of a death can wake those who would not be woken any
// more: by a wake that the dead one owed, or that it was given and took along.
//
//   Lane* lane = table.OfThisThread(self);    // nullptr: none is left
//   const SleepsOn note(lane, word);          // before the sleep, until what it waited for is its
//   ...                                       //   own
//
// Who changes a word and then wakes its sleepers notes nothing, and so may do it in a signal
// handler: a burial wakes every thread whose word is not what it expects.
//
// Layout of a lane (128 bytes)
//   field    written by            meaning
//   alive    pthread               held by the thread for its life: its word tells of the end
//   process  the holder of alive,  id of the process; 0: the lane is free. Commits the claim
//            and its burial
//   notes    the holder of alive   addresses of 32-bit words on which the thread sleeps, is about
//                                  to, or was woken and has not yet acted: a stack, since who takes
//                                  its lock again after a wait sleeps within that; 0: none
//   expects  the holder of alive   what the last of them is as long as it may sleep
//   cancel   the holder of alive   address of a word that ends the sleep when it is not 0; 0: none
//   told     the holder of alive,  1: another with a note of the same word has died since this
//            who buries            thread's first one was made
//   room                           zero
//
//   L1  Where process is not 0, `alive` was taken by a thread of it, and has not been given
//       back. So when nobody holds `alive`, that thread has ended without giving the lane back.
//   L2  notes and cancel are 0 when a claim is committed: what is left of another's is cleared
//       before it, by the one who holds `alive`.
//   L3  Who gives a lane of the dead back has first told and woken all with notes of the same
//       words; and wakes all whose word has changed before the burial ends.
//   Repair after a death: the burial of the process (BuryLanesOf), or, of a thread that ended
//   alone, FreeIfGone by any process.
//
// Layout of the table (in the domain's first page)
//   field       written by             meaning
//   lanes       Format                 address of the first; constant
//   count       Format                 how many there can be; constant
//   base, size  Format                 of the domain; constant. Addresses outside are not woken
//   committed   the holder of growing  lanes that have memory, and mutexes; grows only
//   hint        all                    from where on to look for one that is free
//   growing     pthread                held by who adds a page of lanes
//   deaths      who buries             counts burials: a word to sleep on
//   arrivals    who claims             counts claims, for the sentry
//
// The table's memory is committed a page at a time as lanes are used, and stays.
//
// Threads: a lane is used by its own thread, and signal handlers in it; any number may claim.
// Fork:    a child has none of its parent's lanes; see ForgetInChild.

#ifndef MP_SHARED_INTERNAL_LANE_H_
#define MP_SHARED_INTERNAL_LANE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/process_table.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

struct Lane {
  static constexpr size_t kNotes = 4;
  static constexpr size_t kRoom = 3;

  RobustMutex alive;
  Word process;
  Word notes[kNotes];
  Word expects;
  Word cancel;
  Word told;
  Word room[kRoom];

  // Whether its thread, or one that is about to have it, lives. A hint.
  bool Held() const { return alive.HolderTid() != 0; }
  // The last of its notes: what it sleeps on, if it does.
  uint64_t SleepsOn() const {
    uint64_t last = 0;
    for (const Word& note : notes) {
      const uint64_t address = note.load(std::memory_order_acquire);
      if (address != 0) last = address;
    }
    return last;
  }
  bool HasNoteOf(uint64_t address) const;
  // By its thread, or before it is its.
  void Clear();
};
static_assert(sizeof(Lane) == 128);

class LaneTable {
 public:
  // As many as there are slots.
  static constexpr size_t BytesFor(uint32_t lanes) { return lanes * sizeof(Lane); }

  // `memory`: zero bytes of the domain, not yet committed. `base`, `size`: the domain.
  void Format(void* memory, uint32_t lanes, uint64_t base, uint64_t size);

  // The calling thread's, claimed at its first call; `self` is its process. nullptr: all are
  // taken, or there is no memory for more.
  Lane* OfThisThread(ProcessId self) {
    return this_thread_ != nullptr ? this_thread_ : Claim(self);
  }
  // What OfThisThread() gave, if it did.
  static Lane* OfThisThreadIfAny() { return this_thread_; }
  // In a child of fork, first of all: the lane is its parent's.
  static void ForgetInChild() { this_thread_ = nullptr; }

  // A step of every burial: whom the dead kept waiting is woken, its lanes are free.
  void BuryLanesOf(ProcessId dead);
  // The same for one lane of which nobody holds `alive`, whether or not the process is dead.
  // False: somebody does, or has it in hand.
  bool FreeIfGone(Lane& lane);
  // Tells and wakes all with notes of the same words.
  void WakeFor(const Lane& lane);
  // Wakes all whose word is not what they expect: whom somebody who died did not come to wake.
  void WakeOverlooked() const;

  // How many threads note that they sleep on the word.
  uint64_t CountOn(const FutexWord& word) const;

  // A step of every burial, when what the dead held is the others': for who waits for a death.
  void TellDeath();
  FutexWord& deaths() { return deaths_; }
  FutexWord& arrivals() { return arrivals_; }

  // Those that have memory.
  uint32_t committed() const {
    return static_cast<uint32_t>(committed_.load(std::memory_order_acquire));
  }
  Lane& operator[](uint32_t index) { return lanes_[index]; }

  // For who has a copy of the table's bytes: what they say, which nobody has checked.
  struct Place {
    uint64_t lanes;  // their address
    uint64_t count;
    uint64_t committed;
  };
  Place GetPlace() const {
    return {reinterpret_cast<uint64_t>(lanes_), count_, committed_.load(std::memory_order_acquire)};
  }

  // The first broken invariant.
  absl::Status Check(const ProcessTable& processes) const;

  size_t CommittedBytes() const {
    return committed_.load(std::memory_order_relaxed) * sizeof(Lane);
  }

 private:
  friend class ThreadEnd;
  friend struct LaneTestPeer;

  static constexpr uint32_t kLanesInAPage = 4096 / sizeof(Lane);

  static inline constinit thread_local Lane* this_thread_ = nullptr;

  Lane* Claim(ProcessId self);
  Lane* TryClaim(ProcessId self);
  enum class Growth { kDone, kBusy, kNoMemory };
  Growth Grow();
  static void GiveBack(Lane& lane);
  // At the end of the calling thread.
  static void EndThread();
  void WakeAllOn(uint64_t address) const;
  void TellAllOn(uint64_t address);
  // nullptr: it is no word of the domain.
  const FutexWord* WordAt(uint64_t address) const;

  Lane* lanes_;     // constant
  uint64_t count_;  // constant
  uint64_t base_;   // constant
  uint64_t size_;   // constant
  Word committed_;
  Word hint_;
  RobustMutex growing_;
  FutexWord deaths_;
  FutexWord arrivals_;
};

// While it lives: when this thread dies, whoever sleeps on the word is woken, and told. `lane` may
// be nullptr: nothing is noted.
class SleepsOn {
 public:
  SleepsOn(Lane* lane, const FutexWord& word) {
    if (lane == nullptr) return;
    const auto address = reinterpret_cast<uint64_t>(&word);
    for (Word& note : lane->notes) {
      const uint64_t other = note.load(std::memory_order_relaxed);
      if (other == address) return;
      if (other != 0) continue;
      if (&note == lane->notes) lane->told.store(0, std::memory_order_relaxed);
      // Before: it has not slept, so no wake was its.
      // After:  a wake that it gets is passed on by its death.
      // Test:   WaitCrashTest.AWokenSleeperThatDiesPassesItOn
      note.store(address, std::memory_order_release);
      note_ = &note;
      CompilerFence();
      return;
    }
  }
  ~SleepsOn() {
    CompilerFence();
    if (note_ != nullptr) note_->store(0, std::memory_order_release);
  }
  SleepsOn(const SleepsOn&) = delete;
  SleepsOn& operator=(const SleepsOn&) = delete;

 private:
  Word* note_ = nullptr;  // nullptr: it stands there already, or there is no room
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_LANE_H_
