#include "sync/internal/robust_lock.h"

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/internal/fatal.h"
#include "shared/internal/futex.h"
#include "shared/internal/held_locks.h"
#include "shared/internal/lane.h"
#include "shared/internal/spinning.h"
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

absl::StatusOr<LockState*> RobustLock::Make(ObjectType type, std::string_view name) {
  return MakeObject<LockState>(type, name, [type](LockState& state) {
    state.Init(/*recursive=*/type == ObjectType::kRLock);
  });
}

LockState* RobustLock::MakeOrDie(ObjectType type, std::string_view name) {
  return OrCannotMake(Make(type, name), type, sizeof(LockState), name);
}

absl::StatusOr<RobustLock> RobustLock::Create(ObjectType type, std::string_view name) {
  const absl::StatusOr<LockState*> state = Make(type, name);
  if (!state.ok()) return state.status();
  return RobustLock(Handle<LockState>(*state));
}

RobustLock::RobustLock(ObjectType type, std::string_view name) : state_(MakeOrDie(type, name)) {}

bool RobustLock::Acquire(absl::Duration timeout) const {
  if (timeout <= absl::ZeroDuration()) return TryAcquire();
  if (MayNot()) CheckMay();
  const RobustMutex::Result result = state_->mutex.TryLock();
  // Only where it is busy: to read the clock costs as much as the lock.
  if (result != RobustMutex::Result::kBusy) return AfterLock(result);
  return AcquireSlow(result, Deadline(timeout).get());
}

bool RobustLock::AcquireBefore(const timespec* deadline) const {
  if (MayNot()) CheckMay();
  return AcquireSlow(state_->mutex.TryLock(), deadline);
}

bool RobustLock::AcquireSlow(RobustMutex::Result result, const timespec* deadline) const {
  return AfterLock(result == RobustMutex::Result::kBusy ? LockBusy(deadline) : result);
}

RobustMutex::Result RobustLock::LockBusy(const timespec* deadline) const {
  RobustMutex& mutex = state_->mutex;
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

bool RobustLock::AfterLock(RobustMutex::Result result) const {
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
  state_->notes.fetch_or(LockState::kOwnerDied, std::memory_order_release);
  state_->mutex.MarkConsistent();
  CountAcquired();
  return true;
}

bool RobustLock::AfterTryLock(RobustMutex::Result result) const {
  return result != RobustMutex::Result::kHeldByCaller && AfterLock(result);
}

void RobustLock::AssertHeld() const {
  if (!HeldByThisThread()) Misuse("asserted to be held", "acquire it first");
}

void RobustLock::MarkConsistent() const {
  if (!HeldByThisThread()) Misuse("marked consistent", "acquire it first");
  // Before: the next holder is told of the death.
  // After:  nobody is, until a holder dies again: also of this one.
  // Test:   LockOwnerDeathTest.ADeathAfterTheRepairIsToldAnew
  state_->notes.fetch_and(~LockState::kOwnerDied, std::memory_order_release);
}

uint32_t RobustLock::ReleaseAll() const {
  const uint32_t levels = state_->mutex.Level();
  for (uint32_t i = 0; i < levels; ++i) Release();
  return levels;
}

void RobustLock::AcquireLevels(uint32_t levels) const {
  // Who has notified it is about to release it: to look rarely, as among those who take it in turn,
  // costs more than a round trip.
  if (Locked()) SpinUntil([this] { return !Locked(); });
  for (uint32_t i = 0; i < levels; ++i) Acquire();
}

void RobustLock::WakeWhenReleased(FutexWord& word, int count) const {
  constexpr uint64_t kMost = LockState::kMostCount;
  const uint64_t notes = state_->notes.load(std::memory_order_relaxed);
  const auto address = reinterpret_cast<uint64_t>(&word);
  uint64_t sum = std::min(static_cast<uint64_t>(count), kMost);
  if (notes >> LockState::kWordShift == address) {
    sum = std::min(sum + (notes >> LockState::kCountShift & kMost), kMost);
  } else if (notes > LockState::kOwnerDied) {
    WakeAsNoted(notes);  // one word has room
  }
  // Before: the holder has changed the word; its death, which is to come, wakes its sleepers.
  // After:  the release does.
  // Test:   ConditionCrashTest.WhoIsNotifiedIsWoken
  state_->notes.store(address << LockState::kWordShift | sum << LockState::kCountShift |
                          (notes & LockState::kOwnerDied),
                      std::memory_order_relaxed);
}

void RobustLock::ReleaseToAll() const {
  WakeWhenReleased(state_->mutex.word(), kWakeAll);
  Release();
}

void RobustLock::ReleaseAndWake() const {
  const bool last = state_->mutex.Level() == 1;
  // Of a stranger, who ends in Unlock(), nothing is changed.
  uint64_t notes = 0;
  if (last && HeldByThisThread()) {
    notes = state_->notes.load(std::memory_order_relaxed);
    state_->notes.store(notes & LockState::kOwnerDied, std::memory_order_relaxed);
  }
  if (!state_->mutex.Unlock()) ReleasedByStranger();
  if (last) HeldLocks::Remove();
  if (notes != 0) WakeAsNoted(notes);
}

void RobustLock::CheckMay() const {
  Domain::EndIfCopy();
  if (!HeldLocks::IsFull() || HeldByThisThread()) return;
  Fatal(absl::StrCat(state_->Describe(), ": acquired by ", DescribeThread(ThreadId::OfThisThread()),
                     ", which holds ", HeldLocks::kMost,
                     " locks already; of more the kernel would not give all to others when it "
                     "dies; let fewer locks guard the data"));
}

void RobustLock::ReleasedByStranger() const {
  Misuse("released", "to release what another thread or process acquired use Semaphore(1)");
}

void RobustLock::Misuse(const ObjectHeader& object, std::string_view what, std::string_view instead,
                        std::string_view since) const {
  const pid_t holder = state_->mutex.HolderTid();
  const pid_t self = ThreadId::OfThisThread();
  Fatal(absl::StrCat(object.Describe(), ": ", what, " by ", DescribeThread(self), ", ",
                     !since.empty()   ? since
                     : holder == 0    ? "but nobody holds it"
                     : holder == self ? "but it is the holder already"
                                      : absl::StrCat("but ", DescribeThread(holder), " holds it"),
                     "; ", instead));
}

}  // namespace mp::internal
