#include "sync/internal/robust_lock.h"

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/internal/fatal.h"
#include "shared/internal/held_locks.h"
#include "shared/internal/lane.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp::internal {
namespace {

pid_t ThisTid() { return static_cast<pid_t>(syscall(SYS_gettid)); }

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

}  // namespace

absl::StatusOr<LockState*> RobustLock::Make(ObjectType type, std::string_view name) {
  const absl::StatusOr<ObjectHeader*> cell = MakeCell(sizeof(LockState), alignof(LockState), name);
  if (!cell.ok()) return cell.status();
  auto* state = static_cast<LockState*>(*cell);
  state->mutex.Init(/*recursive=*/type == ObjectType::kRLock);
  state->owner_died.store(0, std::memory_order_relaxed);
  PublishCell(state, type);
  return state;
}

LockState* RobustLock::MakeOrDie(ObjectType type, std::string_view name) {
  const absl::StatusOr<LockState*> state = Make(type, name);
  if (!state.ok()) CannotMake(type, sizeof(LockState), name, state.status());
  return *state;
}

absl::StatusOr<RobustLock> RobustLock::Create(ObjectType type, std::string_view name) {
  const absl::StatusOr<LockState*> state = Make(type, name);
  if (!state.ok()) return state.status();
  return RobustLock(*state);
}

RobustLock::RobustLock(ObjectType type, std::string_view name) : state_(MakeOrDie(type, name)) {}

bool RobustLock::Acquire(absl::Duration timeout) const {
  if (timeout <= absl::ZeroDuration()) return TryAcquire();
  if (HeldLocks::IsFull()) CheckLimit();
  const RobustMutex::Result result = state_->mutex.TryLock();
  if (result != RobustMutex::Result::kBusy) return AfterLock(result);
  if (timeout == absl::InfiniteDuration()) return AcquireSlow(result, nullptr);
  const timespec deadline = MonotonicDeadline(timeout);
  return AcquireSlow(result, &deadline);
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
  state_->owner_died.store(1, std::memory_order_release);
  state_->mutex.MarkConsistent();
  CountAcquired();
  return true;
}

bool RobustLock::AfterTryLock(RobustMutex::Result result) const {
  return result != RobustMutex::Result::kHeldByCaller && AfterLock(result);
}

bool RobustLock::HeldByThisThread() const { return state_->mutex.HolderTid() == ThisTid(); }

void RobustLock::AssertHeld() const {
  if (!HeldByThisThread()) Misuse("asserted to be held", "acquire it first");
}

void RobustLock::MarkConsistent() const {
  if (!HeldByThisThread()) Misuse("marked consistent", "acquire it first");
  // Before: the next holder is told of the death.
  // After:  nobody is, until a holder dies again: also of this one.
  // Test:   LockOwnerDeathTest.ADeathAfterTheRepairIsToldAnew
  state_->owner_died.store(0, std::memory_order_release);
}

void RobustLock::CheckLimit() const {
  if (HeldByThisThread()) return;
  Fatal(absl::StrCat(state_->Describe(), ": acquired by ", DescribeThread(ThisTid()),
                     ", which holds ", HeldLocks::kMost,
                     " locks already; of more the kernel would not give all to others when it "
                     "dies; let fewer locks guard the data"));
}

void RobustLock::ReleasedByStranger() const {
  Misuse("released", "to release what another thread or process acquired use Semaphore(1)");
}

void RobustLock::Misuse(std::string_view what, std::string_view instead) const {
  const pid_t holder = state_->mutex.HolderTid();
  Fatal(absl::StrCat(state_->Describe(), ": ", what, " by ", DescribeThread(ThisTid()), ", but ",
                     holder == 0           ? "nobody holds it"
                     : holder == ThisTid() ? "it is the holder already"
                                           : absl::StrCat(DescribeThread(holder), " holds it"),
                     "; ", instead));
}

}  // namespace mp::internal
