// Lanes: what the others have to know of a thread that sleeps, or that owes others a wake.
// One lane a thread, in the domain: it holds the lane's robust mutex for its life, so that
// the kernel tells of its end; what it sleeps on stands beside it, so that whoever learns of
// that end can pass on the wake that it took with it.
//
//   Lane* lane = table.OfThisThread(self);    // nullptr: none is left
//   {
//     const SleepsOn note(lane, word);        // before the sleep, until what it waited for
//     ...                                     //   is its own
//   }
//   {
//     const OwesWake debt(lane, word);        // before the change of the word, until others
//     ...                                     //   are woken
//   }
//
// Layout of a lane (128 bytes)
//   field      written by            meaning
//   alive      pthread               held by the thread for its life: its word tells of the end
//   process    the holder of alive,  id of the process; 0: the lane is free. Commits the claim
//              and its burial
//   sleeps_on  the holder of alive   address of the 32-bit word on which the thread sleeps, is
//                                    about to, or was woken and has not yet acted; 0: none
//   owes       the holder of alive   addresses of words whose sleepers it is about to wake: a
//                                    stack, since a signal handler may interrupt; 0: none
//   told       the holder of alive, 1: another that slept on the same word has died since this
//              who buries            thread began to
//   room                             zero
//
//   L1  Where process is not 0, `alive` was taken by a thread of it, and has not been given
//       back. So when nobody holds `alive`, that thread has ended without giving the lane back.
//   L2  sleeps_on and owes are 0 when a claim is committed: what is left of another's is
//       cleared before it, by the one who holds `alive`.
//   L3  Who gives a lane of the dead back has first woken all on what it says.
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
  static constexpr size_t kDebts = 4;
  static constexpr size_t kRoom = 4;

  RobustMutex alive;
  Word process;
  Word sleeps_on;
  Word owes[kDebts];
  Word told;
  Word room[kRoom];

  // Whether its thread, or one that is about to have it, lives. A hint.
  bool Held() const { return alive.HolderTid() != 0; }
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
  // Wakes all on what the lane says, and tells them.
  void WakeFor(const Lane& lane);

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
  bool Grow();
  static void GiveBack(Lane& lane);
  // At the end of the calling thread.
  static void EndThread();
  void WakeAllOn(uint64_t address) const;
  void TellSleepersOn(uint64_t address);

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

// While it lives: when this thread dies, whoever sleeps on the word is woken. Of notes on the
// same word the outermost counts; of another word, in a signal handler, both. `lane` may be
// nullptr: nothing is noted.
class OwesWake {
 public:
  OwesWake(Lane* lane, const FutexWord& word) : OwesWake(lane, reinterpret_cast<uint64_t>(&word)) {}
  OwesWake(Lane* lane, uint64_t address) {
    if (lane == nullptr || address == 0) return;
    for (Word& debt : lane->owes) {
      if (debt.load(std::memory_order_relaxed) != 0) continue;
      // Before: nobody is owed anything, and nothing has changed.
      // After:  a death wakes who sleeps on the word.
      // Test:   WaitCrashTest.WhoIsOwedAWakeGetsIt
      debt.store(address, std::memory_order_release);
      debt_ = &debt;
      CompilerFence();
      return;
    }
  }
  ~OwesWake() {
    CompilerFence();
    if (debt_ != nullptr) debt_->store(0, std::memory_order_release);
  }
  OwesWake(const OwesWake&) = delete;
  OwesWake& operator=(const OwesWake&) = delete;

 private:
  Word* debt_ = nullptr;  // nullptr: none, or no room: its sleepers look up by themselves
};

class SleepsOn {
 public:
  SleepsOn(Lane* lane, const FutexWord& word)
      : lane_(lane),
        address_(reinterpret_cast<uint64_t>(&word)),
        before_(lane == nullptr ? 0 : lane->sleeps_on.load(std::memory_order_relaxed)),
        interrupted_(before_ == address_ ? nullptr : lane, before_) {
    if (lane_ == nullptr || before_ == address_) return;
    lane_->told.store(0, std::memory_order_relaxed);
    // Before: it has not slept, so no wake was its.
    // After:  a wake that it gets is passed on by its death.
    // Test:   WaitCrashTest.AWokenSleeperThatDiesPassesItOn
    lane_->sleeps_on.store(address_, std::memory_order_release);
    CompilerFence();
  }
  ~SleepsOn() {
    CompilerFence();
    if (lane_ != nullptr) lane_->sleeps_on.store(before_, std::memory_order_release);
  }
  SleepsOn(const SleepsOn&) = delete;
  SleepsOn& operator=(const SleepsOn&) = delete;

 private:
  Lane* const lane_;
  const uint64_t address_;
  const uint64_t before_;       // what a signal handler interrupted
  const OwesWake interrupted_;  // which stays known
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_LANE_H_
