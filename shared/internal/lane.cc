#include "shared/internal/lane.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {

constexpr int kYields = 100;
constexpr int kTries = kYields + 200;

bool Lane::HasNoteOf(uint64_t address) const {
  for (const Word& note : notes) {
    if (note.load(std::memory_order_acquire) == address) return true;
  }
  return false;
}

void Lane::Clear() {
  for (Word& note : notes) note.store(0, std::memory_order_relaxed);
  cancel.store(0, std::memory_order_relaxed);
}

// Gives the lane back when its thread ends. A wait after that, in another destructor of the
// thread, claims one anew, of whose end the kernel then tells.
class ThreadEnd {
 public:
  ~ThreadEnd() {
    ended_ = true;
    LaneTable::EndThread();
  }
  static void Expect();

 private:
  static inline constinit thread_local bool ended_ = false;
};

void ThreadEnd::Expect() {
  if (ended_) return;
  // Its destructor is registered where control passes here first.
  static thread_local ThreadEnd at_the_end;
  static_cast<void>(at_the_end);
}

void LaneTable::Format(void* memory, uint32_t lanes, uint64_t base, uint64_t size) {
  lanes_ = static_cast<Lane*>(memory);
  count_ = lanes;
  base_ = base;
  size_ = size;
  committed_.store(0, std::memory_order_relaxed);
  hint_.store(0, std::memory_order_relaxed);
  growing_.Init(/*recursive=*/false);
  deaths_.store(0, std::memory_order_relaxed);
  arrivals_.store(0, std::memory_order_relaxed);
}

LaneTable::Growth LaneTable::Grow() {
  const RobustMutex::Result result = growing_.TryLock();
  if (result == RobustMutex::Result::kBusy || result == RobustMutex::Result::kHeldByCaller) {
    return Growth::kBusy;
  }
  if (result == RobustMutex::Result::kOwnerDied) growing_.MarkConsistent();
  const uint64_t committed = committed_.load(std::memory_order_relaxed);
  Growth growth = Growth::kNoMemory;
  if (committed < count_ &&
      madvise(lanes_ + committed, kLanesInAPage * sizeof(Lane), MADV_POPULATE_WRITE) == 0) {
    for (uint32_t i = 0; i < kLanesInAPage; ++i) lanes_[committed + i].alive.Init(false);
    hint_.store(committed, std::memory_order_relaxed);
    // Before: the page has memory and nobody looks at it; who comes next does it again.
    // After:  its lanes are free.
    // Test:   LaneCrashTest.TheBirthOfALaneLeavesNothing
    committed_.store(committed + kLanesInAPage, std::memory_order_release);
    growth = Growth::kDone;
  }
  return growing_.Unlock() ? growth : Growth::kNoMemory;
}

Lane* LaneTable::Claim(ProcessId self) {
  Lane* lane = TryClaim(self);
  // Others may grow it, too, or take what has grown.
  for (int tries = 0; lane == nullptr && tries < kTries; ++tries) {
    switch (Grow()) {
      case Growth::kDone:
        break;
      case Growth::kBusy:
        // Where many start at once, who grows it may have to wait for a processor. One that is
        // stopped keeps nobody for long: then there is no lane for now.
        tries < kYields ? sched_yield() : usleep(100);
        break;
      case Growth::kNoMemory:
        tries = kTries;
    }
    if (committed_.load(std::memory_order_acquire) == count_) tries = kTries;
    lane = TryClaim(self);
  }
  if (lane == nullptr) return nullptr;
  this_thread_ = lane;
  ThreadEnd::Expect();
  // The sentry is to watch it, too.
  arrivals_.fetch_add(1, std::memory_order_release);
  FutexWake(arrivals_, 1);
  return lane;
}

Lane* LaneTable::TryClaim(ProcessId self) {
  const uint64_t start = hint_.load(std::memory_order_relaxed);
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  for (uint64_t step = 0; step < committed; ++step) {
    const uint64_t index = (start + step) % committed;
    Lane& lane = lanes_[index];
    if (lane.process.load(std::memory_order_relaxed) != 0) continue;
    const RobustMutex::Result result = lane.alive.TryLock();
    // Held by one that is about to claim it, or by a thread of the dead through which the
    // kernel has not yet gone: it still reads what the mutex has in it.
    if (result == RobustMutex::Result::kBusy || result == RobustMutex::Result::kHeldByCaller) {
      continue;
    }
    if (lane.process.load(std::memory_order_acquire) != 0) {
      // Another had it meanwhile, and ended.
      if (result == RobustMutex::Result::kOwnerDied) lane.alive.MarkConsistent();
      static_cast<void>(lane.alive.Unlock());
      continue;
    }
    lane.Clear();
    // Before: the lane is free, whoever holds its mutex.
    // After:  it is this thread's; its death is seen at the mutex.
    // Test:   LaneCrashTest.TheBirthOfALaneLeavesNothing
    lane.process.store(self, std::memory_order_release);
    if (result == RobustMutex::Result::kOwnerDied) lane.alive.MarkConsistent();
    hint_.store(index + 1, std::memory_order_relaxed);
    return &lane;
  }
  return nullptr;
}

