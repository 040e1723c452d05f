#include "shared/internal/process_table.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {
namespace {

using Kind = ProcessTable::Kind;

constexpr int kKindBits = 3;
constexpr int kActorBits = ProcessTable::kIndexBits;

constexpr uint64_t State(Kind kind, uint32_t actor, uint64_t generation) {
  return static_cast<uint64_t>(kind) | (uint64_t{actor} << kKindBits) |
         (generation << (kKindBits + kActorBits));
}
constexpr Kind KindOf(uint64_t state) {
  return static_cast<Kind>(state & ((uint64_t{1} << kKindBits) - 1));
}
constexpr uint32_t ActorOf(uint64_t state) {
  return static_cast<uint32_t>(state >> kKindBits) & (ProcessTable::kMostSlots - 1);
}
constexpr uint64_t Generation(uint64_t state) { return state >> (kKindBits + kActorBits); }

constexpr pid_t PidIn(uint64_t process) { return static_cast<pid_t>(process & 0xffffffff); }

constexpr ProcessId Id(uint32_t index, uint64_t state) {
  return (Generation(state) << ProcessTable::kIndexBits) | index;
}

constexpr uint64_t kEndOfTime = ~uint64_t{0};

uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint32_t ProcessTable::SlotsFor(size_t reserve) {
  // At most a 128th of the reserve, where the least there has to be does not take more.
  const size_t slots = reserve / 128 / sizeof(Slot);
  return static_cast<uint32_t>(
      std::clamp<size_t>(slots / kSlotsInAPage * kSlotsInAPage, kLeastSlots, kMostSlots));
}

void ProcessTable::Format(void* memory, uint32_t slots) {
  slots_ = static_cast<Slot*>(memory);
  slot_count_ = slots;
  committed_.store(0, std::memory_order_relaxed);
  clock_.store(1, std::memory_order_relaxed);
  unknown_to_.store(0, std::memory_order_relaxed);
  hint_.store(1, std::memory_order_relaxed);
}

absl::StatusOr<ProcessId> ProcessTable::ClaimForChild(ProcessId parent, Birth birth) {
  return Claim(Kind::kBorn, IndexOf(parent), parent, birth,
               slots_[IndexOf(parent)].inherits.load(std::memory_order_relaxed));
}

absl::StatusOr<ProcessId> ProcessTable::ClaimForSelf(bool heir) {
  // As one whose parent has died: until it is LIVE it is known by its map of the domain.
  absl::StatusOr<ProcessId> id = Claim(Kind::kForked, 0, 0, Birth::kFork, heir ? 0 : kEndOfTime);
  if (!id.ok()) return id;
  slots_[IndexOf(*id)].inherits.store(heir ? 0 : kEndOfTime, std::memory_order_relaxed);
  if (!BecomeLive(*id)) return absl::InternalError("process table: a new slot was taken away");
  return id;
}

void ProcessTable::NoteForkWithoutSlot() {
  // Before: nothing is forked; the clock counts more than it has to.
  // After:  what was made until now is not given back, though perhaps nothing is forked.
  // Test:   BurialTest.WhatAChildWithoutASlotMayHaveStays
  const uint64_t now = clock_.fetch_add(1) + 1;
  // Never back: another who forks without a slot at once may have been later, and faster.
  uint64_t before = unknown_to_.load(std::memory_order_relaxed);
  while (before < now &&
         !unknown_to_.compare_exchange_weak(before, now, std::memory_order_release)) {
  }
}

absl::StatusOr<ProcessId> ProcessTable::Claim(Kind kind, uint32_t actor, ProcessId parent,
                                              Birth birth, uint64_t inherits) {
  const uint64_t start = hint_.load(std::memory_order_relaxed);
  uint64_t committed = committed_.load(std::memory_order_acquire);
  for (uint64_t step = 0; step < committed; ++step) {
    const auto index = static_cast<uint32_t>((start + step) % committed);
    if (index == 0) continue;
    Slot& slot = slots_[index];
    uint64_t state = slot.state.load(std::memory_order_relaxed);
    if (KindOf(state) != Kind::kFree) continue;
    // Before: the slot is FREE.
    // After:  it is for a child of the actor, whose burial finds it.
    // Test:   ProcessTableCrashTest.AForkLeavesNothing
    if (slot.state.compare_exchange_strong(state, State(kind, actor, Generation(state)),
                                           std::memory_order_acq_rel)) {
      slot.parent.store(parent, std::memory_order_relaxed);
      const uint64_t now = clock_.fetch_add(1) + 1;
      const bool forked = birth == Birth::kFork;
      slot.born_from.store(forked ? now : kEndOfTime, std::memory_order_relaxed);
      slot.inherits.store(forked ? std::min(now, inherits) : kEndOfTime, std::memory_order_relaxed);
      slot.process.store(0, std::memory_order_relaxed);
      slot.claimed.store(Now(), std::memory_order_relaxed);
      hint_.store(index + 1, std::memory_order_relaxed);
      return Id(index, state);
    }
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("process table: all of ", committed - (committed != 0), " slots are taken"));
}

absl::Status ProcessTable::Grow() {
  uint64_t committed = committed_.load(std::memory_order_acquire);
  if (committed == slot_count_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("domain: ", slot_count_ - 1,
                     " processes are alive, and no more fit in a reserve of this size"));
  }
  if (madvise(slots_ + committed, kSlotsInAPage * sizeof(Slot), MADV_POPULATE_WRITE) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("domain: no memory for more processes: ", std::strerror(errno)));
  }
  hint_.store(committed, std::memory_order_relaxed);
  // Before: the page has memory and nobody looks at it; who comes next commits it again.
  // After:  its slots are FREE: they are zero.
  // Test:   ProcessTableCrashTest.AForkLeavesNothing
  committed_.compare_exchange_strong(committed, committed + kSlotsInAPage,
                                     std::memory_order_acq_rel);
  return absl::OkStatus();
}

