#include "mp/internal/message_queue.h"

#include <time.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"
#include "shared/owner.h"

namespace mp::internal {
namespace {

// Of the first ring of a queue, and of the largest: 2 KiB and 1 MiB.
constexpr uint32_t kFirstUnits = 256;
constexpr uint32_t kMostUnits = 128 << 10;
// Of all that is in a queue: half of what a position counts.
constexpr uint32_t kMostPositions = uint32_t{1} << 31;

QueueRing* MakeRing(QueueState& state, uint32_t units, uint32_t begin) {
  const absl::StatusOr<void*> block =
      AllocateBlock(QueueRing::SizeOf(units), QueueState::kLine, Owner::Object(&state));
  if (!block.ok()) return nullptr;
  auto* ring = static_cast<QueueRing*>(*block);
  ring->begin = begin;
  ring->mask = units - 1;
  ring->end.store(0, std::memory_order_relaxed);
  ring->next.store(0, std::memory_order_relaxed);
  return ring;
}

QueueRing* RingAt(const Word& word) {
  return reinterpret_cast<QueueRing*>(word.load(std::memory_order_relaxed));
}

// For who only tries: others have the locks for less than that, unless they are stopped.
timespec Patience() { return MonotonicDeadline(absl::Milliseconds(50)); }

bool IsPast(const timespec& deadline) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec > deadline.tv_sec ||
         (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec);
}

}  // namespace

using Result = MessageQueue::Result;

bool MessageQueue::Init(QueueState& state, uint64_t limit) {
  QueueRing* const ring = MakeRing(state, kFirstUnits, 0);
  if (ring == nullptr) return false;
  state.limit = limit;
  state.put.Init(/*recursive=*/false);
  state.get.Init(/*recursive=*/false);
  for (Word* word : {&state.put_ring, &state.get_ring}) {
    word->store(reinterpret_cast<uint64_t>(ring), std::memory_order_relaxed);
  }
  for (Word* word : {&state.taken, &state.tail, &state.added, &state.head, &state.emptied,
                     &state.get_sleeps, &state.put_sleeps, &state.flags, &state.shut}) {
    word->store(0, std::memory_order_relaxed);
  }
  return true;
}

// Locks ----------------------------------------------------------------------------------------

namespace {

RobustMutex::Result LockSlow(const QueueState& state, RobustMutex& mutex,
                             RobustMutex::Result result, const timespec* deadline) {
  if (result == RobustMutex::Result::kBusy) {
    SpinRarelyUntil([&] {
      if (mutex.HolderTid() == 0) result = mutex.TryLock();
      return result != RobustMutex::Result::kBusy;
    });
  }
  if (result == RobustMutex::Result::kBusy) {
    if (deadline == nullptr) {
      result = mutex.Lock();
    } else {
      const timespec patience = Patience();
      result = mutex.LockUntil(IsPast(*deadline) ? patience : *deadline);
    }
  }
  if (result == RobustMutex::Result::kHeldByCaller) {
    Fatal(absl::StrCat(state.Describe(), ": used within an operation on it by the same thread"));
  }
  return result;
}

}  // namespace

bool MessageQueue::LockToPutSlow(RobustMutex::Result result, const timespec* deadline) {
  result = LockSlow(state_, state_.put, result, deadline);
  if (result != RobustMutex::Result::kOwnerDied) return result == RobustMutex::Result::kAcquired;
  RepairPut();
  return true;
}

// Before the mutex is consistent: who dies here leaves it to the next.
void MessageQueue::RepairPut() {
  if (QueueRing* const next = RingAt(state_.put_ring)->Next(); next != nullptr) {
    state_.put_ring.store(reinterpret_cast<uint64_t>(next), std::memory_order_relaxed);
  }
  state_.flags.fetch_or(QueueState::kStray, std::memory_order_relaxed);
  state_.put.MarkConsistent();
}

bool MessageQueue::LockToGetSlow(RobustMutex::Result result, const timespec* deadline) {
  result = LockSlow(state_, state_.get, result, deadline);
  if (result != RobustMutex::Result::kOwnerDied) return result == RobustMutex::Result::kAcquired;
  state_.flags.fetch_or(QueueState::kStray, std::memory_order_relaxed);
  state_.get.MarkConsistent();
  return true;
}

// To put ---------------------------------------------------------------------------------------

