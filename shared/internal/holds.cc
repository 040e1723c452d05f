#include "shared/internal/holds.h"

#include <sys/mman.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {

// Returns its records at the end of the thread.
class HoldCacheEnd {
 public:
  HoldCacheEnd() { HoldTable::BeginThread(); }
  ~HoldCacheEnd() { HoldTable::EndThread(); }
  static void Expect() {
    // Its destructor is registered where control passes here first.
    static thread_local HoldCacheEnd at_the_end;
    static_cast<void>(at_the_end);
  }
};

void HoldTable::Format(void* memory, uint32_t slots) {
  chunks_ = static_cast<Chunk*>(memory);
  count_ = ChunksFor(slots);
  committed_.store(0, std::memory_order_relaxed);
  hint_.store(0, std::memory_order_relaxed);
}

bool HoldTable::Grow() {
  uint64_t committed = committed_.load(std::memory_order_acquire);
  if (committed >= count_ ||
      madvise(chunks_ + committed, kChunksInAPage * sizeof(Chunk), MADV_POPULATE_WRITE) != 0) {
    return false;
  }
  // Before: the page has memory, zero, and nobody looks at it; who comes next does it again.
  // After:  its chunks are free. Where it fails, another has done it.
  // Test:   PermitsCrashTest.TheFirstRecordLeavesNothing
  committed_.compare_exchange_strong(committed, committed + kChunksInAPage,
                                     std::memory_order_seq_cst);
  return true;
}

Hold* HoldTable::TakeFromChunks(ProcessId self) {
  HoldCacheEnd::Expect();
  do {
    const uint64_t committed = committed_.load(std::memory_order_acquire);
    const uint64_t start = hint_.load(std::memory_order_relaxed);
    for (uint64_t step = 0; step < committed; ++step) {
      const uint64_t index = (start + step) % committed;
      Chunk& chunk = chunks_[index];
      uint64_t owner = chunk.owner.load(std::memory_order_acquire);
      // Before: the chunk is free.
      // After:  this process's; its burial frees it.
      // Test:   PermitsCrashTest.TheFirstRecordLeavesNothing
      if (owner == 0 &&
          chunk.owner.compare_exchange_strong(owner, self, std::memory_order_seq_cst)) {
        owner = self;
      }
      if (owner == self && TakeAllOf(chunk)) {
        hint_.store(index, std::memory_order_relaxed);
        return cache_[--cached_];
      }
    }
  } while (Grow());
  return nullptr;
}

// Those that no thread has, to this thread's cache, which is empty: one where it has no room.
bool HoldTable::TakeAllOf(Chunk& chunk) {
  for (Hold& record : chunk.records) {
    uint64_t state = record.state.load(std::memory_order_acquire);
    if ((state & (Hold::kTaken | Hold::kHeld | Hold::kStep)) != 0) continue;
    // Before: no thread of the process has it.
    // After:  this one has; with the process's burial nobody has again.
    // Test:   PermitsCrashTest.TheFirstRecordLeavesNothing
    if (record.state.compare_exchange_strong(state, state | Hold::kTaken,
                                             std::memory_order_acq_rel)) {
      cache_[cached_++] = &record;
      if (cached_ >= room_) return true;
    }
  }
  return cached_ != 0;
}

void HoldTable::Untake(Hold& record) {
  record.state.fetch_and(~Hold::kTaken, std::memory_order_release);
}

void HoldTable::EndThread() {
  room_ = 0;
  while (cached_ != 0) Untake(*cache_[--cached_]);
}

// Returns what the object's count has when it is done.
uint64_t HoldTable::Begin(Hold& hold, const ObjectHeader& object, Step step) const {
  const uint64_t before = hold.state.load(std::memory_order_relaxed);
  const uint64_t turn = (before >> Hold::kTurnShift) + 1;
  const uint64_t state = turn << Hold::kTurnShift | Hold::kTaken | (before & Hold::kHeld) | step;
  hold.object.store(reinterpret_cast<uint64_t>(&object), std::memory_order_relaxed);
  // Before: nothing is about to happen.
  // After:  if the count says so, it has happened.
  // Test:   SemaphoreCrashTest.APermitOfTheDeadComesBackOnce
  hold.state.store(state, std::memory_order_release);
  return LastOf(hold, state);
}