bool ProcessTable::Load(ProcessId id, uint64_t& state) const {
  const uint32_t index = IndexOf(id);
  if (index == 0 || index >= committed_.load(std::memory_order_acquire)) return false;
  state = slots_[index].state.load(std::memory_order_acquire);
  return Generation(state) == GenerationOf(id);
}

bool ProcessTable::Change(ProcessId id, Kind from, Kind to, uint32_t actor) {
  uint64_t state;
  while (Load(id, state) && KindOf(state) == from) {
    if (slots_[IndexOf(id)].state.compare_exchange_weak(
            state, State(to, actor, Generation(state) + (to == Kind::kFree)),
            std::memory_order_acq_rel)) {
      return true;
    }
  }
  return false;
}

void ProcessTable::ChildForked(ProcessId id) {
  uint64_t state;
  // Before: a slot of this process's, whose burial does the same: nobody else knows of the fork.
  // After:  a child that there is, or was: it becomes LIVE, or nobody unknown maps the domain.
  // Test:   ProcessTableCrashTest.AForkLeavesNothing
  //
  // Unless the child was faster.
  if (Load(id, state)) Change(id, Kind::kBorn, Kind::kForked, ActorOf(state));
}

void ProcessTable::ChildNotForked(ProcessId id) {
  ForgetClaim(id, Kind::kBorn);
  // Before: a slot of this process's, whose burial takes it for that of a child, which nobody is.
  // After:  the slot is FREE.
  // Test:   ProcessTableCrashTest.AForkThatFailsLeavesNothing
  Change(id, Kind::kBorn, Kind::kFree, 0);
}

void ProcessTable::TellSpawned(ProcessId id) {
  Slot& slot = slots_[IndexOf(id)];
  slot.started.store(Now(), std::memory_order_relaxed);
  // Before: a slot of its parent's, for a child that maps the domain as long as it is like that.
  // After:  its death can be told, whatever it maps.
  // Test:   SpawnCrashTest.AStartLeavesNothing
  slot.process.fetch_or(static_cast<uint32_t>(getpid()), std::memory_order_release);
  uint64_t state;
  if (Load(id, state)) Change(id, Kind::kBorn, Kind::kForked, ActorOf(state));
}

bool ProcessTable::BecomeLive(ProcessId id) {
  uint64_t state;
  if (!Load(id, state) || (KindOf(state) != Kind::kBorn && KindOf(state) != Kind::kForked)) {
    return false;
  }
  Slot& slot = slots_[IndexOf(id)];
  // Unless it was spawned. Of flags there may be some that were meant for the one before it here.
  if (PidIn(slot.process.load(std::memory_order_relaxed)) == 0) {
    // First: who reads a pid reads this, too.
    slot.started.store(Now(), std::memory_order_relaxed);
    slot.process.fetch_or(static_cast<uint32_t>(getpid()), std::memory_order_release);
  }
  slot.born_to.store(clock_.fetch_add(1) + 1, std::memory_order_relaxed);
  slot.named.store(0, std::memory_order_relaxed);
  // Before: a child of whom only its parent knows, and its map of the domain.
  // After:  a process, whose death can be told.
  // Test:   ProcessTableCrashTest.AForkLeavesNothing
  return Change(id, Kind::kBorn, Kind::kLive, 0) || Change(id, Kind::kForked, Kind::kLive, 0);
}

