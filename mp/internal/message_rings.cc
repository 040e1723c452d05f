#include "mp/internal/message_rings.h"

#include <time.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/cargo.h"
#include "mp/internal/joinable_state.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/futex.h"
#include "shared/internal/journal.h"
#include "shared/internal/limbo.h"
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
// As get_bell: whatever is left behind.
constexpr uint64_t kAnyGet = UINT64_MAX;

QueueRing* MakeRing(QueueState& state, uint32_t units, uint32_t begin) {
  const absl::StatusOr<void*> block = Domain::Current()->Allocate(
      QueueRing::SizeOf(units), QueueState::kLine, Owner::Object(&state));
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

Cargo CargoOf(const MessageRings::Block& block) {
  auto* const words = static_cast<Word*>(block.address);
  return Cargo(words + 1, words->load(std::memory_order_relaxed));
}

// What a message takes of the capacity.
size_t BytesFor(size_t size) {
  return sizeof(uint64_t) + (size + QueueRing::kUnit - 1) / QueueRing::kUnit * QueueRing::kUnit;
}

// For who only tries: others have the locks for less than that, unless they are stopped.
timespec Patience() { return MonotonicDeadline(absl::Milliseconds(50)); }

}  // namespace

using Result = MessageRings::Result;

bool MessageRings::Init(QueueState& state, uint64_t limit, uint64_t capacity) {
  QueueRing* ring = MakeRing(state, kFirstUnits, 0);
  if (ring == nullptr && EndObjectsInLimbo()) ring = MakeRing(state, kFirstUnits, 0);
  if (ring == nullptr) return false;
  state.limit = limit;
  state.capacity = capacity;
  state.put.Init(/*recursive=*/false);
  state.get.Init(/*recursive=*/false);
  for (Word* word : {&state.put_ring, &state.get_ring}) {
    word->store(reinterpret_cast<uint64_t>(ring), std::memory_order_relaxed);
  }
  for (Word* word :
       {&state.room, &state.tail, &state.added, &state.head, &state.emptied, &state.put_bell,
        &state.get_bell, &state.get_sleeps, &state.put_sleeps, &state.stray, &state.shut,
        &state.blocks_put, &state.blocks_taken, &state.bells, &state.put_from}) {
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

// Ends a copy of a process that fork() did not make: when that dies with a lock, nobody would be
// told.
void MessageRings::BeWatchedSlow() {
  Domain::EndIfCopy();
  LaneForNotes();
}

bool MessageRings::LockToPutSlow(RobustMutex::Result result, const timespec* deadline) {
  result = LockSlow(state_, state_.put, result, deadline);
  if (result != RobustMutex::Result::kOwnerDied) return result == RobustMutex::Result::kAcquired;
  RepairPut();
  return true;
}

// Before the mutex is consistent: who dies here leaves it to the next.
void MessageRings::RepairPut() {
  QueueRing* last = RingAt(state_.put_ring);
  const QueueEnd tail = QueueEnd::Of(state_.tail.load(std::memory_order_relaxed));
  auto is_behind = [tail](const QueueRing* ring) {
    return static_cast<int32_t>(ring->begin - tail.position) > 0;
  };
  // Many were to go into several rings. Nobody who gets has come that far.
  if (is_behind(last)) last = RingAt(state_.put_from);
  while (QueueRing* const next = last->Next()) {
    if (is_behind(next)) {
      last->next.store(0, std::memory_order_relaxed);
      break;
    }
    last = next;
  }
  state_.put_ring.store(reinterpret_cast<uint64_t>(last), std::memory_order_relaxed);
  NoteNoRoom(tail);
  state_.get_sleeps.store(1, std::memory_order_relaxed);  // it may have owed a wake
  state_.stray.store(1, std::memory_order_relaxed);
  state_.put.MarkConsistent();
}

bool MessageRings::LockToGetSlow(RobustMutex::Result result, const timespec* deadline) {
  result = LockSlow(state_, state_.get, result, deadline);
  if (result != RobustMutex::Result::kOwnerDied) return result == RobustMutex::Result::kAcquired;
  if (JoinableState* const joinable = JoinableState::Of(state_); joinable != nullptr) {
    // What the dead one has committed is applied; it may be room for who waits to put.
    { const Journal::Section replay(joinable->book); }
    FutexWake(state_.gets(), kWakeAll);
  }
  state_.put_sleeps.store(1, std::memory_order_relaxed);  // it may have owed a wake
  state_.stray.store(1, std::memory_order_relaxed);
  state_.get.MarkConsistent();
  return true;
}

// To put ---------------------------------------------------------------------------------------

// Whether so many more may be put.
Result MessageRings::MayPut(size_t messages, QueueEnd tail, QueueEnd& head) {
  if (state_.shut.load(std::memory_order_relaxed) != 0) return Result::kShut;
  head = QueueEnd::Of(state_.head.load(std::memory_order_acquire));
  const uint32_t there = tail.messages - head.messages;
  if (state_.limit != 0 && there + messages > state_.limit) return Result::kBusy;
  return Result::kDone;
}

// What is in it.
size_t MessageRings::BytesBetween(QueueEnd head, QueueEnd tail) const {
  if (head.messages == tail.messages) return 0;
  const uint64_t blocks = state_.blocks_put.load(std::memory_order_relaxed) -
                          state_.blocks_taken.load(std::memory_order_relaxed);
  const size_t in_rings = (tail.position - head.position) * QueueRing::kUnit;
  return in_rings + static_cast<size_t>(std::max<int64_t>(static_cast<int64_t>(blocks), 0));
}

// So many bytes more, as far as there is a capacity.
bool MessageRings::Holds(size_t more, QueueEnd tail, QueueEnd head) const {
  if (state_.capacity == 0) return true;
  const size_t there = BytesBetween(head, tail);
  return there == 0 || there + more <= state_.capacity;
}

// Of `ring`, the last one, where who gets has come to `head`.
void MessageRings::NoteRoom(QueueEnd head, QueueEnd tail, const QueueRing& ring) {
  const bool begun = static_cast<int32_t>(head.position - ring.begin) >= 0;
  uint32_t end = (begun ? head.position : ring.begin) + ring.capacity();
  if (state_.capacity != 0) {
    const size_t there = BytesBetween(head, tail);
    const size_t more = state_.capacity - std::min(there, state_.capacity);
    end = tail.position +
          static_cast<uint32_t>(std::min<size_t>(more / QueueRing::kUnit, end - tail.position));
  }
  state_.room.store(QueueEnd{head.messages, end}.word(), std::memory_order_relaxed);
}

// Who puts next looks.
void MessageRings::NoteNoRoom(QueueEnd tail) {
  const uint32_t taken = QueueEnd::Of(state_.room.load(std::memory_order_relaxed)).messages;
  state_.room.store(QueueEnd{taken, tail.position}.word(), std::memory_order_relaxed);
}

bool MessageRings::HasRoom(size_t size) const {
  const QueueEnd head = QueueEnd::Of(state_.head.load(std::memory_order_acquire));
  return Holds(BytesFor(size), QueueEnd::Of(state_.tail.load(std::memory_order_acquire)), head);
}

Result MessageRings::RoomSlow(uint32_t units, QueueEnd& tail, QueueRing*& ring) {
  QueueEnd head;
  if (const Result result = MayPut(1, tail, head); result != Result::kDone) return result;
  if (!Holds(units * QueueRing::kUnit, tail, head)) return Result::kBusy;
  const bool begun = static_cast<int32_t>(head.position - ring->begin) >= 0;
  const uint32_t taken = begun ? head.position : ring->begin;
  // A message does not wrap.
  auto skipped = [&] {
    const uint32_t behind = ring->UnitsBehind(tail.position);
    return behind < units ? behind : 0;
  };
  uint32_t skip = skipped();
  if (ring->capacity() - (tail.position - taken) < skip + units) {
    // Whatever `units` need fits a new ring twice, wherever in it they begin.
    const uint32_t capacity = std::max(std::bit_ceil(4 * units), 4 * ring->capacity());
    if (tail.position - head.position > kMostPositions - 2 * kMostUnits ||
        !Grow(std::min(capacity, kMostUnits), tail, *ring)) {
      return Result::kNoMemory;
    }
    ring = RingAt(state_.put_ring);
    skip = skipped();
  }
  if (skip != 0) {
    *ring->At(tail.position) = MessageHead{MessageHead::Kind::kSkip, 0}.unit();
    tail.position += skip;
  }
  NoteRoom(head, tail, *ring);
  return Result::kDone;
}

bool MessageRings::Grow(uint32_t capacity, QueueEnd tail, QueueRing& ring) {
  QueueRing* const next = MakeRing(state_, capacity, tail.position);
  if (next == nullptr) return false;
  Link(ring, *next, *next);
  return true;
}

// `ring` ends where `next` begins; `last` is that, or one of those that follow it.
void MessageRings::Link(QueueRing& ring, QueueRing& next, QueueRing& last) {
  ring.end.store(next.begin, std::memory_order_relaxed);
  // Before: a stray block (Q3).
  // After:  the last ring; nothing is put into it before put_ring says so, as the next one to lock
  //         sees to (Q2).
  // Test:   QueueCrashTest.AGrowingQueueLosesNothing
  ring.next.store(reinterpret_cast<uint64_t>(&next), std::memory_order_release);
  state_.put_ring.store(reinterpret_cast<uint64_t>(&last), std::memory_order_relaxed);
}

void MessageRings::FreeFrom(QueueRing* ring) {
  while (ring != nullptr) {
    QueueRing* const next = ring->Next();
    Domain::Current()->Free(ring);
    ring = next;
  }
}

// One that is about to be put.
void MessageRings::CountBlock(size_t size) {
  const Word& known = state_.Size() == 0 ? state_.blocks_taken : state_.blocks_put;
  state_.blocks_put.store(known.load(std::memory_order_relaxed) + size, std::memory_order_relaxed);
}

Result MessageRings::TryPutBlock(const Block& block, absl::FunctionRef<Result()> finish,
                                 const timespec* deadline) {
  if (!LockToPut(deadline)) return Result::kBusy;
  const MessageHead message{block.kind, block.size};
  QueueEnd tail;
  QueueRing* ring;
  const bool has_room = state_.capacity == 0 || HasRoom(block.size);
  Result result = has_room ? Room(message.units(), tail, ring) : Result::kBusy;
  if (result == Result::kDone && !Call()) result = Result::kNoDescriptor;
  if (result == Result::kDone) result = finish();
  if (result == Result::kDone) {
    CountBlock(block.size);
    uint64_t* const place = ring->At(tail.position);
    place[0] = message.unit();
    place[1] = reinterpret_cast<uint64_t>(block.address);
    // Before: this process's, to be freed by its burial.
    // After:  the queue's: a stray block (Q3) until the message is there.
    // Test:   QueueCrashTest.APutIsAllOrNothing
    Domain::Current()->heap().SetOwner(block.address, Owner::Object(&state_));
    if (state_.capacity != 0) NoteNoRoom(tail);
    Commit(tail, message.units());
  }
  Unlock(state_.put);
  return result;
}

Result MessageRings::TryPutMany(size_t count, absl::FunctionRef<Outgoing(size_t index)> message,
                                const timespec* deadline) {
  if (!LockToPut(deadline)) return Result::kBusy;
  const QueueEnd begin = QueueEnd::Of(state_.tail.load(std::memory_order_relaxed));
  QueueEnd head;
  Result result = MayPut(count, begin, head);
  if (result != Result::kDone) {
    Unlock(state_.put);
    return result;
  }
  QueueRing* const last = RingAt(state_.put_ring);
  QueueRing* first = nullptr;  // of those that have to be added
  QueueRing* ring = last;
  QueueEnd tail = begin;
  const bool begun = static_cast<int32_t>(head.position - ring->begin) >= 0;
  uint32_t taken = begun ? head.position : ring->begin;
  for (size_t i = 0; i < count && result == Result::kDone; ++i) {
    const Outgoing out = message(i);
    const MessageHead next{out.kind, out.size};
    const uint32_t units = next.units();
    uint32_t behind = ring->UnitsBehind(tail.position);
    uint32_t skip = behind < units ? behind : 0;
    if (ring->capacity() - (tail.position - taken) < skip + units) {
      // For the rest, if that is not too much: what wraps in it skips less than the longest
      // message.
      uint64_t rest = uint64_t{2} * MessageHead::UnitsFor(kMostInRing);
      for (size_t j = i; j < count && rest < kMostUnits; ++j) {
        const Outgoing later = message(j);
        rest += MessageHead{later.kind, later.size}.units();
      }
      const auto capacity =
          static_cast<uint32_t>(std::clamp<uint64_t>(std::bit_ceil(rest), kFirstUnits, kMostUnits));
      const bool too_many = tail.position - head.position > kMostPositions - 2 * kMostUnits;
      QueueRing* const other = too_many ? nullptr : MakeRing(state_, capacity, tail.position);
      if (other == nullptr) {
        result = Result::kNoMemory;
        break;
      }
      if (first == nullptr) {
        first = other;
      } else {
        ring->end.store(tail.position, std::memory_order_relaxed);
        ring->next.store(reinterpret_cast<uint64_t>(other), std::memory_order_relaxed);
      }
      ring = other;
      taken = tail.position;
      behind = ring->UnitsBehind(tail.position);
      skip = behind < units ? behind : 0;
    }
    if (skip != 0) {
      *ring->At(tail.position) = MessageHead{MessageHead::Kind::kSkip, 0}.unit();
      tail.position += skip;
    }
    uint64_t* const place = ring->At(tail.position);
    place[0] = next.unit();
    if (out.kind == MessageHead::Kind::kBytes) {
      if (out.size != 0) std::memcpy(place + 1, out.bytes, out.size);
    } else {
      place[1] = reinterpret_cast<uint64_t>(out.bytes);
    }
    tail = {.messages = tail.messages + 1, .position = tail.position + units};
  }
  if (result == Result::kDone && !Call()) result = Result::kNoDescriptor;
  if (result == Result::kDone) {
    for (size_t i = 0; i < count; ++i) {
      const Outgoing out = message(i);
      if (out.kind == MessageHead::Kind::kBytes) continue;
      // Before, after: as in TryPutBlock().
      Domain::Current()->heap().SetOwner(const_cast<void*>(out.bytes), Owner::Object(&state_));
    }
    if (first != nullptr) {
      state_.put_from.store(reinterpret_cast<uint64_t>(last), std::memory_order_release);
      Link(*last, *first, *ring);
    }
    NoteRoom(head, tail, *ring);
    // Before: none of them is there; who has the lock next cuts off the ring that begins behind
    //         `tail`.
    // After:  all of them are.
    // Test:   QueueCrashTest.ManyAreAllOrNothing
    CommitTail(tail);
  } else {
    FreeFrom(first);
  }
  Unlock(state_.put);
  return result;
}

// To get ---------------------------------------------------------------------------------------

Result MessageRings::NextSlow(QueueEnd head) {
  // In this order: what is put before the queue is shut is seen.
  const uint64_t shut = state_.shut.load(std::memory_order_acquire);
  const uint64_t tail = state_.tail.load(std::memory_order_acquire);
  state_.added.store(tail, std::memory_order_relaxed);
  if ((shut & QueueState::kDropped) != 0) {
    TakeAll();
    return Result::kShut;
  }
  if (QueueEnd::Of(tail).messages != head.messages) return Result::kDone;
  if (shut != 0) return Result::kShut;
  streak_ = head.messages - static_cast<uint32_t>(state_.emptied.load(std::memory_order_relaxed));
  state_.emptied.store(head.messages, std::memory_order_relaxed);
  return Result::kBusy;
}

// There is a message behind: put_ring is one that follows, or this.
QueueRing* MessageRings::Follow(QueueRing* ring, QueueEnd head) {
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

MessageRings::Block MessageRings::BlockAt(const uint64_t* place) {
  const MessageHead message = MessageHead::Of(*place);
  return {reinterpret_cast<void*>(place[1]), message.size, message.kind};
}

// First, or its burial would not look for handles in it.
void MessageRings::PrepareToOwn(const Block& block) {
  if (!MessageHead::HasCargo(block.kind)) return;
  Domain& domain = *Domain::Current();
  domain.processes().SetFlag(domain.AsHolder().identity(), ProcessTable::kHasHandles);
}

void MessageRings::Own(const Block& block) {
  Domain& domain = *Domain::Current();
  domain.heap().SetOwner(block.address, domain.AsHolder());
}

MessageRings::Block MessageRings::TakeBlock(const uint64_t* place, QueueEnd behind) {
  const Block block = BlockAt(place);
  state_.blocks_taken.store(state_.blocks_taken.load(std::memory_order_relaxed) + block.size,
                            std::memory_order_relaxed);
  MakeOwn(block, [&] { CommitHead(behind); });
  return block;
}

// The message in it.
const char* MessageRings::BytesOf(const Block& block) {
  const auto* const bytes = static_cast<const char*>(block.address);
  return MessageHead::HasCargo(block.kind)
             ? bytes + sizeof(Word) + CargoOf(block).words().size() * sizeof(Word)
             : bytes;
}

void MessageRings::FreeBlock(const Block& block) {
  if (MessageHead::HasCargo(block.kind)) CargoOf(block).Drop();
  Domain::Current()->Free(block.address);
}

// A message that nobody gets.
void MessageRings::CommitDrop(QueueEnd head) {
  JoinableState* const joinable = JoinableState::Of(state_);
  if (joinable == nullptr) return CommitHead(head);
  Journal::Section section(joinable->book);
  section.Set(state_.head, head.word());
  section.Set(joinable->done, section.Get(joinable->done) + 1);
  // Before, after: as in CommitHead(); and it is finished.
  section.Commit();
}

// By who has the lock to get, or is alone.
void MessageRings::TakeAll() {
  const EndsWait ends_wait;
  QueueEnd head = QueueEnd::Of(state_.head.load(std::memory_order_relaxed));
  QueueRing* ring = RingAt(state_.get_ring);
  const QueueEnd tail = QueueEnd::Of(state_.tail.load(std::memory_order_acquire));
  while (head.messages != tail.messages) {
    ring = Follow(ring, head);
    const uint64_t* const place = ring->At(head.position);
    const MessageHead message = MessageHead::Of(*place);
    if (message.kind == MessageHead::Kind::kSkip) {
      head.position += ring->UnitsBehind(head.position);
      continue;
    }
    ++head.messages;
    head.position += message.units();
    if (message.kind == MessageHead::Kind::kBytes) {
      CommitDrop(head);
    } else {
      const Block block = BlockAt(place);
      MakeOwn(block, [&] { CommitDrop(head); });
      FreeBlock(block);
    }
  }
}

void MessageRings::LetSomeGather() const {
  // So many messages between two times that it was empty are a stream.
  constexpr uint32_t kStream = 32;
  constexpr int kPausesInStream = 400;
  if (streak_ < kStream) return;
  for (int i = 0; i < kPausesInStream; ++i) Spinning::Pause();
}

// Bells ----------------------------------------------------------------------------------------

bool MessageRings::MayGo(QueueEvent event) const {
  const uint32_t size = state_.Size();
  return (event == QueueEvent::kPut ? size != 0 : state_.limit == 0 || size < state_.limit) ||
         state_.shut.load(std::memory_order_relaxed) != 0;
}

bool MessageRings::RingForMessage() {
  if (!bell_->Ring(state_, QueueEvent::kPut)) return false;
  // Before: it rings again.
  // After:  who waits has heard it, and arms it again if there is nothing.
  state_.put_bell.store(0, std::memory_order_relaxed);
  return true;
}

// `head`: as it is to be.
void MessageRings::RingForRoom(QueueEnd head) {
  const QueueEnd tail = QueueEnd::Of(state_.tail.load(std::memory_order_acquire));
  if (BytesBetween(head, tail) >= state_.get_bell.load(std::memory_order_relaxed)) return;
  if (!bell_->Ring(state_, QueueEvent::kGet)) return;
  // Before, after: as in RingForMessage().
  state_.get_bell.store(0, std::memory_order_relaxed);
}

void MessageRings::RingForMore() {
  if (state_.get_bell.load(std::memory_order_relaxed) != kAnyGet) return;
  if (!bell_->Ring(state_, QueueEvent::kGet)) return;
  // Before, after: as in RingForMessage().
  state_.get_bell.store(0, std::memory_order_relaxed);
}

void MessageRings::RingForReturned() {
  const timespec patience = Patience();
  // Whom this does not reach looks by itself.
  static_cast<void>(WithPutLock(&patience, [this] { static_cast<void>(Call()); }));
}

MessageRings::Armed MessageRings::ArmForMessage(absl::FunctionRef<bool()> may_go,
                                                absl::FunctionRef<void()> drain,
                                                const timespec* deadline) {
  if (!LockToPut(deadline)) return Armed::kBusy;
  const bool arm = !may_go();
  if (arm) {
    // Before: whoever was called before is to find out that it was in vain.
    // After:  who is called next has not been called before, or for once too often.
    // Test:   PipeCrashTest.WhoeverTookTheLastTheNextIsTold
    state_.put_bell.store(1, std::memory_order_relaxed);
    CompilerFence();
    drain();
  }
  Unlock(state_.put);
  return arm ? Armed::kYes : Armed::kMayGo;
}

MessageRings::Armed MessageRings::ArmForRoom(size_t size, absl::FunctionRef<bool()> may_go,
                                             absl::FunctionRef<void()> drain,
                                             const timespec* deadline) {
  if (!LockToGet(deadline)) return Armed::kBusy;
  // At the first room: who gets may want nothing more before it has this one.
  const size_t most = state_.capacity - std::min(BytesFor(size), state_.capacity);
  const QueueEnd head = QueueEnd::Of(state_.head.load(std::memory_order_relaxed));
  const QueueEnd tail = QueueEnd::Of(state_.tail.load(std::memory_order_acquire));
  const bool holds = Holds(BytesFor(size), tail, head);
  const bool arm = !holds || !may_go();
  if (arm) {
    // Before, after: as in ArmForMessage().
    state_.get_bell.store(holds ? kAnyGet : most + 1, std::memory_order_relaxed);
    CompilerFence();
    drain();
  }
  Unlock(state_.get);
  return arm ? Armed::kYes : Armed::kMayGo;
}

// To end ---------------------------------------------------------------------------------------

void MessageRings::Shut(bool drop) {
  static_cast<void>(LockToPut(nullptr));
  // Where there is no descriptor to do it with, they learn of it when something wakes them.
  static_cast<void>(Call());
  // Before: messages may be put.
  // After:  none are. Who sleeps is woken by the caller, or its burial; or has heard the bell.
  // Test:   QueueCrashTest.AShutdownIsSeenByAll, QueueWaitCrashTest.WhoIsToldOfTheEndIsCalled
  state_.shut.fetch_or(QueueState::kShut | (drop ? QueueState::kDropped : 0),
                       std::memory_order_release);
  Unlock(state_.put);
  if (drop) {
    static_cast<void>(LockToGet(nullptr));
    TakeAll();
    Unlock(state_.get);
  }
  Tidy();
}

// Who puts never waits for the lock to get, so who has that may only try the other one.
bool MessageRings::LockBoth() {
  const timespec patience = Patience();
  if (!LockToGet(&patience)) return false;
  const RobustMutex::Result locked = state_.put.TryLock();
  if (locked == RobustMutex::Result::kOwnerDied) RepairPut();
  if (locked == RobustMutex::Result::kAcquired || locked == RobustMutex::Result::kOwnerDied) {
    return true;
  }
  Unlock(state_.get);
  return false;
}

void MessageRings::FreeStray() {
  static_cast<void>(WithBothLocks([this] {
    FreeAllStray();
    state_.stray.store(0, std::memory_order_relaxed);
  }));
}

// By who has both locks.
void MessageRings::FreeAllStray() {
  const EndsWait ends_wait;
  std::set<const void*> known = {
      &state_, reinterpret_cast<void*>(state_.name.load(std::memory_order_relaxed)),
      reinterpret_cast<void*>(state_.bells.load(std::memory_order_relaxed))};
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
      if (message.kind != MessageHead::Kind::kBytes) {
        known.insert(reinterpret_cast<const void*>(place[1]));
      }
      head.position += message.units();
      ++head.messages;
    }
  }
  if (const JoinableState* const joinable = JoinableState::Of(state_); joinable != nullptr) {
    joinable->ForEachBlock([&](const void* block) { known.insert(block); });
  }
  Domain& domain = *Domain::Current();
  std::vector<Heap::Block> stray;
  domain.heap().ForEachBlock([&](const Heap::Block& block) {
    if (block.owner == Owner::Object(&state_) && !known.contains(block.address)) {
      stray.push_back(block);
    }
  });
  for (const Heap::Block& block : stray) {
    DropHandlesIn(block.address, block.size);
    domain.Free(block.address);
  }
}

void QueueState::FreeBlocks() { MessageRings(*this, nullptr).FreeAll(); }

// By who ends the queue, alone.
void MessageRings::FreeAll() {
  // Of one that died with a lock, and nobody came after it, stray blocks may be left.
  static_cast<void>(LockToPut(nullptr));
  Unlock(state_.put);
  static_cast<void>(LockToGet(nullptr));
  state_.get_bell.store(0, std::memory_order_relaxed);  // nobody is left to be called
  TakeAll();
  Unlock(state_.get);
  if (state_.stray.load(std::memory_order_relaxed) != 0) FreeAllStray();
  Domain::Current()->Free(reinterpret_cast<void*>(state_.bells.load(std::memory_order_relaxed)));
  FreeFrom(RingAt(state_.get_ring));
}

}  // namespace mp::internal