Result MessageQueue::RoomSlow(uint32_t units, QueueEnd& tail, QueueRing*& ring) {
  if ((state_.flags.load(std::memory_order_relaxed) & QueueState::kShut) != 0) return Result::kShut;
  const QueueEnd head = QueueEnd::Of(state_.head.load(std::memory_order_acquire));
  if (state_.limit != 0 && tail.messages - head.messages >= state_.limit) return Result::kTimedOut;
  const bool begun = static_cast<int32_t>(head.position - ring->begin) >= 0;
  const uint32_t taken = begun ? head.position : ring->begin;
  state_.taken.store(QueueEnd{head.messages, taken}.word(), std::memory_order_relaxed);
  // A message does not wrap.
  auto skipped = [&] {
    const uint32_t behind = ring->UnitsBehind(tail.position);
    return behind < units ? behind : 0;
  };
  uint32_t skip = skipped();
  if (ring->capacity() - (tail.position - taken) < skip + units) {
    if (tail.position - head.position > kMostPositions - 2 * kMostUnits ||
        !Grow(units, tail, *ring)) {
      return Result::kNoMemory;
    }
    ring = RingAt(state_.put_ring);
    skip = skipped();
  }
  if (skip != 0) {
    *ring->At(tail.position) = MessageHead{MessageHead::Kind::kSkip, 0}.unit();
    tail.position += skip;
  }
  return Result::kDone;
}

// Whatever `units` need fits a new ring twice, wherever in it they begin.
bool MessageQueue::Grow(uint32_t units, QueueEnd tail, QueueRing& ring) {
  const uint32_t wanted = std::max(std::bit_ceil(4 * units), 4 * ring.capacity());
  QueueRing* const next = MakeRing(state_, std::min(wanted, kMostUnits), tail.position);
  if (next == nullptr) return false;
  const auto address = reinterpret_cast<uint64_t>(next);
  ring.end.store(tail.position, std::memory_order_relaxed);
  // Before: a stray block (Q3).
  // After:  the last ring; nothing is put into it before put_ring says so, as the next one to lock
  //         sees to (Q2).
  // Test:   QueueCrashTest.AGrowingQueueLosesNothing
  ring.next.store(address, std::memory_order_release);
  state_.put_ring.store(address, std::memory_order_relaxed);
  state_.taken.store(tail.word(), std::memory_order_relaxed);
  return true;
}

Result MessageQueue::TryPutBlock(void* block, size_t size, const timespec* deadline) {
  if (!LockToPut(deadline)) return Result::kTimedOut;
  const MessageHead message{MessageHead::Kind::kBlock, size};
  QueueEnd tail;
  QueueRing* ring;
  const Result result = Room(message.units(), tail, ring);
  if (result == Result::kDone) {
    uint64_t* const place = ring->At(tail.position);
    place[0] = message.unit();
    place[1] = reinterpret_cast<uint64_t>(block);
    // Before: this process's, to be freed by its burial.
    // After:  the queue's: a stray block (Q3) until the message is there.
    // Test:   QueueCrashTest.APutIsAllOrNothing
    Domain::Current()->heap().SetOwner(block, Owner::Object(&state_));
    Commit(tail, message.units());
  }
  Unlock(state_.put);
  return result;
}

Result MessageQueue::PutBlock(void* block, size_t size, const timespec* deadline) {
  Result result = TryPutBlock(block, size, deadline);
  if (result == Result::kTimedOut) {
    result = WaitFor(Event::kGet, deadline, [&] { return TryPutBlock(block, size, deadline); });
  }
  WakeAfter(Event::kPut);
  Tidy();
  return result;
}

// To get ---------------------------------------------------------------------------------------

Result MessageQueue::NextSlow(QueueEnd head) {
  // In this order: what is put before the queue is shut is seen.
  const uint64_t flags = state_.flags.load(std::memory_order_acquire);
  const uint64_t tail = state_.tail.load(std::memory_order_acquire);
  state_.added.store(tail, std::memory_order_relaxed);
  if ((flags & QueueState::kDropped) != 0) {
    TakeAll();
    return Result::kShut;
  }
  if (QueueEnd::Of(tail).messages != head.messages) return Result::kDone;
  if ((flags & QueueState::kShut) != 0) return Result::kShut;
  streak_ = head.messages - static_cast<uint32_t>(state_.emptied.load(std::memory_order_relaxed));
  state_.emptied.store(head.messages, std::memory_order_relaxed);
  return Result::kTimedOut;
}