void ProcessTable::SetFlag(ProcessId self, Flag flag) {
  Word& process = slots_[IndexOf(self)].process;
  const uint64_t bit = uint64_t{flag} << 32;
  if ((process.load(std::memory_order_relaxed) & bit) == 0) {
    process.fetch_or(bit, std::memory_order_relaxed);
  }
}

void ProcessTable::SetName(ProcessId self, std::string_view name) {
  Slot& slot = slots_[IndexOf(self)];
  uint64_t words[kNameWords] = {};
  std::memcpy(words, name.data(), std::min(name.size(), sizeof(words) - 1));
  for (size_t i = 0; i < kNameWords; ++i) slot.name[i].store(words[i], std::memory_order_relaxed);
  // Before: it has no name.
  // After:  it has all of it.
  // Test:   ProcessTableCrashTest.ANameIsThereOrNot
  slot.named.store(1, std::memory_order_release);
}

void ProcessTable::DeclareDead(ProcessId id, Kind was) {
  // Before: a dead process that nobody knows to be dead; who looks finds it out again.
  // After:  dead, and nobody's to bury.
  // Test:   ProcessTableCrashTest.AnUndertakerMayDieToo
  Change(id, was, Kind::kDead, 0);
}

bool ProcessTable::BeginBurial(ProcessId id, ProcessId self) {
  uint64_t state;
  if (!Load(id, state) || KindOf(state) != Kind::kDead || ActorOf(state) != 0) return false;
  // Before: dead, and nobody's to bury.
  // After:  this process's to bury; its own burial would leave it to others again.
  // Test:   ProcessTableCrashTest.AnUndertakerMayDieToo
  return slots_[IndexOf(id)].state.compare_exchange_strong(
      state, State(Kind::kDead, IndexOf(self), GenerationOf(id)), std::memory_order_acq_rel);
}

// Before a slot is FREE: so that of its next process nothing is known before it is written.
void ProcessTable::ForgetClaim(ProcessId id, Kind kind) {
  uint64_t state;
  if (Load(id, state) && KindOf(state) == kind) {
    slots_[IndexOf(id)].process.store(0, std::memory_order_relaxed);
    slots_[IndexOf(id)].claimed.store(0, std::memory_order_release);
  }
}

void ProcessTable::EndBurial(ProcessId id) {
  ForgetClaim(id, Kind::kDead);
  // Before: everything of the dead process is gone, but not its slot.
  // After:  nothing is left of it.
  // Test:   ProcessTableCrashTest.AnUndertakerMayDieToo
  Change(id, Kind::kDead, Kind::kFree, 0);
}

void ProcessTable::PutOffBurial(ProcessId id) {
  // Before: this process's to bury; its own burial does the same.
  // After:  dead, and nobody's to bury.
  // Test:   ProcessTableCrashTest.ABurialThatIsPutOffIsLeftToOthers
  Change(id, Kind::kDead, Kind::kDead, 0);
}

void ProcessTable::ReleaseActed(ProcessId id) {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  for (uint32_t index = 1; index < committed; ++index) {
    uint64_t state = slots_[index].state.load(std::memory_order_acquire);
    while (KindOf(state) != Kind::kFree && ActorOf(state) == IndexOf(id)) {
      // A child that it was about to fork, or has forked, nobody can tell any more: the
      // same as one that is forked and has not yet run. But it forks after it has written when.
      const bool born = KindOf(state) == Kind::kBorn;
      const bool none = born && slots_[index].claimed.load(std::memory_order_acquire) == 0;
      const Kind kind = none ? Kind::kFree : born ? Kind::kForked : KindOf(state);
      // Before: the dead process's to act on; the next undertaker does the same.
      // After:  nobody's, so anybody's.
      // Test:   ProcessTableCrashTest.WhatTheDeadHadBegunSurvivesTheUndertaker
      if (slots_[index].state.compare_exchange_weak(
              state, State(kind, 0, Generation(state) + (none ? 1 : 0)),
              std::memory_order_acq_rel)) {
        break;
      }
    }
  }
}

