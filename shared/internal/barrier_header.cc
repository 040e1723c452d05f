#include "shared/internal/barrier_header.h"

#include <cstdint>
#include <limits>
#include <optional>

namespace mp::internal {
namespace {

// Of a cause.
constexpr uint64_t kPid = (uint64_t{1} << 22) - 1;
constexpr int kCauseShift = 22;
constexpr uint64_t kCauseMask = 7;
constexpr int kRoundShift = 25;

// As it stands in a cause.
uint64_t NumberOf(uint64_t round) {
  return round / BarrierHeader::kOneRound << kRoundShift >> kRoundShift;
}

BarrierHeader::Cause CauseIn(uint64_t cause) {
  return static_cast<BarrierHeader::Cause>(cause >> kCauseShift & kCauseMask);
}

// Of a seat.
constexpr int kLaneBits = 48;
uint64_t SeatOf(uint64_t round, const Lane* lane) {
  return NumberOf(round) << kLaneBits | reinterpret_cast<uint64_t>(lane);
}
const Lane* LaneIn(uint64_t seat) {
  return reinterpret_cast<const Lane*>(seat & ((uint64_t{1} << kLaneBits) - 1));
}

// Whether the cause is that of a round before, or of none.
bool IsOfEarlier(uint64_t cause, uint64_t round) {
  const uint64_t later = (NumberOf(round) - (cause >> kRoundShift)) << kRoundShift;
  return CauseIn(cause) == BarrierHeader::Cause::kNone || static_cast<int64_t>(later) > 0;
}

}  // namespace

template <typename Next>
bool BarrierHeader::Change(uint64_t round, const Next& next) {
  uint64_t seen = Now();
  do {
    if ((seen & kRound) != round || (seen & kBroken) != 0) return false;
    // Before: nothing has changed.
    // After:  it has; the burial of who dies before the next line wakes all whose word has changed.
    // Test:   BarrierCrashTest.WhoWaitsIsWokenWhoeverDies
  } while (!count.first().compare_exchange_weak(seen, next(seen), std::memory_order_acq_rel,
                                                std::memory_order_acquire));
  if ((seen & kSleepers) != 0) FutexWake(word(), kWakeAll);
  return true;
}

// By `self`, which is the last one: kLast where they live.
BarrierHeader::Arrival BarrierHeader::LookAtOthers(uint64_t round, const Lane* self) const {
  const uint64_t others = parties() - 1;
  if (others > kSeats) return Arrival::kUnknown;
  for (uint64_t i = 0; i < others; ++i) {
    const uint64_t seat = seats[i].load(std::memory_order_acquire);
    const Lane* const lane = LaneIn(seat);
    // One that is there twice has taken the seat of another.
    if (lane == nullptr || lane == self || seat != SeatOf(round, lane)) return Arrival::kUnknown;
    for (uint64_t j = 0; j < i; ++j) {
      if (seats[j].load(std::memory_order_relaxed) == seat) return Arrival::kUnknown;
    }
    if (!lane->Held()) return Arrival::kSuspect;
  }
  return Arrival::kLast;
}

BarrierHeader::Arrival BarrierHeader::Arrive(HoldTable& holds, Place& place, bool can_act,
                                             bool trusts) {
  for (;;) {
    const uint64_t now = Now();
    place.round = now & kRound;
    if (IsBroken(now)) return Arrival::kBroken;
    if (IsResetting(now)) {
      BeginAnew(holds, now);
      continue;
    }
    if ((now & kActing) != 0) return Arrival::kLater;
    const bool is_last = (now >> kArrivedShift) + 1 == parties();
    if (is_last && !trusts) {
      const Arrival seen = LookAtOthers(place.round, place.lane);
      if (seen != Arrival::kLast) return seen;
    }
    // Before it has come: so who dies when it has, has its seat.
    // Test: PollingTest.ARoundWithADeadPartyIsBroken
    const uint64_t seat = SeatOf(place.round, place.lane);
    if (now >> kArrivedShift < kSeats) {
      seats[now >> kArrivedShift].store(seat, std::memory_order_release);
    }
    // Nobody looks at it before the hold says what it is about to do.
    place.hold.note.store(place.round | (can_act ? kCanAct : 0), std::memory_order_relaxed);
    uint64_t before = 0;
    const bool arrived = holds.Change(
        *this, place.hold, HoldTable::kTaking, now, [&](uint64_t seen) -> std::optional<uint64_t> {
          if ((seen & (kBroken | kActing)) != 0 || (seen & kRound) != place.round) {
            return std::nullopt;
          }
          before = seen;
          if ((seen >> kArrivedShift) + 1 < parties()) return seen + kOneArrived;
          if (!is_last) return std::nullopt;  // it has yet to look
          return has_action() ? (seen + kOneArrived) | kActing : After(place.round);
        });
    if (!arrived) continue;
    place.index = before >> kArrivedShift;
    if (place.index < kSeats && seats[place.index].load(std::memory_order_relaxed) != seat) {
      seats[place.index].store(seat, std::memory_order_release);
    }
    if (place.index + 1 < parties()) {
      place.hold.EndHeld();
      return Arrival::kWaits;
    }
    if (has_action()) {
      place.hold.EndHeld();
      return Arrival::kActs;
    }
    place.hold.End(/*held=*/false);
    if ((before & kSleepers) != 0) FutexWake(word(), kWakeAll);
    return Arrival::kLast;
  }
}

BarrierHeader::Outcome BarrierHeader::LookAt(uint64_t now, const Place& place) {
  const uint64_t state = place.hold.state.load(std::memory_order_acquire);
  if ((now & kRound) != place.round) {
    return (state & kWasBroken) != 0 ? Outcome::kBroken : Outcome::kComplete;
  }
  if ((now & kBroken) != 0) return Outcome::kBroken;
  return (now & kHanded) != 0 && (state & kChosen) != 0 ? Outcome::kChosen : Outcome::kPending;
}

bool BarrierHeader::Complete(uint64_t round) {
  return Change(round, [round](uint64_t) { return After(round); });
}

template <typename Which>
int BarrierHeader::Mark(const HoldTable& holds, uint64_t round, uint64_t mark, int most,
                        const Which& which) {
  int marked = 0;
  holds.VisitAll(*this, [&](Hold& hold) {
    uint64_t state;
    do {
      state = hold.state.load(std::memory_order_seq_cst);
      if (!hold.Holds(*this)) return false;
      const uint64_t note = hold.note.load(std::memory_order_acquire);
      if ((note & kRound) != round || !which(state, note)) return false;
    } while (!hold.TryMark(state, mark));
    return ++marked >= most;
  });
  return marked;
}

bool BarrierHeader::Hand(const HoldTable& holds, uint64_t round) {
  // One that is about to come, and will find that all have, cannot act. Of those who have come,
  // before the caller, each is marked as done by the next, if it has not gone on by itself.
  // Test: BarrierModelTest.OneTooManyIsNotChosenToAct
  const int chosen = Mark(holds, round, kChosen, 1, [](uint64_t state, uint64_t note) {
    return (note & kCanAct) != 0 && (state & (Hold::kHeld | Hold::kDone)) != 0;
  });
  if (chosen == 0) return false;
  // Marked first: who sees this change looks for its mark.
  Change(round, [](uint64_t seen) { return (seen | kHanded) & ~kSleepers; });
  return true;
}

// First: who sees the round broken sees why. Where it is complete in the end nobody asks. What
// broke a later one stays: one who is buried late may have been in a round that is long over.
void BarrierHeader::TellWhy(uint64_t round, Break why) {
  const uint64_t told = NumberOf(round) << kRoundShift |
                        static_cast<uint64_t>(why.cause) << kCauseShift |
                        (static_cast<uint64_t>(why.pid) & kPid);
  // Of the same round only an abort is told instead of a reset that is not done.
  const uint64_t reset = NumberOf(round) << kRoundShift | static_cast<uint64_t>(Cause::kReset)
                                                              << kCauseShift;
  auto outdoes = [&](uint64_t seen) {
    return IsOfEarlier(seen, round) || (why.cause == Cause::kAbort && (seen & ~kPid) == reset);
  };
  uint64_t seen = cause.load(std::memory_order_acquire);
  while (outdoes(seen) && !cause.compare_exchange_weak(seen, told, std::memory_order_acq_rel,
                                                       std::memory_order_acquire)) {
  }
}

bool BarrierHeader::BreakRound(uint64_t round, Break why) {
  TellWhy(round, why);
  return Change(round, [round](uint64_t) { return round | kBroken; });
}

BarrierHeader::Break BarrierHeader::WhyBroken(uint64_t round) const {
  const uint64_t seen = cause.load(std::memory_order_acquire);
  if (seen >> kRoundShift != NumberOf(round)) return {};
  return {CauseIn(seen), static_cast<pid_t>(seen & kPid)};
}

void BarrierHeader::Abort(pid_t pid) {
  // Until it is: the round that it meets may be complete meanwhile.
  for (uint64_t seen = Now(); !IsBroken(seen); seen = Now()) {
    if (IsResetting(seen)) {
      TellWhy(seen & kRound, {Cause::kAbort, pid});
      // Before: broken by a reset, of which who comes next does the rest.
      // After:  broken, until a reset that is called later.
      // Test:   BarrierModelTest.AnAbortOutlastsAResetThatIsNotDone
      count.first().compare_exchange_strong(seen, (seen & kRound) | kBroken,
                                            std::memory_order_acq_rel);
    } else {
      BreakRound(seen & kRound, {Cause::kAbort, pid});
    }
  }
}

void BarrierHeader::Reset(const HoldTable& holds, pid_t pid) {
  uint64_t seen = Now();
  if ((seen & kBroken) == 0) {
    if (seen >> kArrivedShift == 0) return;  // nobody waits
    const uint64_t round = seen & kRound;
    TellWhy(round, {Cause::kReset, pid});
    // Before: as it was.
    // After:  who waited is told, and who comes, or resets it, does the rest.
    // Test:   BarrierCrashTest.WhoWaitsIsToldOfAReset
    static_cast<void>(Change(round, [round](uint64_t) { return round | kResetting; }));
    seen = Now();
    if ((seen & kBroken) == 0) return;  // it was complete before, or another has reset it
  }
  BeginAnew(holds, seen);
}

void BarrierHeader::BeginAnew(const HoldTable& holds, uint64_t seen) {
  const uint64_t round = seen & kRound;
  static_cast<void>(Mark(holds, round, kWasBroken, std::numeric_limits<int>::max(),
                         [](uint64_t, uint64_t) { return true; }));
  // Before: broken; somebody else may do this.
  // After:  as new. Who waited in the round has its mark.
  // Test:   BarrierCrashTest.WhoWaitsIsToldOfAReset
  count.first().compare_exchange_strong(seen, After(round), std::memory_order_acq_rel);
}

}  // namespace mp::internal
