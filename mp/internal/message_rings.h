// MessageRings: what can be done with a QueueState at once: a message is put at one end, or got at
// the other, by any number of threads and processes. Whoever cannot do so now waits elsewhere:
// MessageQueue by futex (message_queue.h), Channel by descriptor (channel.h).
//
//   MessageRings rings(state, nullptr);
//   rings.TryPut(size, [&](void* place) { memcpy(place, bytes, size); }, &deadline);
//   rings.TryGet([&](const void* bytes, size_t size) { ... }, [&](const Block& block) { ... },
//                &deadline);
//
// A message lies in a ring, or, if it is long or has handles, in a block of the domain, which is
// its sender's before, its receiver's after, and the queue's between.
//
// Ordering: what was done before a put is visible to who gets that message. Messages come in the
//           order in which they were put.
// Death:    a message is put, or it is not, and then nobody ever sees it; the same of getting it.
//           What a dead process leaves is put right by who next takes its lock.
// Threads:  from any number; not in a signal handler.
// Cost:     a lock each, which the other side does not take.

#ifndef MP_MP_INTERNAL_MESSAGE_RINGS_H_
#define MP_MP_INTERNAL_MESSAGE_RINGS_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "absl/functional/function_ref.h"
#include "mp/internal/queue_ring.h"
#include "mp/internal/queue_state.h"
#include "shared/domain.h"
#include "shared/internal/lane.h"
#include "shared/internal/limbo.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

// What others may wait for: that it is not empty, that it is not full.
enum class QueueEvent { kPut, kGet };

// Who waits by a descriptor is called before what it waits for is there, by who has the lock: so no
// death leaves it asleep beside it. It is called in vain if the caller then dies.
class Bell {
 public:
  // False: nobody was called, for want of descriptors; then nothing is put.
  [[nodiscard]] virtual bool Ring(QueueState& state, QueueEvent event) const = 0;

 protected:
  Bell() = default;
  Bell(const Bell&) = default;
  Bell& operator=(const Bell&) = default;
  ~Bell() = default;
};

class MessageRings {
 public:
  enum class Result {
    kDone,
    kBusy,  // it is full, or empty; or its lock was not free until the deadline
    kShut,  // nobody may put any more; or there is nothing left to get
    kNoMemory,
    kNoDescriptor,  // to call who waits by one
    kRefused,       // by who gets: the message stays
  };

  // Of a message that lies in a ring, in bytes. Longer ones are copied by many at once, outside of
  // the lock.
  static constexpr size_t kMostInRing = size_t{16} << 10;

  // A message that is not in a ring.
  struct Block {
    void* address;
    size_t size;             // of the message, in bytes
    MessageHead::Kind kind;  // not kBytes
  };
  // One of many.
  struct Outgoing {
    MessageHead::Kind kind;
    size_t size;
    const void* bytes;  // or the block
  };

  // `bell` may be nullptr where nobody arms it.
  MessageRings(QueueState& state, const Bell* bell) : state_(state), bell_(bell) {}

  // Makes the rest of what `state` has. False: there is no memory.
  // `capacity`: of bytes, see Q4; 0: none.
  [[nodiscard]] static bool Init(QueueState& state, uint64_t limit, uint64_t capacity = 0);

  // `write(place)` writes `size` bytes, at most kMostInRing, to a place aligned to 8, while nobody
  // else can put; if it has a Result other than kDone, nothing is put, and that is returned.
  // `deadline`, for the lock, is on CLOCK_MONOTONIC; nullptr: never; in the past: waits as long as
  // others have it unless they are stopped.
  template <typename Write>
  Result TryPut(size_t size, const Write& write, const timespec* deadline);
  // One in a block of this process's, which is the queue's when kDone.
  Result TryPutBlock(const Block& block, const timespec* deadline) {
    return TryPutBlock(
        block, [] { return Result::kDone; }, deadline);
  }
  // `finish()` may still write to it, as `write` above.
  Result TryPutBlock(const Block& block, absl::FunctionRef<Result()> finish,
                     const timespec* deadline);
  // All at once or none: they are there by one store. `count` is not 0.
  Result TryPutMany(size_t count, absl::FunctionRef<Outgoing(size_t index)> message,
                    const timespec* deadline);