// Before `last`, which a count has or had, is replaced by that of `self`.
void HoldTable::MarkDone(uint64_t last, const Hold& self) const {
  const uint64_t tag = last >> kTagShift;
  if (tag == 0 || tag == TagOf(self)) return;
  Hold& hold = HoldOf(tag);
  uint64_t state = hold.state.load(std::memory_order_seq_cst);
  while ((state & Hold::kStep) != 0 && (state & Hold::kDone) == 0 && LastOf(hold, state) == last) {
    // Before: the count tells that it is done.
    // After:  the record does. Where that one has gone on by itself, nothing changes.
    // Test:   PermitsModelTest.OnePermitIsOneProcesssAndComesBackOnce
    if (hold.state.compare_exchange_strong(state, state | Hold::kDone, std::memory_order_seq_cst)) {
      return;
    }
  }
}

// Of a dead process: so that the record is not about to do anything.
void HoldTable::Settle(const CountedHeader& object, Hold& hold) const {
  for (;;) {
    // Whoever replaces the tag has marked the record before: what is not as it is here by then
    // makes the exchange fail.
    const uint64_t last = object.count.second();
    uint64_t state = hold.state.load(std::memory_order_seq_cst);
    const uint64_t step = state & Hold::kStep;
    if (step == 0) return;
    const bool done = (state & Hold::kDone) != 0 || last == LastOf(hold, state);
    const bool held = done == (step == kTaking);
    const uint64_t settled =
        (state & ~(Hold::kStep | Hold::kDone | Hold::kHeld)) | (held ? Hold::kHeld : 0);
    // Before: about to do something, which has happened or has not.
    // After:  as it is then. Who buries it again finds it so.
    // Test:   PermitsCrashTest.TheBurialOfAPermitMayBeInterrupted
    if (hold.state.compare_exchange_strong(state, settled, std::memory_order_seq_cst)) return;
  }
}

uint64_t HoldTable::CountOf(const ObjectHeader& object) const {
  uint64_t count = 0;
  VisitAll(object, [&](const Hold&) {
    ++count;
    return false;
  });
  return count;
}

absl::Status HoldTable::Check(const ProcessTable& processes) const {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  if (committed > count_) return absl::InternalError("holds: more are committed than there are");
  for (uint64_t index = 0; index < committed; ++index) {
    const Chunk& chunk = chunks_[index];
    const uint64_t owner = chunk.owner.load(std::memory_order_acquire);
    if (owner != 0 && processes.Find(owner).kind == ProcessTable::Kind::kFree &&
        chunk.owner.load(std::memory_order_acquire) == owner) {
      return absl::InternalError(
          absl::StrCat("holds: P3: chunk ", index, " is of a process that is no more"));
    }
    for (const Hold& record : chunk.records) {
      if (absl::Status status = CheckRecord(chunk, owner, record); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status HoldTable::CheckRecord(const Chunk& chunk, uint64_t owner, const Hold& record) {
  const uint64_t state = record.state.load(std::memory_order_acquire);
  const bool used = (state & (Hold::kStep | Hold::kDone | Hold::kHeld | Hold::kTaken)) != 0;
  if (used && (state & Hold::kTaken) == 0) {
    return absl::InternalError("holds: P3: a record is in use that nobody has");
  }
  const uint64_t step = state & Hold::kStep;
  if (step == Hold::kStep || (step == 0 && (state & Hold::kDone) != 0)) {
    return absl::InternalError("holds: P2: a record is done, and is about to do nothing");
  }
  // It may have been claimed, and the claimer buried, since the owner was read: then it changes.
  if (owner == 0 && used && chunk.owner.load(std::memory_order_acquire) == 0 &&
      record.state.load(std::memory_order_acquire) == state) {
    return absl::InternalError("holds: P1: a record is in use in a chunk that is free");
  }
  return absl::OkStatus();
}

}  // namespace mp::internal
