#include "shared/internal/permits.h"

#include <sys/mman.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {
namespace {

// Of a count.
constexpr int kTagShift = 44;
constexpr uint64_t kTurnInLast = (uint64_t{1} << kTagShift) - 1;

// Of a record.
constexpr uint64_t kStep = 3;
constexpr uint64_t kAcquiring = 1;
constexpr uint64_t kReleasing = 2;
constexpr uint64_t kDone = 4;
constexpr uint64_t kHeld = 8;
constexpr uint64_t kTaken = 16;
constexpr int kTurn = 5;
constexpr uint64_t kTurnInState = ~((uint64_t{1} << kTurn) - 1);

// One more: sleepers are woken by who adds it, which they say anew if there are more of them.
void WakeSleepers(PermitsHeader& object, uint64_t seen, uint64_t count) {
  if ((seen & PermitsHeader::kSleepers) == 0) return;
  FutexWake(object.word(), static_cast<int>(count));
}

// What is left after one is taken.
uint64_t AfterAcquire(uint64_t seen, bool slept) {
  return (seen - 1) | (slept ? PermitsHeader::kSleepers : 0);
}

// Of several that were woken, or of one that was woken for several permits: the next one is.
void PassOn(PermitsHeader& object, uint64_t left, bool slept) {
  if (slept && (left & PermitsHeader::kValue) != 0) FutexWake(object.word(), 1);
}

}  // namespace

bool PermitsHeader::TryAcquire(bool slept) {
  uint64_t seen = permits().load(std::memory_order_relaxed);
  uint64_t left;
  do {
    if ((seen & kValue) == 0) return false;
    left = AfterAcquire(seen, slept);
    // Before: one more is left.
    // After:  it is taken, by nobody who is known.
    // Test:   SemaphoreCrashTest.AcquireAndRelease
  } while (!permits().compare_exchange_weak(seen, left, std::memory_order_acq_rel,
                                            std::memory_order_relaxed));
  PassOn(*this, left, slept);
  return true;
}

bool PermitsHeader::TryRelease(uint64_t released) {
  const uint64_t limit = most();
  uint64_t seen = permits().load(std::memory_order_relaxed);
  do {
    if ((seen & kValue) + released > limit) return false;
    // Before: they are taken.
    // After:  they are left; the burial of who dies before it has woken the sleepers does so.
    // Test:   SemaphoreCrashTest.WhoSleepsIsWokenWhoeverDies
  } while (!permits().compare_exchange_weak(seen, (seen & ~kSleepers) + released,
                                            std::memory_order_acq_rel, std::memory_order_relaxed));
  WakeSleepers(*this, seen, released);
  return true;
}

// Returns its records at the end of the thread.
class PermitCacheEnd {
 public:
  PermitCacheEnd() { PermitTable::BeginThread(); }
  ~PermitCacheEnd() { PermitTable::EndThread(); }
  static void Expect() {
    // Its destructor is registered where control passes here first.
    static thread_local PermitCacheEnd at_the_end;
    static_cast<void>(at_the_end);
  }
};

uint64_t PermitsHeader::most() const {
  return type() == ObjectType::kBoundedSemaphore ? initial.load(std::memory_order_relaxed)
                                                 : uint64_t{kMostValue};
}

void PermitTable::Format(void* memory, uint32_t slots) {
  chunks_ = static_cast<Chunk*>(memory);
  count_ = ChunksFor(slots);
  committed_.store(0, std::memory_order_relaxed);
  hint_.store(0, std::memory_order_relaxed);
}

bool PermitTable::Grow() {
  uint64_t committed = committed_.load(std::memory_order_acquire);
  if (committed >= count_ ||
      madvise(chunks_ + committed, kChunksInAPage * sizeof(Chunk), MADV_POPULATE_WRITE) != 0) {
    return false;
  }
  // Before: the page has memory, zero, and nobody looks at it; who comes next does it again.
  // After:  its chunks are free. Where it fails, another has done it.
  // Test:   PermitsCrashTest.TheFirstRecordLeavesNothing
  committed_.compare_exchange_strong(committed, committed + kChunksInAPage,
                                     std::memory_order_acq_rel);
  return true;
}

