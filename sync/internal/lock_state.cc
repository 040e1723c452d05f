#include "sync/internal/lock_state.h"

#include <sys/types.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/futex.h"
#include "shared/internal/held_locks.h"
#include "shared/internal/lane.h"
#include "shared/internal/object_header.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/spinning.h"
#include "shared/internal/thread_id.h"
#include "shared/internal/wait.h"
#include "sync/internal/array_state.h"

namespace mp::internal {
namespace {

// "pid 12 (thread 13)", from a thread's id.
std::string DescribeThread(pid_t tid) {
  std::ifstream file(absl::StrCat("/proc/", tid, "/status"));
  for (std::string word; file >> word;) {
    if (word != "Tgid:") continue;
    file >> word;
    return absl::StrCat("pid ", word, " (thread ", tid, ")");
  }
  return absl::StrCat("thread ", tid);
}

void WakeAsNoted(uint64_t notes) {
  const uint64_t count = notes >> LockState::kCountShift & LockState::kMostCount;
  FutexWake(*reinterpret_cast<FutexWord*>(notes >> LockState::kWordShift),
            count == LockState::kMostCount ? kWakeAll : static_cast<int>(count));
}

}  // namespace

void LockState::FreeElements() { FreeBlock(static_cast<ArrayState*>(this)->data); }

bool LockState::Acquire(absl::Duration timeout) {
  if (timeout <= absl::ZeroDuration()) return TryAcquire();
  if (MayNot()) CheckMay();
  const RobustMutex::Result result = mutex.TryLock();
  // Only where it is busy: to read the clock costs as much as the lock.
  if (result != RobustMutex::Result::kBusy) return AfterLock(result);
  return AcquireSlow(result, Deadline(timeout).get());
}

bool LockState::AcquireBefore(const timespec* deadline) {
  if (MayNot()) CheckMay();
  return AcquireSlow(mutex.TryLock(), deadline);
}

bool LockState::AcquireSlow(RobustMutex::Result result, const timespec* deadline) {
  return AfterLock(result == RobustMutex::Result::kBusy ? LockBusy(deadline) : result);
}

RobustMutex::Result LockState::LockBusy(const timespec* deadline) {
  RobustMutex::Result result = RobustMutex::Result::kBusy;
  auto try_if_free = [&] {
    if (mutex.HolderTid() == 0) result = mutex.TryLock();
    return result != RobustMutex::Result::kBusy;
  };
  if (SpinRarelyUntil(try_if_free)) return result;
  // Until the lock is its own and says that others may sleep, a wake that it gets is passed on
  // when it dies.
  const SleepsOn note(LaneForNotes(), mutex.word());
  for (bool slept = false;; slept = true) {
    uint32_t seen = mutex.word().load(std::memory_order_relaxed);
    while (RobustMutex::HolderIn(seen) == 0 || !mutex.AnnounceSleeper(seen)) {
      if (try_if_free()) {
        // Before: the holder's unlock, or death, wakes nobody; its lane says whom to wake.
        // After:  it wakes one of those who sleep still.
        // Test:   LockOwnerDeathTest.AWokenWaiterThatIsKilledLeavesNobodyAsleep
        if (slept) mutex.AnnounceSleepers();
        return result;
      }
      seen = mutex.word().load(std::memory_order_relaxed);
    }
    // Who leaves now has said to the holder that others may sleep.
    if (Wait(mutex.word(), seen, {.deadline = deadline, .spin = false}) == WaitResult::kTimedOut) {
      return RobustMutex::Result::kBusy;
    }
  }
}

bool LockState::AfterLock(RobustMutex::Result result) {
  switch (result) {
    case RobustMutex::Result::kAcquired:
      CountAcquired();
      return true;
    case RobustMutex::Result::kBusy:
      return false;
    case RobustMutex::Result::kHeldByCaller:
      Misuse("acquired", "to take a lock more than once use RLock");
    case RobustMutex::Result::kOwnerDied:
      break;
  }
  // Before: the next one to lock gets kOwnerDied.
  // After:  every holder learns of it from owner_died(), whoever dies next.
  // Test:   LockCrashTest.NextHolderLearnsThatOwnerDied
  notes.fetch_or(kOwnerDied, std::memory_order_release);
  mutex.MarkConsistent();
  CountAcquired();
  return true;
}

bool LockState::AfterTryLock(RobustMutex::Result result) {
  return result != RobustMutex::Result::kHeldByCaller && AfterLock(result);
}

void LockState::AssertHeld() const {
  if (!HeldByThisThread()) Misuse("asserted to be held", "acquire it first");
}

void LockState::MarkConsistent() {
  if (!HeldByThisThread()) Misuse("marked consistent", "acquire it first");
  // Before: the next holder is told of the death.
  // After:  nobody is, until a holder dies again: also of this one.
  // Test:   LockOwnerDeathTest.ADeathAfterTheRepairIsToldAnew
  notes.fetch_and(~kOwnerDied, std::memory_order_release);
}

uint32_t LockState::ReleaseAll() {
  const uint32_t levels = mutex.Level();
  for (uint32_t i = 0; i < levels; ++i) Release();
  return levels;
}

void LockState::AcquireLevels(uint32_t levels) {
  // Who has notified it is about to release it: to look rarely, as among those who take it in turn,
  // costs more than a round trip.
  if (Locked()) SpinUntil([this] { return !Locked(); });
  for (uint32_t i = 0; i < levels; ++i) Acquire();
}

void LockState::WakeWhenReleased(FutexWord& word, int count) {
  constexpr uint64_t kMost = kMostCount;
  const uint64_t before = notes.load(std::memory_order_relaxed);
  const auto address = reinterpret_cast<uint64_t>(&word);
  uint64_t sum = std::min(static_cast<uint64_t>(count), kMost);
  if (before >> kWordShift == address) {
    sum = std::min(sum + (before >> kCountShift & kMost), kMost);
  } else if (before > kOwnerDied) {
    WakeAsNoted(before);  // one word has room
  }
  // Before: the holder has changed the word; its death, which is to come, wakes its sleepers.
  // After:  the release does.
  // Test:   ConditionCrashTest.WhoIsNotifiedIsWoken
  notes.store(address << kWordShift | sum << kCountShift | (before & kOwnerDied),
              std::memory_order_relaxed);
}

void LockState::ReleaseToAll() {
  WakeWhenReleased(mutex.word(), kWakeAll);
  Release();
}

void LockState::ReleaseAndWake() {
  const bool last = mutex.Level() == 1;
  // Of a stranger, who ends in Unlock(), nothing is changed.
  uint64_t noted = 0;
  if (last && HeldByThisThread()) {
    noted = notes.load(std::memory_order_relaxed);
    notes.store(noted & kOwnerDied, std::memory_order_relaxed);
  }
  if (!mutex.Unlock()) ReleasedByStranger();
  if (last) HeldLocks::Remove();
  if (noted != 0) WakeAsNoted(noted);
}

void LockState::CheckMay() const {
  Domain::EndIfCopy();
  if (!HeldLocks::IsFull() || HeldByThisThread()) return;
  Fatal(absl::StrCat(Describe(), ": acquired by ", DescribeThread(ThreadId::OfThisThread()),
                     ", which holds ", HeldLocks::kMost,
                     " locks already; of more the kernel would not give all to others when it "
                     "dies; let fewer locks guard the data"));
}

void LockState::ReleasedByStranger() const {
  Misuse("released", "to release what another thread or process acquired use Semaphore(1)");
}

void LockState::Misuse(const ObjectHeader& object, std::string_view what, std::string_view instead,
                       std::string_view since) const {
  const pid_t holder = mutex.HolderTid();
  const pid_t self = ThreadId::OfThisThread();
  Fatal(absl::StrCat(object.Describe(), ": ", what, " by ", DescribeThread(self), ", ",
                     !since.empty()   ? since
                     : holder == 0    ? "but nobody holds it"
                     : holder == self ? "but it is the holder already"
                                      : absl::StrCat("but ", DescribeThread(holder), " holds it"),
                     "; ", instead));
}

}  // namespace mp::internal
