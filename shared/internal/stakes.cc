#include "shared/internal/stakes.h"

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"

namespace mp::internal {
namespace {

ObjectHeader* ObjectIn(uint64_t word) {
  return reinterpret_cast<ObjectHeader*>(word & Stakes::kAddress);
}

uint64_t WordOf(const ObjectHeader* object) { return reinterpret_cast<uint64_t>(object); }

constexpr ProcessId kNobody = 0;

// What stays while an object lives.
constexpr uint64_t kMarks = Stakes::kHolds | Stakes::kSpread | Stakes::kPlaced;

}  // namespace

uint64_t Stakes::WordFor(const Word& place, const ObjectHeader& object) {
  return WordOf(&object) | TagOf(reinterpret_cast<uint64_t>(&place));
}

Stakes::Look Stakes::LookAt(ObjectHeader& object) {
  return {.object = &object,
          .state = object.state.load(std::memory_order_acquire),
          .stakes = object.stakes.load(std::memory_order_acquire),
          .keeper = object.keeper.load(std::memory_order_acquire)};
}

Stakes::Look Stakes::Set(Journal::Section& section, ObjectHeader& object, uint64_t stakes,
                         ProcessId keeper, const ProcessTable& processes) {
  if ((stakes & (kMaker | kCount)) != 0) {
    section.Set(object.stakes, stakes);
    return {};
  }
  // Before the commit: for a burial to look for, if nobody keeps the object.
  if (keeper == kNobody) unkept_.store(1, std::memory_order_seq_cst);
  // Now: who was born after this cannot have what others dropped before.
  stakes = kLimbo | (stakes & kMarks) | (processes.Clock() & kClock);
  section.Set(object.keeper, keeper);
  section.Set(object.stakes, stakes);
  return {.object = &object,
          .state = object.state.load(std::memory_order_acquire),
          .stakes = stakes,
          .keeper = keeper};
}

Stakes::Look Stakes::Settle(Journal::Section& section, ProcessId keeper,
                            const ProcessTable& processes) {
  const auto& place = *reinterpret_cast<const Word*>(section.Get(place_));
  ObjectHeader* from = ObjectIn(section.Get(from_));
  ObjectHeader* to = ObjectIn(section.Get(to_));
  const uint64_t word = place.load(std::memory_order_acquire);
  const bool changed = to != nullptr ? word == WordFor(place, *to) : word != WordFor(place, *from);
  ObjectHeader* loser = changed ? from : to;
  Look ended;
  if (loser != nullptr) {
    ended = Set(section, *loser, section.Get(loser->stakes) - 1, keeper, processes);
  }
  section.Set(place_, 0);
  // Before: both objects have a stake, and place_ says where the word is that has one of them.
  // After:  the one that it refers to has it.
  // Test:   StakesCrashTest.AHandleInTheDomainIsCountedOnce
  section.Commit();
  return ended;
}

void Stakes::SettleTheDeads(Journal::Section& section, const ProcessTable& processes) {
  if (section.Get(place_) != 0) Settle(section, kNobody, processes);
}

bool Stakes::Change(const timespec* deadline, Word& place, ObjectHeader* from, ObjectHeader* to,
                    uint64_t mark, ObjectHeader* holder, ProcessId keeper,
                    const ProcessTable& processes, Look& ended) {
  Journal::Section section(journal_, deadline);
  if (!section.held()) return false;
  SettleTheDeads(section, processes);
  if (to != nullptr) {
    const uint64_t stakes = section.Get(to->stakes);
    const uint64_t count = (stakes & kLimbo) != 0 ? stakes & kMarks : stakes;
    section.Set(to->stakes, (count | mark | kPlaced) + 1);
  }
  if (holder != nullptr) section.Set(holder->stakes, section.Get(holder->stakes) | kHolds);
  section.Set(place_, reinterpret_cast<uint64_t>(&place));
  section.Set(from_, WordOf(from));
  section.Set(to_, WordOf(to));
  // Before: the word is what it was, and so are the stakes.
  // After:  both objects have a stake: the next holder takes one away.
  // Test:   StakesCrashTest.AHandleInTheDomainIsCountedOnce
  section.Commit();
  // Before: the word refers to `from`, after: to `to`; see above.
  place.store(to != nullptr ? WordFor(place, *to) : 0, std::memory_order_seq_cst);
  ended = Settle(section, keeper, processes);
  return true;
}

void Stakes::Place(Word& place, ObjectHeader& object, ObjectHeader* holder,
                   const ProcessTable& processes) {
  Look ended;
  (void)Change(nullptr, place, nullptr, &object, 0, holder, kNobody, processes, ended);
}

void Stakes::PlaceOwn(Word& place, ObjectHeader& object, const ProcessTable& processes) {
  Look ended;
  (void)Change(nullptr, place, nullptr, &object, kSpread, nullptr, kNobody, processes, ended);
}

Stakes::Look Stakes::Replace(Word& place, ObjectHeader& to, ObjectHeader* holder, ProcessId self,
                             const ProcessTable& processes) {
  Look ended;
  ObjectHeader* from = ObjectAt(place);
  if (from == &to) return {};
  (void)Change(nullptr, place, from, &to, 0, holder, self, processes, ended);
  return ended;
}

Stakes::Look Stakes::Drop(Word& place, ProcessId self, const ProcessTable& processes) {
  Look ended;
  ObjectHeader* from = ObjectAt(place);
  if (from == nullptr) return ended;
  (void)Change(nullptr, place, from, nullptr, 0, nullptr, self, processes, ended);
  return ended;
}

bool Stakes::TryDrop(Word& place, const timespec& deadline, const ProcessTable& processes,
                     std::vector<Look>& ended) {
  ObjectHeader* from = ObjectAt(place);
  if (from == nullptr) return true;
  Look last;
  if (!Change(&deadline, place, from, nullptr, 0, nullptr, kNobody, processes, last)) return false;
  if (last.object != nullptr) ended.push_back(last);
  return true;
}

void Stakes::NoteHolds(ObjectHeader& holder, const ProcessTable& processes) {
  if ((holder.stakes.load(std::memory_order_acquire) & kHolds) != 0) return;
  Journal::Section section(journal_);
  SettleTheDeads(section, processes);
  section.Set(holder.stakes, section.Get(holder.stakes) | kHolds);
  // Before: the handles are looked for as the process's that has the block.
  // After:  as the object's, too.
  section.Commit();
}

void Stakes::TakeMaker(ObjectHeader& object, const ProcessTable& processes) {
  Journal::Section section(journal_);
  SettleTheDeads(section, processes);
  section.Set(object.stakes, section.Get(object.stakes) | kMaker);
  // Before: another stake keeps the object.
  // After:  its maker does, too, until that drops it or is buried.
  // Test:   StakesCrashTest.AMakersStakeEndsWithIt
  section.Commit();
}

Stakes::Look Stakes::DropMaker(ObjectHeader& object, uint64_t state, ProcessId self,
                               const ProcessTable& processes) {
  Journal::Section section(journal_);
  SettleTheDeads(section, processes);
  // Another thread may have got a handle meanwhile, and says so in here; or have dropped it again,
  // and the cell be a new object's.
  const uint64_t stakes = section.Get(object.stakes);
  if (object.state.load(std::memory_order_acquire) != state || (stakes & kMaker) == 0 ||
      object.handles.load(std::memory_order_acquire) != 0) {
    return {};
  }
  const Look ended = Set(section, object, stakes & ~kMaker, self, processes);
  // Before: the maker's burial drops its stake.
  // After:  the maker has none; without any the object is in limbo, and this process's to end.
  // Test:   StakesCrashTest.AMakersStakeEndsWithIt
  section.Commit();
  return ended;
}

bool Stakes::TryDropMaker(ObjectHeader& object, ProcessId dead, const timespec& deadline,
                          const ProcessTable& processes, std::vector<Look>& ended) {
  Journal::Section section(journal_, &deadline);
  if (!section.held()) return false;
  SettleTheDeads(section, processes);
  // In this order: a cell that is made anew has its maker before the stake.
  const uint64_t stakes = section.Get(object.stakes);
  if ((stakes & kMaker) == 0 || object.maker.load(std::memory_order_acquire) != dead) return true;
  const Look last = Set(section, object, stakes & ~kMaker, kNobody, processes);
  // Before, after: as in DropMaker(), but that a burial ends it.
  section.Commit();
  if (last.object != nullptr) ended.push_back(last);
  return true;
}

bool Stakes::TakeUntil(const timespec* deadline, const Look& look, const ProcessTable& processes,
                       absl::FunctionRef<bool()> take) {
  Journal::Section section(journal_, deadline);
  if (!section.held()) return false;
  SettleTheDeads(section, processes);
  const ObjectHeader& object = *look.object;
  return object.state.load(std::memory_order_acquire) == look.state &&
         section.Get(object.stakes) == look.stakes && section.Get(object.keeper) == look.keeper &&
         take();
}

bool Stakes::TrySettle(const timespec& deadline, const ProcessTable& processes) {
  Journal::Section section(journal_, &deadline);
  if (!section.held()) return false;
  SettleTheDeads(section, processes);
  return true;
}

void Stakes::HoldStill(const ProcessTable& processes, absl::FunctionRef<void()> look) {
  Journal::Section section(journal_);
  SettleTheDeads(section, processes);
  look();
}

}  // namespace mp::internal