// There is a message behind: put_ring is one that follows, or this.
QueueRing* MessageQueue::Follow(QueueRing* ring, QueueEnd head) {
  while (QueueRing* const next = ring->Next()) {
    if (head.position != ring->end.load(std::memory_order_relaxed)) break;
    // Before: the first ring, of which all has been taken.
    // After:  a stray block (Q3).
    // Test:   QueueCrashTest.AGrowingQueueLosesNothing
    state_.get_ring.store(reinterpret_cast<uint64_t>(next), std::memory_order_relaxed);
    Domain::Current()->Free(ring);
    ring = next;
  }
  return ring;
}

void* MessageQueue::TakeBlock(QueueEnd head, QueueRing& ring) {
  const uint64_t* const place = ring.At(head.position);
  auto* const block = reinterpret_cast<void*>(place[1]);
  Domain& domain = *Domain::Current();
  // Before: the message is there, for whoever comes.
  // After:  it is gone, and its block a stray one (Q3) until it is this process's.
  // Test:   QueueCrashTest.AGetIsAllOrNothing
  state_.head.store(
      QueueEnd{head.messages + 1, head.position + MessageHead::Of(*place).units()}.word(),
      std::memory_order_release);
  domain.heap().SetOwner(block, domain.AsHolder());
  return block;
}

// By who has the lock to get, or is alone.
void MessageQueue::TakeAll() {
  Domain& domain = *Domain::Current();
  QueueEnd head = QueueEnd::Of(state_.head.load(std::memory_order_relaxed));
  QueueRing* ring = RingAt(state_.get_ring);
  const QueueEnd tail = QueueEnd::Of(state_.tail.load(std::memory_order_acquire));
  while (head.messages != tail.messages) {
    ring = Follow(ring, head);
    const uint64_t unit = *ring->At(head.position);
    const MessageHead message = MessageHead::Of(unit);
    switch (message.kind) {
      case MessageHead::Kind::kSkip:
        head.position += ring->UnitsBehind(head.position);
        continue;
      case MessageHead::Kind::kBlock:
        domain.Free(TakeBlock(head, *ring));
        break;
      case MessageHead::Kind::kBytes:
        break;
    }
    ++head.messages;
    head.position += message.units();
    state_.head.store(head.word(), std::memory_order_release);
  }
}

// To wait --------------------------------------------------------------------------------------

bool MessageQueue::MayGo(Event event) {
  const uint32_t size = state_.Size();
  return (event == Event::kPut ? size != 0 : size < state_.limit) ||
         state_.shut.load(std::memory_order_relaxed) != 0;
}

void MessageQueue::WakeOne(Event event) {
  SleepsFor(event).store(0, std::memory_order_relaxed);
  FutexWake(WordOf(event), 1);
}

// By one that was woken and has what it wanted: others may sleep, and there may be more for them.
void MessageQueue::PassOn(Event event) {
  SleepsFor(event).store(1, std::memory_order_seq_cst);
  if (MayGo(event)) FutexWake(WordOf(event), 1);
}

Result MessageQueue::WaitFor(Event event, const timespec* deadline,
                             absl::FunctionRef<Result()> try_it) {
  if (deadline != nullptr && IsPast(*deadline)) return Result::kTimedOut;
  Result result = Result::kTimedOut;
  auto try_again = [&] {
    if (MayGo(event)) result = try_it();
    return result != Result::kTimedOut;
  };
  // Who is faster than those who put would look at each message while it is being put, and so take
  // its line from them: in a stream it lets some gather.
  if (event == Event::kPut && streak_ >= kStream) {
    for (int i = 0; i < kPausesInStream; ++i) Spinning::Pause();
  }
  if (SpinUntil(try_again)) return result;
  FutexWord& word = WordOf(event);
  // Until it has what it wants, and the others are seen to, a wake that it gets is passed on when
  // it dies.
  const SleepsOn note(LaneForNotes(), word);
  for (bool woken = false;;) {
    const uint32_t seen = word.load(std::memory_order_acquire);
    result = try_it();
    if (result != Result::kTimedOut) {
      if (woken) PassOn(event);
      return result;
    }
    SleepsFor(event).store(1, std::memory_order_seq_cst);  // [B] with [A]
    if (word.load(std::memory_order_seq_cst) != seen) continue;
    const WaitResult waited = internal::Wait(
        word, seen, {.deadline = deadline, .cancel = &LowHalf(state_.shut), .spin = false});
    if (waited == WaitResult::kTimedOut) {
      result = try_it();
      if (result == Result::kDone) PassOn(event);
      return result;
    }
    woken = woken || waited == WaitResult::kWoken;
  }
}