  // `read(place, size)` reads a message in the ring, while nobody else can get, and `take(block)`
  // gets a block, which is this process's then.
  template <typename Read, typename Take>
  Result TryGet(const Read& read, const Take& take, const timespec* deadline) {
    return TryGetIf([](const void*, size_t) { return true; }, read, take, deadline);
  }
  // Unless `accept(bytes, size)` of the message says no: then kRefused.
  template <typename Accept, typename Read, typename Take>
  Result TryGetIf(const Accept& accept, const Read& read, const Take& take,
                  const timespec* deadline);
  // The same of up to `most` messages; how many there were is left in `count`.
  template <typename Read, typename Take>
  Result TryGetMany(size_t most, size_t& count, const Read& read, const Take& take,
                    const timespec* deadline);

  // Without a lock: whether who waits for it may find what it wants.
  bool MayGo(QueueEvent event) const;
  // The same, to put a message of `size` bytes.
  bool HasRoom(size_t size) const;

  // The bell rings before the next put, unless `may_go()` says that there is something to get now.
  // With nobody about to ring, `drain()`: of bells that rang for others. kBusy: the lock was not
  // free.
  enum class Armed { kYes, kMayGo, kBusy };
  Armed ArmForMessage(absl::FunctionRef<bool()> may_go, absl::FunctionRef<void()> drain,
                      const timespec* deadline);
  // For what is as good as a put, and has happened.
  void RingForReturned();
  // Where there is a capacity, and no room for a message of `size` bytes: before a get after which
  // there is. Where there is, but `may_go()` says no: before any get, and when RingForMore() is
  // called.
  Armed ArmForRoom(size_t size, absl::FunctionRef<bool()> may_go, absl::FunctionRef<void()> drain,
                   const timespec* deadline);

  // `change()` by who has the lock to put. False: it was not free.
  template <typename Change>
  bool WithPutLock(const timespec* deadline, const Change& change) {
    if (!LockToPut(deadline)) return false;
    const Unlocker unlocker(state_.put);
    change();
    return true;
  }

  // The same by who has the lock to get.
  template <typename Change>
  bool WithGetLock(const timespec* deadline, const Change& change) {
    if (!LockToGet(deadline)) return false;
    const Unlocker unlocker(state_.get);
    change();
    return true;
  }
  // By who has both. False: they were not free soon.
  template <typename Change>
  bool WithBothLocks(const Change& change) {
    if (!LockBoth()) return false;
    const Unlocker get_unlocker(state_.get);
    const Unlocker put_unlocker(state_.put);
    change();
    return true;
  }
  // By who has the lock to get, and has made room of another kind than that of bytes.
  void RingForMore();

  // Nobody puts any more; `drop`: nor gets what is left, which is freed.
  void Shut(bool drop);
  // What has come apart by a death is freed: by who has no lock, often.
  void Tidy() {
    if (state_.stray.load(std::memory_order_relaxed) != 0) [[unlikely]]
      FreeStray();
  }
  // At its end.
  void FreeAll();

  // The bytes of its message, behind its cargo.
  static const char* BytesOf(const Block& block);
  // A block that was taken: its handles are dropped, and it is freed.
  static void FreeBlock(const Block& block);

  // `try_it()`, by who has no lock; once more where memory is short and may come back by what waits
  // to be ended: with ~T, which may use the queue.
  template <typename Try>
  static Result WithMemory(const Try& try_it) {
    const Result result = try_it();
    return result == Result::kNoMemory && EndObjectsInLimbo() ? try_it() : result;
  }

  QueueState& state() const { return state_; }
  // Whether somebody slept when one of these was put, or got.
  bool owes_wake() const { return owes_wake_; }
  // By who has found it empty. Who is faster than those who put would look at each message while it
  // is being put, and so take its line from them: in a stream this waits a little.
  void LetSomeGather() const;

 protected:
  // Before a lock: this thread has a lane, so that the others learn at once when it dies between
  // what it has changed and who is to be woken for that.
  static void BeWatched() {
    if (!Domain::HasSlot() || LaneTable::OfThisThreadIfAny() == nullptr) [[unlikely]]
      BeWatchedSlow();
  }
  // False: not by `deadline`.
  bool LockToPut(const timespec* deadline) {
    BeWatched();
    const RobustMutex::Result result = state_.put.TryLock();
    return result == RobustMutex::Result::kAcquired || LockToPutSlow(result, deadline);
  }
  bool LockToGet(const timespec* deadline) {
    BeWatched();
    const RobustMutex::Result result = state_.get.TryLock();
    return result == RobustMutex::Result::kAcquired || LockToGetSlow(result, deadline);
  }
  static void BeWatchedSlow();
  // Where a first try had this result.
  bool LockToPutSlow(RobustMutex::Result result, const timespec* deadline);
  bool LockToGetSlow(RobustMutex::Result result, const timespec* deadline);
  bool LockBoth();
  static void Unlock(RobustMutex& mutex) { static_cast<void>(mutex.Unlock()); }
  // Also where what the caller does with a message throws.
  class Unlocker {
   public:
    explicit Unlocker(RobustMutex& mutex) : mutex_(mutex) {}
    ~Unlocker() { Unlock(mutex_); }
    Unlocker(const Unlocker&) = delete;
    Unlocker& operator=(const Unlocker&) = delete;

