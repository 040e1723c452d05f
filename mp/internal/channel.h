// Channel: one direction of a pipe, as this process has it: ChannelReader and ChannelWriter, each
// with its descriptor. Messages go through MessageRings.
//
//   ChannelReader reader(state, descriptor);
//   reader.Get(accept, received, life, deadline);
//
// Who waits spins a little, then takes its turn, a lock of the channel. Who has it arms the bell
// and sleeps in poll(2), until a token comes or nobody has the other side any more; who has not
// sleeps on the lock, and looks now and then. When the one that sleeps dies, the next one gets its
// turn, and begins anew.
//
// Threads: from any number, and from any process that has the descriptor.
// Cost:    in a stream no system call; a message to one that sleeps takes three or four.

#ifndef MP_MP_INTERNAL_CHANNEL_H_
#define MP_MP_INTERNAL_CHANNEL_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/internal/channel_state.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/descriptor_packets.h"
#include "mp/internal/end_life.h"
#include "mp/internal/message_rings.h"
#include "shared/internal/atomic.h"
#include "shared/internal/handle.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

// A side of it. `deadline`s are on CLOCK_MONOTONIC; nullptr: never; in the past: what can be done
// at once. `life`: the caller has entered it, and is to leave when it is closed.
class ChannelSide {
 public:
  enum class Result {
    kDone,
    kLate,
    kOver,    // nobody has the other side any more; and there is nothing left to get
    kClosed,  // here, meanwhile
    kNoMemory,
    kRefused,
    kNoDescriptor,  // too many are on their way
  };

  ChannelState& state() const { return *state_; }
  const Handle<ChannelState>& handle() const { return state_; }
  int fd() const { return descriptor_.fd(); }
  // Where the packets with descriptors go.
  int packets_fd() const { return packets_.fd(); }

  void CloseDescriptors() {
    descriptor_ = Descriptor();
    packets_ = Descriptor();
  }

 protected:
  using Attempt = MessageRings::Result;

  // What waiting is for one of the sides.
  struct Waiting {
    absl::FunctionRef<Attempt()> attempt;
    absl::FunctionRef<bool()> may_go;
    absl::FunctionRef<MessageRings::Armed()> arm;
    RobustMutex& turn;
    bool is_over_at_once;  // when nobody has the other side, whatever may be there
  };

  ChannelSide(Handle<ChannelState> state, Descriptor descriptor, Descriptor packets)
      : state_(std::move(state)),
        descriptor_(std::move(descriptor)),
        packets_(std::move(packets)) {}

  bool IsOver() const;
  // Other bytes than tokens do not come.
  void TakeTokens() const;
  // After an attempt that was in vain.
  Result Wait(const Waiting& waiting, const EndLife& life, const timespec* deadline) const;

 private:
  Result WaitInTurn(const Waiting& waiting, const EndLife& life, const timespec* deadline) const;
  enum class Woken { kByToken, kByEnd, kLate };
  Woken Sleep(const EndLife& life, const timespec* deadline) const;

  Handle<ChannelState> state_;
  Descriptor descriptor_;
  Descriptor packets_;
};

class ChannelReader : public ChannelSide {
 public:
  // What becomes of a message.
  struct Receiver {
    absl::FunctionRef<bool(const void* bytes, size_t size)> accept;
    absl::FunctionRef<void(const void* bytes, size_t size)> read;
    absl::FunctionRef<void(const MessageRings::Block& block)> take;
  };

  ChannelReader(Handle<ChannelState> state, Descriptor descriptor, Descriptor packets)
      : ChannelSide(std::move(state), std::move(descriptor), std::move(packets)) {}
  ChannelReader(ChannelReader&& other) noexcept
      : ChannelSide(std::move(other)), door_(other.door_.exchange(nullptr)) {}
  ~ChannelReader();

  Result Get(const Receiver& receiver, const EndLife& life, const timespec* deadline) const;
  // In `accept`: those that belong to the message that has this number.
  DescriptorsPeeked PeekPacket(uint64_t number, DescriptorList& list) const {
    return PeekDescriptors(packets_fd(), number, list);
  }
  // When it was got: nobody needs its packet any more.
  void DropPacket(uint64_t number) const;
  // kDone: there is a message.
  Result Look(const EndLife& life, const timespec* deadline) const;

  // Readable where there is a message, or nobody has the other side any more; and sometimes in
  // vain. For a fork's child, too.
  absl::StatusOr<int> Door();

  // Tells who writes, first. Hides that of ChannelSide.
  void CloseDescriptors();

 private:
  // What is to be waited for by others' means.
  struct DoorState {
    Descriptor epoll;  // of the two
    Descriptor event;  // there may be messages that were there before there was a door
  };

  Result Await(MessageRings& rings, absl::FunctionRef<Attempt()> attempt, const EndLife& life,
               const timespec* deadline) const;
  MessageRings::Armed Arm(MessageRings& rings, const timespec* deadline) const;
  void ArmForOthers(MessageRings& rings) const;
  void DropStrayPackets(MessageRings& rings) const;

  Atomic<DoorState*> door_{nullptr};
};

class ChannelWriter : public ChannelSide {
 public:
  ChannelWriter(Handle<ChannelState> state, Descriptor descriptor, Descriptor packets)
      : ChannelSide(std::move(state), std::move(descriptor), std::move(packets)) {
    taken_.store(this->state().gets().load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  ChannelWriter(ChannelWriter&& other) noexcept : ChannelSide(std::move(other)) {}

  // As those of MessageRings. kOver: nobody will read it. With `fds`, the last 8 bytes of the
  // message are overwritten with the number of their packet; kRefused: one of them is not open.
  Result Put(size_t size, absl::FunctionRef<void(void* place)> write, const EndLife& life,
             const timespec* deadline, absl::Span<const int> fds = {}) const;
  Result PutBlock(const MessageRings::Block& block, const EndLife& life, const timespec* deadline,
                  absl::Span<const int> fds = {}) const;

 private:
  Result Do(MessageRings& rings, size_t size, absl::FunctionRef<Attempt()> attempt,
            const EndLife& life, const timespec* deadline, bool sends_packet) const;
  bool NobodyReads() const;
  Attempt SendPacket(absl::Span<const int> fds, char* number_at) const;
  bool HasRoomForPacket() const;

  // Of the channel, when this process last looked; a hint.
  mutable Atomic<uint32_t> taken_{0};
  mutable Atomic<uint64_t> closes_{0};
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CHANNEL_H_
