// QueueValues: how the values of a Queue<T> become messages, and are made of them again.

#ifndef MP_MP_INTERNAL_QUEUE_VALUES_H_
#define MP_MP_INTERNAL_QUEUE_VALUES_H_

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mp/codec.h"
#include "mp/internal/message_queue.h"
#include "mp/internal/queue_calls.h"
#include "mp/internal/queue_state.h"
#include "mp/loan.h"
#include "shared/shared.h"

namespace mp::internal {

template <class T>
class QueueValues {
 public:
  static absl::Status Put(QueueState& state, const T& value, const timespec* deadline) {
    if constexpr (kIsSmall) {
      return QueueCalls::AfterPut(
          MessageQueue(state).Put(
              sizeof(T), [&](void* place) { std::memcpy(place, &value, sizeof(T)); }, deadline),
          state);
    } else if constexpr (kIsBytes) {
      absl::StatusOr<LoanBlock> block =
          LoanBlock::Make(sizeof(T), alignof(T), MessageHead::Kind::kBlock);
      if (!block.ok()) return block.status();
      std::memcpy(block->place(), &value, sizeof(T));
      return PutLoan(state, *block, deadline);
    } else {
      Encoder encoder;
      if (const absl::Status status = Encode(value, encoder); !status.ok()) return status;
      return QueueCalls::Put(state, encoder, deadline);
    }
  }

  static absl::StatusOr<T> Get(QueueState& state, const timespec* deadline) {
    if constexpr (kIsBytes) {
      return GetByBytes(state, deadline);
    } else {
      Received received;
      if (const absl::Status status = QueueCalls::Get(state, received, deadline); !status.ok()) {
        return status;
      }
      return Of(received);
    }
  }

  static absl::Status PutMany(QueueState& state, absl::Span<const T> values,
                              const timespec* deadline) {
    using Outgoing = MessageRings::Outgoing;
    if constexpr (kIsSmall) {
      return QueueCalls::PutMany(
          state, values.size(),
          [&](size_t index) {
            return Outgoing{MessageHead::Kind::kBytes, sizeof(T), &values[index]};
          },
          deadline);
    } else {
      std::vector<Outgoing> messages;
      messages.reserve(values.size());
      std::deque<std::unique_ptr<char[]>> bytes;
      std::deque<Sent> blocks;
      for (const T& value : values) {
        Encoder encoder;
        if (absl::Status status = Encode(value, encoder); !status.ok()) return status;
        if (Sent::NeedsBlock(encoder)) {
          const absl::Status status = blocks.emplace_back().Load(encoder, state);
          if (!status.ok()) return status;
          const MessageRings::Block& block = blocks.back().block();
          messages.push_back({block.kind, block.size, block.address});
        } else {
          bytes.push_back(std::make_unique_for_overwrite<char[]>(encoder.size()));
          encoder.CopyTo(bytes.back().get());
          messages.push_back({MessageHead::Kind::kBytes, encoder.size(), bytes.back().get()});
        }
      }
      const absl::Status status = QueueCalls::PutMany(
          state, messages.size(), [&](size_t index) { return messages[index]; }, deadline);
      if (status.ok()) {
        for (Sent& sent : blocks) sent.HasQueue();
      }
      return status;
    }
  }

  static absl::StatusOr<std::vector<T>> GetMany(QueueState& state, size_t most,
                                                const timespec* deadline) {
    std::vector<T> values;
    if (most == 0) return values;
    if constexpr (kIsBytes) {
      values.reserve(std::min<size_t>(most, state.Size()));
      auto take = [&values](const T& bytes) { values.push_back(bytes); };
      const MessageQueue::Result result = GetManyBytes(state, most, take, deadline);
      if (result != MessageQueue::Result::kDone) return QueueCalls::GetFailed(result, state);
      for (const T& value : values) {
        if (!BytesAreValue(value)) return NoValue();
      }
      return values;
    }
    std::vector<std::unique_ptr<Received>> received;
    if (const absl::Status status = QueueCalls::GetMany(state, most, received, deadline);
        !status.ok()) {
      return status;
    }
    values.reserve(received.size());
    for (std::unique_ptr<Received>& message : received) {
      absl::StatusOr<T> value = Of(*message);
      if (!value.ok()) return value.status();
      values.push_back(*std::move(value));
      message.reset();
    }
    return values;
  }

  static absl::StatusOr<T> Of(const Received& received) {
    if constexpr (kHasElements<T>) {
      if (received.kind() == MessageHead::Kind::kRaw) {
        using Element = typename T::value_type;
        const auto* const begin = reinterpret_cast<const Element*>(received.bytes().data());
        return T(begin, begin + received.bytes().size() / sizeof(Element));
      }
    }
    if constexpr (kAllocates<T>) {
      if (received.kind() == MessageHead::Kind::kObject) {
        const absl::StatusOr<Shared<T>> shared = SharedOf(received);
        if (!shared.ok()) return shared.status();
        return **shared;
      }
    }
    Decoder decoder(received.bytes(), received.handles());
    return Decode<T>(decoder);
  }
  static absl::StatusOr<Shared<T>> SharedOf(const Received& received) {
    Decoder decoder(received.bytes(), received.handles());
    return Decode<Shared<T>>(decoder);
  }
  static absl::Status PutShared(QueueState& state, const Shared<T>& shared,
                                const timespec* deadline) {
    Encoder encoder;
    if (absl::Status status = Encode(shared, encoder); !status.ok()) return status;
    return QueueCalls::Put(state, encoder, deadline, MessageHead::Kind::kObject);
  }