void LaneTable::EndThread() {
  Lane* lane = this_thread_;
  if (lane == nullptr) return;
  this_thread_ = nullptr;
  GiveBack(*lane);
}

void LaneTable::GiveBack(Lane& lane) {
  // Not of a copy that fork() did not make, which has its parent's.
  if (lane.alive.HolderTid() != gettid()) return;
  lane.Clear();
  // Before: the lane of a thread that has ended.
  // After:  free; a mutex whose owner died is no obstacle to who claims it.
  // Test:   LaneCrashTest.TheEndOfAThreadLeavesNothing
  lane.process.store(0, std::memory_order_release);
  static_cast<void>(lane.alive.Unlock());
}

const FutexWord* LaneTable::WordAt(uint64_t address) const {
  if (address - base_ >= size_ || address % alignof(FutexWord) != 0) return nullptr;
  return reinterpret_cast<const FutexWord*>(address);
}

void LaneTable::WakeAllOn(uint64_t address) const {
  if (const FutexWord* word = WordAt(address); word != nullptr) FutexWake(*word, kWakeAll);
}

void LaneTable::TellAllOn(uint64_t address) {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  for (uint64_t index = 0; index < committed; ++index) {
    if (lanes_[index].HasNoteOf(address)) lanes_[index].told.store(1, std::memory_order_release);
  }
}

void LaneTable::WakeFor(const Lane& lane) {
  for (const Word& note : lane.notes) {
    const uint64_t address = note.load(std::memory_order_acquire);
    if (address == 0) continue;
    TellAllOn(address);
    WakeAllOn(address);
  }
}

void LaneTable::WakeOverlooked() const {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  uint64_t woken = 0;  // many sleep on the same
  for (uint64_t index = 0; index < committed; ++index) {
    const Lane& lane = lanes_[index];
    const uint64_t address = lane.SleepsOn();
    if (address == 0 || lane.process.load(std::memory_order_relaxed) == 0) continue;
    // Whoever is about to sleep there looks by itself: of whom this sees something old, too.
    const FutexWord* const word = WordAt(address);
    if (word != nullptr && address != woken &&
        word->load(std::memory_order_acquire) != lane.expects.load(std::memory_order_acquire)) {
      FutexWake(*word, kWakeAll);
      woken = address;
    }
    const FutexWord* const cancel = WordAt(lane.cancel.load(std::memory_order_acquire));
    if (cancel != nullptr && cancel->load(std::memory_order_acquire) != 0) {
      FutexWake(*cancel, kWakeAll);
    }
  }
}

void LaneTable::BuryLanesOf(ProcessId dead) {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  for (uint64_t index = 0; index < committed; ++index) {
    Lane& lane = lanes_[index];
    ProcessId process = lane.process.load(std::memory_order_acquire);
    if (process != dead) continue;
    // What it says stays: another may have freed the lane meanwhile, and what is there now
    // be of a new thread. Who claims the lane clears it.
    WakeFor(lane);
    // Before: the lane is the dead's; who buries it again wakes them again.
    // After:  free.
    // Test:   LaneCrashTest.TheBurialOfALaneMayBeInterrupted
    lane.process.compare_exchange_strong(process, 0, std::memory_order_acq_rel);
  }
  WakeOverlooked();
}

bool LaneTable::FreeIfGone(Lane& lane) {
  const RobustMutex::Result result = lane.alive.TryLock();
  if (result == RobustMutex::Result::kBusy || result == RobustMutex::Result::kHeldByCaller) {
    return false;
  }
  // Nobody can have claimed it: that takes the mutex.
  WakeFor(lane);
  WakeOverlooked();
  // Before: the lane of a thread that has ended, still, or again: the mutex tells.
  // After:  free.
  // Test:   LaneCrashTest.TheBurialOfALaneMayBeInterrupted
  lane.process.store(0, std::memory_order_release);
  if (result == RobustMutex::Result::kOwnerDied) lane.alive.MarkConsistent();
  return lane.alive.Unlock();
}

uint64_t LaneTable::CountOn(const FutexWord& word) const {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  uint64_t count = 0;
  for (uint64_t index = 0; index < committed; ++index) {
    const Lane& lane = lanes_[index];
    count += lane.process.load(std::memory_order_acquire) != 0 && lane.Held() &&
             lane.HasNoteOf(reinterpret_cast<uint64_t>(&word));
  }
  return count;
}

void LaneTable::TellDeath() {
  deaths_.fetch_add(1, std::memory_order_acq_rel);
  FutexWake(deaths_, kWakeAll);
}

absl::Status LaneTable::Check(const ProcessTable& processes) const {
  const uint64_t committed = committed_.load(std::memory_order_acquire);
  if (committed > count_) {
    return absl::InternalError("lanes: more are committed than there are");
  }
  for (uint64_t index = 0; index < committed; ++index) {
    const Lane& lane = lanes_[index];
    const ProcessId process = lane.process.load(std::memory_order_acquire);
    if (process == 0 || processes.Find(process).kind != ProcessTable::Kind::kFree) continue;
    if (lane.process.load(std::memory_order_acquire) != process) continue;
    return absl::InternalError(
        absl::StrCat("lanes: lane ", index, " is of a process that is no more"));
  }
  return absl::OkStatus();
}

}  // namespace mp::internal
