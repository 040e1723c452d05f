// BarrierHeader: who has come to a barrier, round by round. Each who has, and waits, has a hold
// (holds.h): when its process dies, the round is broken.
//
// Layout: CountedHeader (its initial value is how many parties there are), of its count
//   first    sleepers (bit 0): somebody may sleep on the low half
//            broken (1): until a reset; with handed: until the reset that broke it is done, which
//                        who comes next does
//            acting (2): all have come, and the action is to be run before they go
//            handed (3): by another than the last one to come
//            round (4-47): which one it is
//            arrived (48-63): how many have come in it
//   then
//   seats    who comes        the lane of the one with that index (bits 0-47), and the low bits of
//                             the number of its round (48-63); who comes last looks by them whether
//                             the others live. A hint that commits nothing: two that come at
//                             once may have one seat, till the slower one has another, and who
//                             comes last then looks for the dead itself
//   timeout  the maker        of who names none, in nanoseconds; kForEver
//   action   the maker        1: one of those who come runs an action
//   cause    who breaks it    what broke the round: pid (bits 0-21), Cause (22-24), and which round
//                             (25-63, the low bits of its number); a hint that commits nothing
//
// Of a hold the note is the round (bits 4-47, as above) and kCanAct (0). Its marks: kWasBroken: its
// round was broken, and there was a reset since; kChosen: it is to run the action.
//
//   B1  A round is over when it is complete, or broken. Its number changes when it is complete, or
//       by the reset of a broken one, before which each hold in it has its mark.
//   B2  arrived is less than there are parties; acting, it is as many; broken, 0.
//   Repair after a death: the burial of one with a hold in the round breaks it. Whom the dead one
//   did not come to wake is woken by its burial.

#ifndef MP_SHARED_INTERNAL_BARRIER_HEADER_H_
#define MP_SHARED_INTERNAL_BARRIER_HEADER_H_

#include <sys/types.h>

#include <cstdint>
#include <limits>

#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/holds.h"
#include "shared/internal/lane.h"

namespace mp::internal {

struct BarrierHeader : CountedHeader {
  static constexpr uint64_t kSleepers = 1;
  static constexpr uint64_t kBroken = 2;
  static constexpr uint64_t kActing = 4;
  static constexpr uint64_t kHanded = 8;
  static constexpr uint64_t kResetting = kBroken | kHanded;
  static constexpr uint64_t kOneRound = 16;
  static constexpr uint64_t kRound = (uint64_t{1} << 48) - kOneRound;
  static constexpr int kArrivedShift = 48;
  static constexpr uint64_t kOneArrived = uint64_t{1} << kArrivedShift;
  static constexpr int kMostParties = 0xffff;

  static constexpr uint64_t kForEver = std::numeric_limits<uint64_t>::max();
  // Of a hold.
  static constexpr uint64_t kCanAct = 1;
  static constexpr uint64_t kWasBroken = Hold::kMark;
  static constexpr uint64_t kChosen = Hold::kOtherMark;

  enum class Cause : uint64_t { kNone, kDeath, kTimeout, kAbort, kReset, kAction, kNoAction };
  struct Break {
    Cause cause = Cause::kNone;
    pid_t pid = 0;
  };

  static constexpr uint64_t kSeats = 15;

  Word seats[kSeats];  // behind the count, in its line where that has room
  Word timeout;
  Word action;
  Word cause;

  // By the maker.
  void Init(uint64_t parties, uint64_t default_timeout, bool has_action) {
    InitCount(parties, 0);
    timeout.store(default_timeout, std::memory_order_relaxed);
    action.store(has_action ? 1 : 0, std::memory_order_relaxed);
    cause.store(0, std::memory_order_relaxed);
    for (Word& seat : seats) seat.store(0, std::memory_order_relaxed);
  }

  FutexWord& word() { return LowHalf(count.first()); }
  uint64_t Now() const { return count.first().load(std::memory_order_acquire); }
  uint64_t parties() const { return initial.load(std::memory_order_relaxed); }
  bool has_action() const { return action.load(std::memory_order_relaxed) != 0; }
  // Whether it is so until somebody calls Reset().
  static bool IsBroken(uint64_t now) { return (now & kResetting) == kBroken; }
  static bool IsResetting(uint64_t now) { return (now & kResetting) == kResetting; }
  // How many wait, as who counts them at `now`; 0 once all have come.
  static uint64_t Waiting(uint64_t now) {
    return (now & (kBroken | kActing)) != 0 ? 0 : now >> kArrivedShift;
  }

  enum class Arrival {
    kWaits,    // others are to come
    kLast,     // the round is complete
    kActs,     // all have come; they go when the action has been run
    kBroken,   // not counted: it is broken
    kLater,    // not counted: a round is about to be complete
    kUnknown,  // not counted: all others have come; whether they live is not known
    kSuspect,  // not counted: the same, and the thread of one has ended
  };
  // `hold` is its place, in `round`, as the one with `index`; `lane`: the thread's, nullptr: none.
  struct Place {
    Hold& hold;
    const Lane* lane = nullptr;
    uint64_t round = 0;
    uint64_t index = 0;
  };
  // `trusts`: that who has come lives.
  Arrival Arrive(HoldTable& holds, Place& place, bool can_act, bool trusts);

  enum class Outcome { kPending, kComplete, kBroken, kChosen };
  // Of who waits.
  Outcome Look(const Place& place) const { return LookAt(Now(), place); }
  static Outcome LookAt(uint64_t now, const Place& place);

  // When all have come. That the action has been run; false: it is broken.
  bool Complete(uint64_t round);
  // That another is to run it; false: nobody can.
  bool Hand(const HoldTable& holds, uint64_t round);

  // False: it was complete, or broken already.
  bool BreakRound(uint64_t round, Break why);
  // What broke the round.
  Break WhyBroken(uint64_t round) const;
  // Broken, until a reset that is called later.
  void Abort(pid_t pid);
  // Breaks it for those who wait, and begins anew.
  void Reset(const HoldTable& holds, pid_t pid);

  // By the burial of the process `pid`, of one that is held.
  void Bury(const Hold& hold, pid_t pid) {
    BreakRound(hold.note.load(std::memory_order_relaxed) & kRound, {Cause::kDeath, pid});
  }

 private:
  Arrival LookAtOthers(uint64_t round, const Lane* self) const;
  static uint64_t After(uint64_t round) { return (round + kOneRound) & kRound; }
  // Marks those in the round of which `which(state, note)` is true, `most` of them at most. Returns
  // how many.
  template <typename Which>
  int Mark(const HoldTable& holds, uint64_t round, uint64_t mark, int most, const Which& which);
  // To what `next` makes of what is there, while the round is not over, and wakes who sleeps.
  // False: it is.
  template <typename Next>
  bool Change(uint64_t round, const Next& next);
  // Before the round is broken.
  void TellWhy(uint64_t round, Break why);
  // Of a round that is broken, as it was `seen`: begins anew, unless it has changed.
  void BeginAnew(const HoldTable& holds, uint64_t seen);
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_BARRIER_HEADER_H_