PermitRecord* PermitTable::TakeFromChunks(ProcessId self) {
  PermitCacheEnd::Expect();
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
          chunk.owner.compare_exchange_strong(owner, self, std::memory_order_acq_rel)) {
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
bool PermitTable::TakeAllOf(Chunk& chunk) {
  for (PermitRecord& record : chunk.records) {
    uint64_t state = record.state.load(std::memory_order_acquire);
    if ((state & (kTaken | kHeld | kStep)) != 0) continue;
    // Before: no thread of the process has it.
    // After:  this one has; with the process's burial nobody has again.
    // Test:   PermitsCrashTest.TheFirstRecordLeavesNothing
    if (record.state.compare_exchange_strong(state, state | kTaken, std::memory_order_acq_rel)) {
      cache_[cached_++] = &record;
      if (cached_ >= room_) return true;
    }
  }
  return cached_ != 0;
}

void PermitTable::Untake(PermitRecord& record) {
  record.state.fetch_and(~kTaken, std::memory_order_release);
}

void PermitTable::EndThread() {
  room_ = 0;
  while (cached_ != 0) Untake(*cache_[--cached_]);
}

uint64_t PermitTable::LastOf(const PermitRecord& record, uint64_t state) const {
  return TagOf(record) << kTagShift | (state >> kTurn & kTurnInLast);
}

// Returns the state that the record has now.
uint64_t PermitTable::Begin(PermitRecord& record, const PermitsHeader& object, uint64_t step) {
  const uint64_t before = record.state.load(std::memory_order_relaxed);
  const uint64_t turn = (before >> kTurn) + 1;
  const uint64_t state = turn << kTurn | kTaken | (before & kHeld) | step;
  record.object.store(reinterpret_cast<uint64_t>(&object), std::memory_order_relaxed);
  // Before: nothing is about to happen.
  // After:  if the count says so, it has happened.
  // Test:   SemaphoreCrashTest.APermitOfTheDeadComesBackOnce
  record.state.store(state, std::memory_order_release);
  return state;
}

// Before `last`, which a count has or had, is replaced by that of `self`.
void PermitTable::MarkDone(uint64_t last, const PermitRecord& self) const {
  const uint64_t tag = last >> kTagShift;
  if (tag == 0 || tag == TagOf(self)) return;
  PermitRecord& record = RecordOf(tag);
  uint64_t state = record.state.load(std::memory_order_seq_cst);
  if ((state & kStep) == 0 || (state & kDone) != 0 || LastOf(record, state) != last) return;
  // Before: the count tells that it is done.
  // After:  the record does. Where that one has gone on by itself, nothing changes.
  // Test:   PermitsModelTest.OnePermitIsOneProcesssAndComesBackOnce
  record.state.compare_exchange_strong(state, state | kDone, std::memory_order_seq_cst);
}

bool PermitTable::TryAcquire(PermitsHeader& object, PermitRecord& record, bool slept) {
  TwoWords seen = {object.permits().load(std::memory_order_relaxed), 0};
  if ((seen.first & PermitsHeader::kValue) == 0) return false;
  const uint64_t state = Begin(record, object, kAcquiring);
  const uint64_t turn = state & kTurnInState;
  const uint64_t last = LastOf(record, state);
  seen.second = object.count.second();
  for (;;) {
    MarkDone(seen.second, record);
    const uint64_t left = AfterAcquire(seen.first, slept);
    // Before: it has no permit.
    // After:  it has one, which its burial gives back.
    // Test:   SemaphoreCrashTest.APermitOfTheDeadComesBackOnce
    if (object.count.Exchange(seen, {left, last})) {
      record.state.store(turn | kTaken | kHeld, std::memory_order_release);
      PassOn(object, left, slept);
      return true;
    }
    if ((seen.first & PermitsHeader::kValue) == 0) {
      record.state.store(turn | kTaken, std::memory_order_release);
      return false;
    }
  }
}

bool PermitTable::Release(PermitsHeader& object, PermitRecord& record) {
  const uint64_t state = Begin(record, object, kReleasing);
  const uint64_t last = LastOf(record, state);
  TwoWords seen = {object.permits().load(std::memory_order_relaxed), object.count.second()};
  const uint64_t most = object.most();
  uint64_t added;
  do {
    MarkDone(seen.second, record);
    added = (seen.first & PermitsHeader::kValue) < most ? 1 : 0;
    // Before: it has the permit.
    // After:  it has none; the burial of who dies before it has woken a sleeper does so.
    // Test:   SemaphoreCrashTest.APermitOfTheDeadComesBackOnce
  } while (!object.count.Exchange(seen, {(seen.first & ~PermitsHeader::kSleepers) + added, last}));
  record.state.store((state & kTurnInState) | kTaken, std::memory_order_release);
  WakeSleepers(object, seen.first, 1);
  return added != 0;
}

// Of a dead process: so that the record is not about to do anything.
void PermitTable::Settle(PermitRecord& record) {
  auto& object = *reinterpret_cast<PermitsHeader*>(record.object.load(std::memory_order_relaxed));
  for (;;) {
    // Whoever replaces the tag has marked the record before: what is not as it is here by then
    // makes the exchange fail.
    const uint64_t last = object.count.second();
    uint64_t state = record.state.load(std::memory_order_seq_cst);
    const uint64_t step = state & kStep;
    if (step == 0) return;
    const bool done = (state & kDone) != 0 || last == LastOf(record, state);
    const bool held = done == (step == kAcquiring);
    const uint64_t settled = (state & ~(kStep | kDone | kHeld)) | (held ? kHeld : 0);
    // Before: about to do something, which has happened or has not.
    // After:  as it is then. Who buries it again finds it so.
    // Test:   PermitsCrashTest.TheBurialOfAPermitMayBeInterrupted
    if (record.state.compare_exchange_strong(state, settled, std::memory_order_seq_cst)) return;
  }
}

void PermitTable::Bury(ProcessId dead) {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  for (uint64_t index = 0; index < committed; ++index) {
    Chunk& chunk = chunks_[index];
    if (chunk.owner.load(std::memory_order_acquire) != dead) continue;
    for (PermitRecord& record : chunk.records) {
      auto* object =
          reinterpret_cast<PermitsHeader*>(record.object.load(std::memory_order_relaxed));
      // One that a thread had, and never used, has none.
      if (object != nullptr && HasPermits(object->type())) {
        Settle(record);
        if ((record.state.load(std::memory_order_acquire) & kHeld) != 0) Release(*object, record);
        // Whom the dead one, or one that buried it, did not come to wake.
        FutexWake(object->word(), kWakeAll);
      }
      const uint64_t state = record.state.load(std::memory_order_relaxed);
      record.object.store(0, std::memory_order_relaxed);
      record.state.store(state & ~(kStep | kDone | kHeld | kTaken), std::memory_order_release);
    }
    // Before: the dead one's; who buries it again finds nothing held.
    // After:  free.
    // Test:   PermitsCrashTest.TheBurialOfAPermitMayBeInterrupted
    chunk.owner.store(0, std::memory_order_release);
  }
}

uint64_t PermitTable::CountHeld(const PermitsHeader& object) const {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  uint64_t held = 0;
  for (uint64_t index = 0; index < committed; ++index) {
    if (chunks_[index].owner.load(std::memory_order_acquire) == 0) continue;
    for (const PermitRecord& record : chunks_[index].records) {
      held +=
          record.object.load(std::memory_order_relaxed) == reinterpret_cast<uint64_t>(&object) &&
          (record.state.load(std::memory_order_relaxed) & (kHeld | kStep)) != 0;
    }
  }
  return held;
}

absl::Status PermitTable::Check(const ProcessTable& processes) const {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  if (committed > count_) return absl::InternalError("permits: more are committed than there are");
  for (uint64_t index = 0; index < committed; ++index) {
    const Chunk& chunk = chunks_[index];
    const uint64_t owner = chunk.owner.load(std::memory_order_acquire);
    if (owner != 0 && processes.Find(owner).kind == ProcessTable::Kind::kFree &&
        chunk.owner.load(std::memory_order_acquire) == owner) {
      return absl::InternalError(
          absl::StrCat("permits: P3: chunk ", index, " is of a process that is no more"));
    }
    for (const PermitRecord& record : chunk.records) {
      if (absl::Status status = CheckRecord(chunk, owner, record); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status PermitTable::CheckRecord(const Chunk& chunk, uint64_t owner,
                                      const PermitRecord& record) {
  const uint64_t state = record.state.load(std::memory_order_acquire);
  const bool used = (state & (kStep | kDone | kHeld | kTaken)) != 0;
  if (used && (state & kTaken) == 0) {
    return absl::InternalError("permits: P3: a record is in use that nobody has");
  }
  const uint64_t step = state & kStep;
  if (step == kStep || (step == 0 && (state & kDone) != 0)) {
    return absl::InternalError("permits: P2: a record is done, and is about to do nothing");
  }
  // It may have been claimed, and the claimer buried, since the owner was read: then it changes.
  if (owner == 0 && used && chunk.owner.load(std::memory_order_acquire) == 0 &&
      record.state.load(std::memory_order_acquire) == state) {
    return absl::InternalError("permits: P1: a record is in use in a chunk that is free");
  }
  return absl::OkStatus();
}

}  // namespace mp::internal
