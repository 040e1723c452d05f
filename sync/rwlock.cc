#include "sync/rwlock.h"

#include <time.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/futex.h"
#include "shared/internal/holds.h"
#include "shared/internal/object.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"
#include "sync/internal/reading.h"
#include "sync/internal/take_hold.h"

namespace mp {
namespace {

using internal::Hold;
using internal::Reading;

constexpr char kDoesNotRead[] = "which does not read it";
constexpr char kOneMore[] = "reader";

}  // namespace

absl::StatusOr<RWLock::State*> RWLock::Make(const RWLockOptions& options) {
  return internal::MakeObject<State>(internal::ObjectType::kRwLock, options.name, [](State& state) {
    state.LockState::Init(/*recursive=*/false);
    state.writer.store(0, std::memory_order_relaxed);
    state.left.store(0, std::memory_order_relaxed);
  });
}

internal::Handle<RWLock::State> RWLock::MakeOrDie(const RWLockOptions& options) {
  return internal::Handle<State>(internal::OrCannotMake(
      Make(options), internal::ObjectType::kRwLock, sizeof(State), options.name));
}

absl::StatusOr<RWLock> RWLock::Create(const RWLockOptions& options) {
  const absl::StatusOr<State*> state = Make(options);
  if (!state.ok()) return state.status();
  return RWLock(internal::Handle<State>(*state));
}

// To write -------------------------------------------------------------------------------------

bool RWLock::Acquire(absl::Duration timeout) const {
  if (timeout <= absl::ZeroDuration()) return TryAcquire();
  return AcquireBefore(internal::Deadline(timeout).get());
}

bool RWLock::TryAcquire() const {
  if (IsReading()) return false;
  return TryBeginWriting() || (internal::LookForTheDeadRarely() && TryBeginWriting());
}

bool RWLock::TryBeginWriting() const {
  if (!state_->TryAcquire()) return false;
  state_->writer.fetch_or(State::kWriter, std::memory_order_seq_cst);
  if (!AnyReader()) return true;
  EndWriting();
  return false;
}

bool RWLock::AcquireBefore(const timespec* deadline) const {
  if (IsReading()) {
    state_->Misuse("acquired to write", "give back what it reads first", "which reads it");
  }
  if (!state_->AcquireBefore(deadline)) return false;
  // Before: readers come and go; the lock keeps other writers away.
  // After:  who comes to read sees this, or is seen by the look that follows.
  // Test:   RWLockCrashTest.AWriterMayDie
  state_->writer.fetch_or(State::kWriter, std::memory_order_seq_cst);
  if (!AnyReader() || WaitForReaders(deadline)) return true;
  EndWriting();
  return false;
}

bool RWLock::AnyReader() const { return Domain::Current()->holds().AnyOf(*state_); }

bool RWLock::WaitForReaders(const timespec* deadline) const {
  if (internal::SpinUntil([this] { return !AnyReader(); })) return true;
  state_->writer.fetch_or(State::kDrains, std::memory_order_seq_cst);
  internal::FutexWord& left = internal::LowHalf(state_->left);
  for (;;) {
    // A reader that dies has gone when its death is told.
    const uint32_t deaths = internal::Deaths();
    const uint32_t seen = left.load(std::memory_order_acquire);
    if (!AnyReader()) {
      state_->writer.fetch_and(~State::kDrains, std::memory_order_relaxed);
      return true;
    }
    const internal::WaitResult result =
        internal::Wait(left, seen, {.deadline = deadline, .deaths = &deaths, .spin = false});
    if (result == internal::WaitResult::kTimedOut) return !AnyReader();
  }
}

void RWLock::Release() const {
  if (!state_->HeldByThisThread()) {
    state_->Misuse("released", "to end what it reads use ReleaseShared()");
  }
  EndWriting();
}

void RWLock::EndWriting() const {
  // Before: it writes.
  // After:  readers come; the burial of who dies before it has released the lock wakes them all.
  // Test:   RWLockCrashTest.AWriterMayDie
  const uint64_t before = state_->writer.exchange(0, std::memory_order_seq_cst);
  if ((before & State::kReaders) != 0) {
    state_->ReleaseToAll();
  } else {
    state_->Release();
  }
}

// To read --------------------------------------------------------------------------------------

bool RWLock::AcquireShared(absl::Duration timeout) const {
  if (timeout <= absl::ZeroDuration()) return TryAcquireShared();
  return TryBeginReading() || AcquireSharedBefore(internal::Deadline(timeout).get());
}

bool RWLock::TryAcquireShared() const {
  if (TryReadAgain()) return true;
  Hold* hold = internal::TryTakeHold();
  if (hold == nullptr) return false;
  if (TryBeginReading(*hold)) return true;
  // What a dead writer has said is nobody's.
  if (state_->Locked() || !state_->TryAcquire()) return false;
  hold = internal::TryTakeHold();
  if (hold == nullptr) {
    EndWriting();
    return false;
  }
  ReadAsHolder(*hold);
  return true;
}

bool RWLock::AcquireSharedBefore(const timespec* deadline) const {
  if (state_->HeldByThisThread()) {
    state_->Misuse("acquired to read", "read while it writes, without");
  }
  if (!WaitForWriter(deadline)) return false;
  if (TryBeginReading()) return true;
  // Another writer was faster, or the one that was has died: in turn with writers, then.
  if (!state_->AcquireBefore(deadline)) return false;
  ReadAsHolder(*internal::TakeHold(*state_, kOneMore));
  return true;
}

bool RWLock::WaitForWriter(const timespec* deadline) const {
  return state_->WaitWhileHeld(deadline, [this](bool sleeps) {
    uint64_t seen = state_->writer.load(std::memory_order_acquire);
    while ((seen & State::kWriter) != 0) {
      if (!sleeps || (seen & State::kReaders) != 0) return true;
      if (state_->writer.compare_exchange_strong(seen, seen | State::kReaders,
                                                 std::memory_order_acq_rel)) {
        return true;
      }
    }
    return false;
  });
}

// By the holder of the lock, which gives it back.
void RWLock::ReadAsHolder(Hold& hold) const {
  hold.Post(*state_);
  Reading::Add(hold);
  EndWriting();
}

bool RWLock::TryBeginReading() const {
  return TryReadAgain() || TryBeginReading(*internal::TakeHold(*state_, kOneMore));
}

// False: somebody writes, and the hold is free again.
bool RWLock::TryBeginReading(Hold& hold) const {
  hold.Post(*state_);
  if ((state_->writer.load(std::memory_order_seq_cst) & State::kWriter) == 0) {
    Reading::Add(hold);
    return true;
  }
  EndReading(hold);
  return false;
}

void RWLock::ReleaseShared() const {
  Hold* const hold = Reading::Find(*state_);
  if (hold == nullptr) {
    state_->Misuse("released", "to end what it writes use Release()", kDoesNotRead);
  }
  if (Reading::LessOften(*hold)) return;
  Reading::Remove(*hold);
  EndReading(*hold);
}

void RWLock::EndReading(Hold& hold) const {
  hold.Withdraw();
  if ((state_->writer.load(std::memory_order_seq_cst) & State::kDrains) != 0) {
    internal::FutexWord& left = internal::LowHalf(state_->left);
    // Before: it has gone, and the writer sleeps; a death is told to that.
    // After:  the same; it is woken here, or by the burial.
    // Test:   RWLockCrashTest.AReaderMayDie
    left.fetch_add(1, std::memory_order_acq_rel);
    internal::FutexWake(left, 1);
  }
  Domain::Current()->holds().Return(&hold);
}

bool RWLock::IsReading() const { return Reading::Find(*state_) != nullptr; }

bool RWLock::TryReadAgain() const {
  Hold* const hold = Reading::Find(*state_);
  if (hold == nullptr) return false;
  if (!Reading::Again(*hold)) {
    internal::Fatal(absl::StrCat(state_->Describe(), ": read by one thread 65,536 times at once"));
  }
  return true;
}

void RWLock::AssertReaderHeld() const {
  if (!IsReading()) {
    state_->Misuse("asserted to be read", "acquire it first", kDoesNotRead);
  }
}

}  // namespace mp
