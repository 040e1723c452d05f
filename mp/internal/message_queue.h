// MessageQueue: a queue of bytes between processes: MessageRings, and waiting by futex.
//
//   MessageQueue queue(state);
//   queue.Put(size, [&](void* place) { memcpy(place, bytes, size); }, deadline);
//   queue.Get([&](const void* bytes, size_t size) { ... }, [&](const Block& block) { ... },
//             deadline);
//
// Death: as MessageRings. Nobody is left asleep beside what it waits for: who was woken, and dies
//        before it has it, passes that on.
// Cost:  no system call where nobody sleeps.

#ifndef MP_MP_INTERNAL_MESSAGE_QUEUE_H_
#define MP_MP_INTERNAL_MESSAGE_QUEUE_H_

#include <time.h>

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/queue_bell.h"
#include "mp/internal/queue_state.h"
#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"

namespace mp::internal {

class MessageQueue {
 public:
  using Result = MessageRings::Result;
  using Block = MessageRings::Block;
  using Outgoing = MessageRings::Outgoing;

  static constexpr size_t kMostInRing = MessageRings::kMostInRing;

  explicit MessageQueue(QueueState& state) : rings_(state, &kQueueBell) {}

  [[nodiscard]] static bool Init(QueueState& state, uint64_t limit) {
    return MessageRings::Init(state, limit);
  }

  // As those of MessageRings, but that they wait until `deadline`: kBusy then.
  template <typename Write>
  Result Put(size_t size, const Write& write, const timespec* deadline) {
    return Do(QueueEvent::kGet, 1, deadline, [&] { return rings_.TryPut(size, write, deadline); });
  }
  Result PutBlock(const Block& block, const timespec* deadline) {
    return Do(QueueEvent::kGet, 1, deadline, [&] { return rings_.TryPutBlock(block, deadline); });
  }
  Result PutMany(size_t count, absl::FunctionRef<Outgoing(size_t index)> message,
                 const timespec* deadline) {
    return Do(QueueEvent::kGet, count, deadline,
              [&] { return rings_.TryPutMany(count, message, deadline); });
  }
  template <typename Read, typename Take>
  Result Get(const Read& read, const Take& take, const timespec* deadline) {
    return Do(QueueEvent::kPut, 1, deadline, [&] { return rings_.TryGet(read, take, deadline); });
  }
  // One at least.
  template <typename Read, typename Take>
  Result GetMany(size_t most, size_t& count, const Read& read, const Take& take,
                 const timespec* deadline) {
    return Do(QueueEvent::kPut, most, deadline,
              [&] { return rings_.TryGetMany(most, count, read, take, deadline); });
  }

  void Shut(bool drop);

  // Of a queue whose `head` changes by a book (joinable_state.h): after that, without the locks.
  void WakeAfter(QueueEvent event, size_t count) {
    if (SleepsFor(event).load(std::memory_order_relaxed) == 0) [[likely]]
      return;
    SleepsFor(event).store(0, std::memory_order_relaxed);
    Wake(event, count);
  }

 private:
  // `try_it`, until it has another result than kBusy; it waits for `event`, and is such an event of
  // the other kind for `count` others.
  template <typename Try>
  Result Do(QueueEvent event, size_t count, const timespec* deadline, const Try& try_it) {
    auto try_with_memory = [&] { return MessageRings::WithMemory(try_it); };
    Result result = try_with_memory();
    if (result == Result::kBusy) [[unlikely]]
      result = WaitFor(event, deadline, try_with_memory);
    const QueueEvent other = event == QueueEvent::kPut ? QueueEvent::kGet : QueueEvent::kPut;
    // The unlock was an instruction that no load passes: who sleeps since then has said so before,
    // and is seen here, or sees what has changed. [A] with [B]
    if (rings_.owes_wake() || SleepsFor(other).load(std::memory_order_relaxed) != 0) [[unlikely]]
      Wake(other, count);
    rings_.Tidy();
    return result;
  }
  Result WaitFor(QueueEvent event, const timespec* deadline, absl::FunctionRef<Result()> try_it);

  QueueState& state() const { return rings_.state(); }
  // Changes with each.
  FutexWord& WordOf(QueueEvent event) {
    return event == QueueEvent::kPut ? state().puts() : state().gets();
  }
  // 1: somebody may sleep on that.
  Word& SleepsFor(QueueEvent event) {
    return event == QueueEvent::kPut ? state().get_sleeps : state().put_sleeps;
  }

  void Wake(QueueEvent event, size_t count);
  void PassOn(QueueEvent event);

  MessageRings rings_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_MESSAGE_QUEUE_H_