   private:
    RobustMutex& mutex_;
  };

  // By who has the lock to put: where the head of a message that takes `units` is to be, or why
  // there is no room. The message is there when Commit() returns.
  Result Room(uint32_t units, QueueEnd& tail, QueueRing*& ring);
  Result RoomSlow(uint32_t units, QueueEnd& tail, QueueRing*& ring);
  Result MayPut(size_t messages, QueueEnd tail, QueueEnd& head);
  bool Holds(size_t more, QueueEnd tail, QueueEnd head) const;
  size_t BytesBetween(QueueEnd head, QueueEnd tail) const;
  void NoteRoom(QueueEnd head, QueueEnd tail, const QueueRing& ring);
  void NoteNoRoom(QueueEnd tail);
  void CountBlock(size_t size);
  bool Grow(uint32_t capacity, QueueEnd tail, QueueRing& ring);
  void Link(QueueRing& ring, QueueRing& next, QueueRing& last);
  static void FreeFrom(QueueRing* ring);
  void Commit(QueueEnd tail, uint32_t units) {
    CommitTail({.messages = tail.messages + 1, .position = tail.position + units});
  }
  void CommitTail(QueueEnd tail);
  // Before it, or before CommitHead(): who sleeps now is to be woken after the unlock. Taken back
  // then, it would also be taken from one that is about to sleep, and has seen this change already.
  void OweWake(Word& sleeps) {
    if (sleeps.load(std::memory_order_relaxed) == 0) [[likely]]
      return;
    sleeps.store(0, std::memory_order_relaxed);
    owes_wake_ = true;
  }
  // Before it: who waits by descriptor is called. False: kNoDescriptor.
  bool Call() { return state_.put_bell.load(std::memory_order_relaxed) == 0 || RingForMessage(); }
  // By who has the lock to get: the message at `head`, or why there is none.
  Result Next(QueueEnd& head, QueueRing*& ring);
  Result NextSlow(QueueEnd head);
  QueueRing* Follow(QueueRing* ring, QueueEnd head);
  void CommitHead(QueueEnd head);
  void CommitDrop(QueueEnd head);
  static Block BlockAt(const uint64_t* place);
  // A block of the queue's is this process's by `commit`.
  template <typename Commit>
  static void MakeOwn(const Block& block, const Commit& commit) {
    PrepareToOwn(block);
    commit();
    // From there on it was a stray one (Q3).
    Own(block);
  }
  static void PrepareToOwn(const Block& block);
  static void Own(const Block& block);
  Block TakeBlock(const uint64_t* place, QueueEnd behind);
  void TakeAll();

  bool RingForMessage();
  void RingForRoom(QueueEnd head);
  void FreeStray();
  void FreeAllStray();
  void RepairPut();

 private:
  QueueState& state_;
  const Bell* const bell_;
  bool owes_wake_ = false;
  uint32_t streak_ = 0;  // messages since it was empty, when it was last found so here
};

// By who puts ----------------------------------------------------------------------------------

inline MessageRings::Result MessageRings::Room(uint32_t units, QueueEnd& tail, QueueRing*& ring) {
  tail = QueueEnd::Of(state_.tail.load(std::memory_order_relaxed));
  ring = reinterpret_cast<QueueRing*>(state_.put_ring.load(std::memory_order_relaxed));
  const QueueEnd room = QueueEnd::Of(state_.room.load(std::memory_order_relaxed));
  const bool simple = state_.shut.load(std::memory_order_relaxed) == 0 &&
                      (state_.limit == 0 || tail.messages - room.messages < state_.limit) &&
                      ring->UnitsBehind(tail.position) >= units &&
                      static_cast<int32_t>(room.position - tail.position - units) >= 0;
  return simple ? Result::kDone : RoomSlow(units, tail, ring);
}

inline void MessageRings::CommitTail(QueueEnd tail) {
  OweWake(state_.get_sleeps);
  // Before: there is no such message; its bytes are scratch (Q1).
  // After:  it is there, though nobody was woken: who comes to get it sees it, who sleeps is woken
  //         by the burial, for the word has changed, or has heard the bell.
  // Test:   QueueCrashTest.APutIsAllOrNothing
  state_.tail.store(tail.word(), std::memory_order_release);
}