ProcessTable::Entry ProcessTable::Read(uint32_t index, const Slot& slot) {
  const uint64_t state = slot.state.load(std::memory_order_acquire);
  if (KindOf(state) == Kind::kFree) return {};
  const bool told = KindOf(state) == Kind::kLive || KindOf(state) == Kind::kDead;
  // Acquire: all of it is read before the state is looked at again.
  const uint64_t process = slot.process.load(std::memory_order_acquire);
  const pid_t pid = PidIn(process);
  Entry entry{.id = Id(index, state),
              .parent = slot.parent.load(std::memory_order_acquire),
              .kind = KindOf(state),
              .pid = pid,
              .claimed = slot.claimed.load(std::memory_order_acquire),
              .started = pid != 0 ? slot.started.load(std::memory_order_acquire) : 0,
              .born_from = slot.born_from.load(std::memory_order_acquire),
              .inherits = slot.inherits.load(std::memory_order_acquire),
              .born_to = told ? slot.born_to.load(std::memory_order_acquire) : kEndOfTime,
              .flags = static_cast<uint32_t>(process >> 32)};
  if (told && slot.named.load(std::memory_order_acquire) != 0) {
    uint64_t words[kNameWords];
    for (size_t i = 0; i < kNameWords; ++i) words[i] = slot.name[i].load(std::memory_order_acquire);
    const auto* text = reinterpret_cast<const char*>(words);
    entry.name.assign(text, strnlen(text, sizeof(words)));
  }
  return entry;
}

ProcessTable::Entry ProcessTable::Find(ProcessId id) const {
  uint64_t state;
  if (!Load(id, state) || KindOf(state) == Kind::kFree) return {};
  Entry entry = Read(IndexOf(id), slots_[IndexOf(id)]);
  // What was read is of this process if the slot is still its own.
  uint64_t now;
  if (!Load(id, now) || KindOf(now) != entry.kind || entry.id != id) return Find(id);
  return entry;
}

ProcessTable::Entry ProcessTable::Next(ProcessId after) const {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  for (uint32_t index = IndexOf(after) + 1; index < committed; ++index) {
    const uint64_t state = slots_[index].state.load(std::memory_order_acquire);
    if (KindOf(state) == Kind::kFree) continue;
    Entry entry = Find(Id(index, state));
    if (entry.kind != Kind::kFree) return entry;
  }
  return {};
}

std::optional<std::vector<ProcessTable::Entry>> ProcessTable::Family() const {
  const uint64_t before = Clock();
  std::vector<Entry> all;
  for (Entry entry = Next(0); entry.kind != Kind::kFree; entry = Next(entry.id)) {
    all.push_back(entry);
  }
  if (Clock() != before) return std::nullopt;
  return all;
}

bool ProcessTable::MayHaveInherited(const std::vector<Entry>& family, const Entry& process,
                                    const Legacy& legacy) {
  // From parent to parent; each is in the family once.
  const Entry* heir = &process;
  for (size_t steps = 0; steps <= family.size(); ++steps) {
    const bool from_maker = heir->parent == legacy.maker;
    const uint64_t from = from_maker ? heir->born_from : heir->inherits;
    if (from > legacy.dropped || legacy.made >= heir->born_to) return false;
    if (from_maker || legacy.spread) return true;
    // In order of their slots; of one slot there is one.
    const auto parent = std::lower_bound(
        family.begin(), family.end(), heir->parent,
        [](const Entry& entry, ProcessId id) { return IndexOf(entry.id) < IndexOf(id); });
    if (parent == family.end() || parent->id != heir->parent) return true;
    heir = &*parent;
  }
  return true;
}

absl::Status ProcessTable::Check() const {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  auto broken = [](uint32_t index, const char* what) {
    return absl::InternalError(absl::StrCat("process table: slot ", index, ": ", what));
  };
  if (committed > slot_count_) return broken(0, "more are committed than there are");
  for (uint32_t index = 1; index < committed; ++index) {
    const uint64_t state = slots_[index].state.load(std::memory_order_acquire);
    if (KindOf(state) > Kind::kDead) return broken(index, "T1: it is of no kind");
    const uint32_t actor = ActorOf(state);
    if (actor == 0) continue;
    if (actor >= committed) return broken(index, "T3: its actor is no slot");
    if (KindOf(state) == Kind::kFree || KindOf(state) == Kind::kLive) {
      return broken(index, "T1: an actor of nothing");
    }
    if (KindOf(slots_[actor].state.load(std::memory_order_acquire)) == Kind::kFree &&
        slots_[index].state.load(std::memory_order_acquire) == state) {
      return broken(index, "T3: its actor is gone");
    }
  }
  return absl::OkStatus();
}

}  // namespace mp::internal