  // Of a block that stays where it is.
  static absl::StatusOr<T> OfBlock(const MessageRings::Block& block) {
    Received received;
    const absl::Cleanup release = [&] { static_cast<void>(received.ReleaseBlock()); };
    received.Take(block);
    return Of(received);
  }

  static absl::StatusOr<LoanBlock> GetLoan(QueueState& state, const timespec* deadline) {
    if constexpr (kFixedSize<T> != 0) {
      LoanBlock loan;
      const MessageQueue::Result result = MessageQueue(state).Get(
          [&](const void* place, size_t) {
            auto copy = std::make_shared_for_overwrite<Raw>();
            std::memcpy(copy.get(), place, sizeof(T));
            void* const at = copy.get();
            loan = LoanBlock(std::move(copy), at, sizeof(T));
          },
          [&](const MessageRings::Block& block) { loan = LoanBlock(block); }, deadline);
      if (result != MessageQueue::Result::kDone) return QueueCalls::GetFailed(result, state);
      return loan;
    } else {
      Received received;
      if (const absl::Status status = QueueCalls::Get(state, received, deadline); !status.ok()) {
        return status;
      }
      if (received.kind() == MessageHead::Kind::kRaw) return LoanBlock(received.ReleaseBlock());
      absl::StatusOr<T> value = Of(received);
      if (!value.ok()) return value.status();
      const auto copy = std::make_shared<T>(*std::move(value));
      return LoanBlock(copy, copy->data(), copy->size() * sizeof(typename T::value_type));
    }
  }

  static absl::Status NotToPut() {
    return absl::FailedPreconditionError(
        "a loan can be put once, by the process that has borrowed or got it");
  }
  // kFailedPrecondition: it is nobody's to put.
  static absl::Status PutLoan(QueueState& state, LoanBlock& loan, const timespec* deadline) {
    if (loan.place() == nullptr || loan.IsInert()) return NotToPut();
    absl::Status status;
    if (loan.IsBlock()) {
      status = QueueCalls::PutBlock(state, loan.block(), deadline);
    } else if constexpr (kFixedSize<T> != 0) {
      status = Put(state, *static_cast<const T*>(loan.place()), deadline);
    } else {
      const auto* const begin = static_cast<const typename T::value_type*>(loan.place());
      status = Put(state, T(begin, begin + loan.size() / sizeof(*begin)), deadline);
    }
    if (status.ok()) loan.Forget();
    return status;
  }

 private:
  static constexpr bool kIsBytes = kFixedSize<T> != 0;
  // It goes through the ring as it is.
  static constexpr bool kIsSmall = kIsBytes && sizeof(T) <= MessageRings::kMostInRing;

  struct alignas(T) Raw {
    std::byte bytes[sizeof(T)];
  };

  // Hands the bytes of a message to `take`, as those of a T.
  template <class Take>
  static auto Reader(const Take& take) {
    return [&take](const void* place, size_t) {
      if constexpr (alignof(T) <= QueueRing::kUnit) {
        take(*static_cast<const T*>(place));
      } else {
        Raw raw;
        std::memcpy(&raw, place, sizeof(T));
        take(*reinterpret_cast<const T*>(&raw));
      }
    };
  }
  template <class Take>
  static auto Taker(const Take& take) {
    return [&take](const MessageRings::Block& block) {
      const LoanBlock taken(block);  // also where `take` throws
      take(*static_cast<const T*>(block.address));
    };
  }
  template <class Take>
  static MessageQueue::Result GetBytes(QueueState& state, const Take& take,
                                       const timespec* deadline) {
    if constexpr (kIsSmall) {
      return MessageQueue(state).Get(Reader(take), Taker(take), deadline);
    } else {
      // Without the lock.
      LoanBlock taken;
      const MessageQueue::Result result = MessageQueue(state).Get(
          [](const void*, size_t) {},
          [&taken](const MessageRings::Block& block) { taken = LoanBlock(block); }, deadline);
      if (result == MessageQueue::Result::kDone) take(*static_cast<const T*>(taken.place()));
      return result;
    }
  }
  template <class Take>
  static MessageQueue::Result GetManyBytes(QueueState& state, size_t most, const Take& take,
                                           const timespec* deadline) {
    size_t count;
    if constexpr (kIsSmall) {
      return MessageQueue(state).GetMany(most, count, Reader(take), Taker(take), deadline);
    } else {
      // Without the lock, as in GetBytes().
      std::vector<LoanBlock> taken;
      const MessageQueue::Result result = MessageQueue(state).GetMany(
          most, count, [](const void*, size_t) {},
          [&taken](const MessageRings::Block& block) { taken.emplace_back(block); }, deadline);
      for (LoanBlock& block : taken) {
        take(*static_cast<const T*>(block.place()));
        block = LoanBlock();
      }
      return result;
    }
  }

  // One variable, and one way out: so the value is made where the caller has it.
  static absl::StatusOr<T> GetByBytes(QueueState& state, const timespec* deadline) {
    absl::StatusOr<T> value;
    auto take = [&value](const T& bytes) { value.emplace(bytes); };
    const MessageQueue::Result result = GetBytes(state, take, deadline);
    if (result != MessageQueue::Result::kDone) {
      value = QueueCalls::GetFailed(result, state);
    } else if (!BytesAreValue(*value)) {
      value = NoValue();
    }
    return value;
  }

  static absl::Status NoValue() {
    return absl::DataLossError(
        absl::StrCat(TypeName<T>(), ": bytes that are no value: a bool is 0 or 1"));
  }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_QUEUE_VALUES_H_