template <typename Write>
MessageRings::Result MessageRings::TryPut(size_t size, const Write& write,
                                          const timespec* deadline) {
  if (!LockToPut(deadline)) return Result::kBusy;
  const Unlocker unlocker(state_.put);
  const MessageHead message{MessageHead::Kind::kBytes, size};
  const uint32_t units = message.units();
  QueueEnd tail;
  QueueRing* ring;
  const Result result = Room(units, tail, ring);
  if (result == Result::kDone && !Call()) [[unlikely]]
    return Result::kNoDescriptor;
  if (result == Result::kDone) {
    uint64_t* const place = ring->At(tail.position);
    *place = message.unit();
    if constexpr (std::is_void_v<std::invoke_result_t<const Write&, void*>>) {
      write(static_cast<void*>(place + 1));
    } else if (const Result wrote = write(static_cast<void*>(place + 1)); wrote != Result::kDone) {
      return wrote;
    }
    Commit(tail, units);
  }
  return result;
}

// By who gets ----------------------------------------------------------------------------------

inline void MessageRings::CommitHead(QueueEnd head) {
  if (state_.get_bell.load(std::memory_order_relaxed) != 0) [[unlikely]]
    RingForRoom(head);
  OweWake(state_.put_sleeps);
  // Before: the message is there, for whoever comes.
  // After:  it is this process's, and dies with it. Who waits to put is woken by the burial, for
  //         the word has changed, or has heard the bell.
  // Test:   QueueCrashTest.AGetIsAllOrNothing
  state_.head.store(head.word(), std::memory_order_release);
}

inline MessageRings::Result MessageRings::Next(QueueEnd& head, QueueRing*& ring) {
  const uint32_t added = QueueEnd::Of(state_.added.load(std::memory_order_relaxed)).messages;
  const bool drops = (state_.shut.load(std::memory_order_relaxed) & QueueState::kDropped) != 0;
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

template <typename Accept, typename Read, typename Take>
MessageRings::Result MessageRings::TryGetIf(const Accept& accept, const Read& read,
                                            const Take& take, const timespec* deadline) {
  if (!LockToGet(deadline)) return Result::kBusy;
  const Unlocker unlocker(state_.get);
  QueueEnd head = QueueEnd::Of(state_.head.load(std::memory_order_relaxed));
  QueueRing* ring;
  const Result result = Next(head, ring);
  if (result == Result::kDone) {
    const uint64_t* const place = ring->At(head.position);
    const MessageHead message = MessageHead::Of(*place);
    const QueueEnd behind = {.messages = head.messages + 1,
                             .position = head.position + message.units()};
    if (message.kind == MessageHead::Kind::kBytes) {
      const void* const bytes = place + 1;
      if (!accept(bytes, message.size)) return Result::kRefused;
      read(bytes, message.size);
      CommitHead(behind);
    } else {
      if (!accept(static_cast<const void*>(BytesOf(BlockAt(place))), message.size)) {
        return Result::kRefused;
      }
      take(TakeBlock(place, behind));
    }
  }
  return result;
}

template <typename Read, typename Take>
MessageRings::Result MessageRings::TryGetMany(size_t most, size_t& count, const Read& read,
                                              const Take& take, const timespec* deadline) {
  count = 0;
  if (!LockToGet(deadline)) return Result::kBusy;
  const Unlocker unlocker(state_.get);
  QueueEnd head = QueueEnd::Of(state_.head.load(std::memory_order_relaxed));
  Result result = Result::kDone;
  while (count < most) {
    // A ring is freed when all of it has been taken, so that is to be true by then.
    const auto* const last =
        reinterpret_cast<QueueRing*>(state_.get_ring.load(std::memory_order_relaxed));
    if (count != 0 && last->next.load(std::memory_order_acquire) != 0) CommitHead(head);
    QueueEnd at = head;
    QueueRing* ring;
    result = Next(at, ring);
    if (result != Result::kDone) break;
    const uint64_t* const place = ring->At(at.position);
    const MessageHead message = MessageHead::Of(*place);
    head = {.messages = at.messages + 1, .position = at.position + message.units()};
    if (message.kind == MessageHead::Kind::kBytes) {
      read(static_cast<const void*>(place + 1), message.size);
    } else {
      take(TakeBlock(place, head));
    }
    ++count;
  }
  if (count != 0) {
    CommitHead(head);
    result = Result::kDone;
  }
  return result;
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_MESSAGE_RINGS_H_
