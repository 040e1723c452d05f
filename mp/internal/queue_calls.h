// QueueCalls: what the queues of a T have in common, whatever a T is: their states are made, filled
// with encoded values, closed and shut down.

#ifndef MP_MP_INTERNAL_QUEUE_CALLS_H_
#define MP_MP_INTERNAL_QUEUE_CALLS_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/encoder.h"
#include "mp/internal/message_queue.h"
#include "mp/internal/queue_state.h"
#include "shared/internal/atomic.h"
#include "shared/internal/deadline.h"
#include "shared/internal/object_type.h"

namespace mp::internal {

// When a call is to be over: computed where it may matter.
class QueueDeadline {
 public:
  explicit QueueDeadline(absl::Duration timeout) {
    if (timeout == absl::InfiniteDuration()) {
      get_ = nullptr;
    } else if (timeout > absl::ZeroDuration()) {
      time_ = MonotonicDeadline(timeout);
    }
  }
  QueueDeadline(const QueueDeadline&) = delete;
  QueueDeadline& operator=(const QueueDeadline&) = delete;

  const timespec* get() const { return get_; }

 private:
  timespec time_ = {};  // is past
  const timespec* get_ = &time_;
};

// A message that has been got.
class Received {
 public:
  Received() = default;
  ~Received() { Free(); }
  Received(const Received&) = delete;
  Received& operator=(const Received&) = delete;

  std::string_view bytes() const { return bytes_; }
  // Of its cargo.
  absl::Span<const Word> handles() const;
  // As it came; where it came in a block.
  MessageHead::Kind kind() const { return block_.kind; }
  bool in_block() const { return block_.address != nullptr; }
  // The block is the caller's, to be freed by MessageRings::FreeBlock().
  MessageRings::Block ReleaseBlock();

  void Read(const void* place, size_t size);
  void Take(const MessageRings::Block& block);

 private:
  static constexpr size_t kInline = 512;

  void Free();

  std::string_view bytes_;
  MessageRings::Block block_ = {nullptr, 0, MessageHead::Kind::kBytes};
  std::unique_ptr<char[]> heap_;
  char inline_[kInline];
};

// A message that is to be put: what an encoder has, in a block where that has to be. The block is
// given back at the end of this, unless the queue has it.
class Sent {
 public:
  Sent() = default;
  ~Sent() {
    if (block_.address != nullptr) MessageRings::FreeBlock(block_);
  }
  Sent(Sent&& other) noexcept : block_(other.block_) { other.block_.address = nullptr; }
  Sent(const Sent&) = delete;
  Sent& operator=(const Sent&) = delete;

  static bool NeedsBlock(const Encoder& encoder) {
    return encoder.size() > MessageRings::kMostInRing || !encoder.handles().empty();
  }
  // kResourceExhausted: no memory. Then `holder`, which is to have it, has been told of that.
  absl::Status Load(const Encoder& encoder, ObjectHeader& holder,
                    MessageHead::Kind with_cargo = MessageHead::Kind::kCargo);
  const MessageRings::Block& block() const { return block_; }
  void HasQueue() { block_.address = nullptr; }

 private:
  MessageRings::Block block_ = {nullptr, 0, MessageHead::Kind::kBytes};
};

// For messages whose block is to be gone when a call is over, one way or another.
class QueueCalls {
 public:
  using Result = MessageRings::Result;

  static absl::StatusOr<QueueState*> Make(size_t maxsize, std::string_view name,
                                          ObjectType type = ObjectType::kQueue);
  static QueueState* MakeOrDie(size_t maxsize, std::string_view name,
                               ObjectType type = ObjectType::kQueue);
  // What a maxsize is to a state: what is counted is less than that.
  static uint64_t LimitFor(size_t maxsize) {
    constexpr size_t kMost = std::numeric_limits<int32_t>::max();
    return maxsize < kMost ? maxsize : 0;
  }

  static absl::Status Put(QueueState& state, const Encoder& encoder, const timespec* deadline,
                          MessageHead::Kind with_cargo = MessageHead::Kind::kCargo);
  static absl::Status PutBlock(QueueState& state, const MessageRings::Block& block,
                               const timespec* deadline);
  static absl::Status PutMany(QueueState& state, size_t count,
                              absl::FunctionRef<MessageRings::Outgoing(size_t index)> message,
                              const timespec* deadline);
  static absl::Status Get(QueueState& state, Received& received, const timespec* deadline);
  static absl::Status GetMany(QueueState& state, size_t most,
                              std::vector<std::unique_ptr<Received>>& received,
                              const timespec* deadline);

  // What became of it, to who puts or gets.
  static absl::Status AfterPut(Result result, const QueueState& state) {
    return result == Result::kDone ? absl::OkStatus() : PutFailed(result, state);
  }
  static absl::Status AfterGet(Result result, const QueueState& state) {
    return result == Result::kDone ? absl::OkStatus() : GetFailed(result, state);
  }
  [[gnu::cold]] static absl::Status PutFailed(Result result, const QueueState& state);
  [[gnu::cold]] static absl::Status GetFailed(Result result, const QueueState& state);

  // kFailedPrecondition: this process has closed it.
  static absl::Status CheckOpen(const QueueState& state) {
    return MayBeClosed(state) ? LookIfOpen(state) : absl::OkStatus();
  }
  // True of those that are closed, and of one in 64 others for each of them.
  static bool MayBeClosed(const QueueState& state) {
    return (closed_.load(std::memory_order_relaxed) & MarkOf(&state)) != 0;
  }
  static void Close(const QueueState& state);
  static void Shutdown(QueueState& state, bool immediate);

  static bool Full(QueueState& state) { return state.limit != 0 && state.Size() >= state.limit; }

 private:
  // A bit, by its place.
  static uint64_t MarkOf(const QueueState* state) {
    // Fibonacci hashing.
    return uint64_t{1} << (reinterpret_cast<uint64_t>(state) * 0x9e3779b97f4a7c15 >> 58);
  }
  [[gnu::cold]] static absl::Status LookIfOpen(const QueueState& state);

  // The marks of all that this process has closed.
  static inline constinit Atomic<uint64_t> closed_{0};
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_QUEUE_CALLS_H_
