// MessageQueue: what can be done with a QueueState: messages are put at one end and got at the
// other, by any number of threads and processes at once.
//
//   MessageQueue queue(state);
//   queue.Put(size, [&](void* place) { memcpy(place, bytes, size); }, deadline);
//   queue.Get([&](const void* bytes, size_t size) { ... }, deadline);
//
// A message lies in a ring, or, if it is long, in a block of the domain, which is its sender's
// before, its receiver's after, and the queue's between.
//
// Ordering: what was done before a put is visible to who gets that message. Messages come in the
//           order in which they were put.
// Death:    a message is put, or it is not, and then nobody ever sees it; the same of getting it.
//           What a dead process leaves is put right by who next takes its lock.
// Threads:  from any number; not in a signal handler.
// Cost:     a lock each, which the other side does not take; no system call where nobody sleeps.

#ifndef MP_MP_INTERNAL_MESSAGE_QUEUE_H_
#define MP_MP_INTERNAL_MESSAGE_QUEUE_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/functional/function_ref.h"
#include "mp/internal/queue_ring.h"
#include "mp/internal/queue_state.h"
#include "shared/internal/futex.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

class MessageQueue {
 public:
  enum class Result {
    kDone,
    kTimedOut,  // it is full, or empty
    kShut,      // nobody may put any more; or there is nothing left to get
    kNoMemory,
  };

  // Of a message that lies in a ring, in bytes. Longer ones are copied by many at once, outside of
  // the lock.
  static constexpr size_t kMostInRing = size_t{16} << 10;

  explicit MessageQueue(QueueState& state) : state_(state) {}

  // Makes the rest of what `state` has. False: there is no memory.
  [[nodiscard]] static bool Init(QueueState& state, uint64_t limit);

  // `write(place)` writes `size` bytes, at most kMostInRing, to a place aligned to 8, while nobody
  // else can put. `deadline` is on CLOCK_MONOTONIC; nullptr: never; in the past: tries once.
  template <typename Write>
  Result Put(size_t size, const Write& write, const timespec* deadline);
  // A message of `size` bytes in a block of this process's, which is the queue's when kDone.
  Result PutBlock(void* block, size_t size, const timespec* deadline);

  // `read(place, size)` reads a message in the ring, while nobody else can get, and
  // `take(block, size)` gets a block, which is this process's then.
  template <typename Read, typename Take>
  Result Get(const Read& read, const Take& take, const timespec* deadline);

  // Nobody puts any more; `drop`: nor gets what is left, which is freed.
  void Shut(bool drop);
  // At its end.
  void FreeAll();

 private:
  // What somebody waits for: a put, or a get where it is full.
  enum class Event { kPut, kGet };
  // So many messages between two times that it was empty are a stream.
  static constexpr uint32_t kStream = 32;
  static constexpr int kPausesInStream = 400;

  // Changes with each.
  FutexWord& WordOf(Event event) { return event == Event::kPut ? state_.puts() : state_.gets(); }
  // 1: somebody may sleep on that.
  Word& SleepsFor(Event event) {
    return event == Event::kPut ? state_.get_sleeps : state_.put_sleeps;
  }
  // Whether who waits for it may find what it wants.
  bool MayGo(Event event);

  // False: not by `deadline`.
  bool LockToPut(const timespec* deadline) {
    const RobustMutex::Result result = state_.put.TryLock();
    return result == RobustMutex::Result::kAcquired || LockToPutSlow(result, deadline);
  }
  bool LockToGet(const timespec* deadline) {
    const RobustMutex::Result result = state_.get.TryLock();
    return result == RobustMutex::Result::kAcquired || LockToGetSlow(result, deadline);
  }
  // Where a first try had this result.
  bool LockToPutSlow(RobustMutex::Result result, const timespec* deadline);
  bool LockToGetSlow(RobustMutex::Result result, const timespec* deadline);
  static void Unlock(RobustMutex& mutex) { static_cast<void>(mutex.Unlock()); }

  // By who has the lock to put: where the head of a message that takes `units` is to be, or why
  // there is no room. The message is there when Commit() returns.
  Result Room(uint32_t units, QueueEnd& tail, QueueRing*& ring);
  Result RoomSlow(uint32_t units, QueueEnd& tail, QueueRing*& ring);
  void Commit(QueueEnd tail, uint32_t units);
  // By who has the lock to get: the next message, or why there is none.
  Result Next(QueueEnd& head, QueueRing*& ring);
  Result NextSlow(QueueEnd head);
  QueueRing* Follow(QueueRing* ring, QueueEnd head);
  void* TakeBlock(QueueEnd head, QueueRing& ring);
  void TakeAll();
  bool Grow(uint32_t units, QueueEnd tail, QueueRing& ring);

  // After an operation, without the locks.
  void WakeAfter(Event event) {
    // The unlock was an instruction that no load passes: who sleeps has said so before, and is seen
    // here, or sees what has changed. [A] with [B]
    if (SleepsFor(event).load(std::memory_order_relaxed) != 0) [[unlikely]]
      WakeOne(event);
  }
  void WakeOne(Event event);
  void PassOn(Event event);
  void Tidy() {
    if ((state_.flags.load(std::memory_order_relaxed) & QueueState::kStray) != 0) [[unlikely]]
      FreeStray();
  }
  void FreeStray();
  void FreeAllStray();
  void RepairPut();

  // Until `try_it` has another result than kTimedOut, or `deadline`.
  Result WaitFor(Event event, const timespec* deadline, absl::FunctionRef<Result()> try_it);