// To end ---------------------------------------------------------------------------------------

void MessageQueue::Shut(bool drop) {
  static_cast<void>(LockToPut(nullptr));
  // Before: messages may be put.
  // After:  none are. Who sleeps is woken, here or by the burial.
  // Test:   QueueCrashTest.AShutdownIsSeenByAll
  state_.flags.fetch_or(QueueState::kShut | (drop ? QueueState::kDropped : 0),
                        std::memory_order_release);
  state_.shut.store(1, std::memory_order_release);
  Unlock(state_.put);
  for (FutexWord* word : {&state_.puts(), &state_.gets(), &LowHalf(state_.shut)}) {
    FutexWake(*word, kWakeAll);
  }
  if (drop) {
    static_cast<void>(LockToGet(nullptr));
    TakeAll();
    Unlock(state_.get);
  }
  Tidy();
}

// Who puts never waits for the lock to get, so who has that may only try the other one.
void MessageQueue::FreeStray() {
  const timespec patience = Patience();
  if (!LockToGet(&patience)) return;
  const RobustMutex::Result locked = state_.put.TryLock();
  if (locked == RobustMutex::Result::kOwnerDied) RepairPut();
  if (locked == RobustMutex::Result::kAcquired || locked == RobustMutex::Result::kOwnerDied) {
    FreeAllStray();
    state_.flags.fetch_and(~QueueState::kStray, std::memory_order_relaxed);
    Unlock(state_.put);
  }
  Unlock(state_.get);
}

// By who has both locks.
void MessageQueue::FreeAllStray() {
  std::set<const void*> known = {
      &state_, reinterpret_cast<void*>(state_.name.load(std::memory_order_relaxed))};
  QueueEnd head = QueueEnd::Of(state_.head.load(std::memory_order_relaxed));
  const QueueEnd tail = QueueEnd::Of(state_.tail.load(std::memory_order_relaxed));
  for (QueueRing* ring = RingAt(state_.get_ring); ring != nullptr; ring = ring->Next()) {
    known.insert(ring);
    const bool is_last = ring->Next() == nullptr;
    const uint32_t end =
        is_last ? tail.position : static_cast<uint32_t>(ring->end.load(std::memory_order_relaxed));
    while (head.position != end && head.messages != tail.messages) {
      const uint64_t* const place = ring->At(head.position);
      const MessageHead message = MessageHead::Of(*place);
      if (message.kind == MessageHead::Kind::kSkip) {
        head.position += ring->UnitsBehind(head.position);
        continue;
      }
      if (message.kind == MessageHead::Kind::kBlock) {
        known.insert(reinterpret_cast<const void*>(place[1]));
      }
      head.position += message.units();
      ++head.messages;
    }
  }
  Domain& domain = *Domain::Current();
  std::vector<void*> stray;
  domain.heap().ForEachBlock([&](const Heap::Block& block) {
    if (block.owner == Owner::Object(&state_) && !known.contains(block.address)) {
      stray.push_back(block.address);
    }
  });
  for (void* block : stray) domain.Free(block);
}

void QueueState::FreeBlocks() { MessageQueue(*this).FreeAll(); }

// By who ends the queue, alone.
void MessageQueue::FreeAll() {
  // Of one that died with a lock, and nobody came after it, stray blocks may be left.
  static_cast<void>(LockToPut(nullptr));
  Unlock(state_.put);
  static_cast<void>(LockToGet(nullptr));
  TakeAll();
  Unlock(state_.get);
  if ((state_.flags.load(std::memory_order_relaxed) & QueueState::kStray) != 0) FreeAllStray();
  for (QueueRing* ring = RingAt(state_.get_ring); ring != nullptr;) {
    QueueRing* const next = ring->Next();
    Domain::Current()->Free(ring);
    ring = next;
  }
}

}  // namespace mp::internal