  template <typename Write>
  Result TryPut(size_t size, const Write& write, const timespec* deadline);
  Result TryPutBlock(void* block, size_t size, const timespec* deadline);
  template <typename Read, typename Take>
  Result TryGet(const Read& read, const Take& take, const timespec* deadline);

  QueueState& state_;
  uint32_t streak_ = 0;  // messages since it was empty, when it was found empty
};

// By who puts ----------------------------------------------------------------------------------

inline MessageQueue::Result MessageQueue::Room(uint32_t units, QueueEnd& tail, QueueRing*& ring) {
  tail = QueueEnd::Of(state_.tail.load(std::memory_order_relaxed));
  ring = reinterpret_cast<QueueRing*>(state_.put_ring.load(std::memory_order_relaxed));
  const uint32_t taken = QueueEnd::Of(state_.taken.load(std::memory_order_relaxed)).position;
  // As far as it is known; of the ring before, nothing is in this one.
  const uint32_t used = tail.position - taken;
  const bool simple = (state_.flags.load(std::memory_order_relaxed) & QueueState::kShut) == 0 &&
                      state_.limit == 0 && ring->UnitsBehind(tail.position) >= units &&
                      ring->capacity() >= used && ring->capacity() - used >= units;
  return simple ? Result::kDone : RoomSlow(units, tail, ring);
}

inline void MessageQueue::Commit(QueueEnd tail, uint32_t units) {
  // Before: there is no such message; its bytes are scratch (Q1).
  // After:  it is there, though nobody was woken: who comes to get it sees it, who sleeps is woken
  // by
  //         the burial, for the word has changed.
  // Test:   QueueCrashTest.APutIsAllOrNothing
  state_.tail.store(QueueEnd{tail.messages + 1, tail.position + units}.word(),
                    std::memory_order_release);
}

template <typename Write>
MessageQueue::Result MessageQueue::TryPut(size_t size, const Write& write,
                                          const timespec* deadline) {
  if (!LockToPut(deadline)) return Result::kTimedOut;
  const MessageHead message{MessageHead::Kind::kBytes, size};
  const uint32_t units = message.units();
  QueueEnd tail;
  QueueRing* ring;
  const Result result = Room(units, tail, ring);
  if (result == Result::kDone) {
    uint64_t* const place = ring->At(tail.position);
    *place = message.unit();
    write(static_cast<void*>(place + 1));
    Commit(tail, units);
  }
  Unlock(state_.put);
  return result;
}

template <typename Write>
MessageQueue::Result MessageQueue::Put(size_t size, const Write& write, const timespec* deadline) {
  Result result = TryPut(size, write, deadline);
  if (result == Result::kTimedOut) [[unlikely]] {
    result = WaitFor(Event::kGet, deadline, [&] { return TryPut(size, write, deadline); });
  }
  WakeAfter(Event::kPut);
  Tidy();
  return result;
}

// By who gets ----------------------------------------------------------------------------------

inline MessageQueue::Result MessageQueue::Next(QueueEnd& head, QueueRing*& ring) {
  head = QueueEnd::Of(state_.head.load(std::memory_order_relaxed));
  const uint32_t added = QueueEnd::Of(state_.added.load(std::memory_order_relaxed)).messages;
  const bool drops = (state_.flags.load(std::memory_order_relaxed) & QueueState::kDropped) != 0;
  if (head.messages == added || drops) [[unlikely]] {
    if (const Result result = NextSlow(head); result != Result::kDone) return result;
  }
  ring = reinterpret_cast<QueueRing*>(state_.get_ring.load(std::memory_order_relaxed));
  for (;;) {
    if (ring->next.load(std::memory_order_acquire) != 0) ring = Follow(ring, head);
    const MessageHead message = MessageHead::Of(*ring->At(head.position));
    if (message.kind != MessageHead::Kind::kSkip) return Result::kDone;
    head.position += ring->UnitsBehind(head.position);
  }
}

template <typename Read, typename Take>
MessageQueue::Result MessageQueue::TryGet(const Read& read, const Take& take,
                                          const timespec* deadline) {
  if (!LockToGet(deadline)) return Result::kTimedOut;
  QueueEnd head;
  QueueRing* ring;
  const Result result = Next(head, ring);
  if (result == Result::kDone) {
    const uint64_t* const place = ring->At(head.position);
    const MessageHead message = MessageHead::Of(*place);
    if (message.kind == MessageHead::Kind::kBytes) {
      read(static_cast<const void*>(place + 1), message.size);
      // Before: the message is there, for whoever comes.
      // After:  it is this process's, and dies with it. Who waits to put is woken by the burial.
      // Test:   QueueCrashTest.AGetIsAllOrNothing
      state_.head.store(QueueEnd{head.messages + 1, head.position + message.units()}.word(),
                        std::memory_order_release);
    } else {
      take(TakeBlock(head, *ring), message.size);
    }
  }
  Unlock(state_.get);
  return result;
}

template <typename Read, typename Take>
MessageQueue::Result MessageQueue::Get(const Read& read, const Take& take,
                                       const timespec* deadline) {
  Result result = TryGet(read, take, deadline);
  if (result == Result::kTimedOut) {
    result = WaitFor(Event::kPut, deadline, [&] { return TryGet(read, take, deadline); });
  }
  WakeAfter(Event::kGet);
  Tidy();
  return result;
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_MESSAGE_QUEUE_H_
