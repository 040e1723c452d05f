#include "mp/internal/end.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/internal/channel.h"
#include "mp/internal/channel_state.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/descriptor_packets.h"
#include "mp/internal/encoder_access.h"
#include "mp/internal/message_type.h"
#include "mp/internal/queue_calls.h"
#include "mp/type_name.h"
#include "shared/domain.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/handle.h"

namespace mp::internal {

using Result = ChannelSide::Result;

// While it lives, and is ok(), the descriptors stay open.
class End::Work {
 public:
  explicit Work(End& end) : end_(end), ok_(end.life_.Enter()) {}
  ~Work() {
    if (ok_ && end_.life_.Leave()) end_.CloseNow();
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  bool ok() const { return ok_; }

 private:
  End& end_;
  const bool ok_;
};

absl::Status End::MayWork(const Work& work, bool able, const char* what) const {
  if (!work.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(what_, " is closed in this process"));
  }
  if (able) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(what_, what));
}

absl::Status End::StatusOf(Result result) const {
  switch (result) {
    case Result::kDone:
      return absl::OkStatus();
    case Result::kLate:
      return LateStatus(absl::StrCat(what_, ": not in time"));
    case Result::kClosed:
      return absl::FailedPreconditionError(absl::StrCat(what_, " was closed in this process"));
    case Result::kNoMemory:
      return absl::ResourceExhaustedError(
          absl::StrCat(what_, ": no memory for another message: see MP_COMMIT_LIMIT"));
    case Result::kNoDescriptor:
      return absl::ResourceExhaustedError(
          absl::StrCat(what_, ": too many descriptors are on their way: see RLIMIT_NOFILE"));
    default:
      return absl::InternalError(what_);
  }
}

// To send --------------------------------------------------------------------------------------

namespace {

absl::Status NobodyReads(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": nobody is left to read from it"));
}

}  // namespace

absl::Status End::Put(uint64_t type, size_t size, absl::FunctionRef<void(void* place)> write,
                      absl::Duration timeout) {
  const Work work(*this);
  absl::Status status = MayWork(work, writable_, " is for receiving only");
  if (!status.ok()) return status;
  const QueueDeadline deadline(timeout);
  const size_t all = kTypeSize + size;
  auto write_all = [&](void* place) {
    std::memcpy(place, &type, kTypeSize);
    write(static_cast<char*>(place) + kTypeSize);
  };
  Result result;
  if (all <= MessageRings::kMostInRing) {
    result = writer_->Put(all, write_all, life_, deadline.get());
  } else {
    const absl::StatusOr<void*> place = Domain::Current()->Allocate(all);
    if (!place.ok()) return place.status();
    write_all(*place);
    const MessageRings::Block block = {*place, all, MessageHead::Kind::kBlock};
    result = writer_->PutBlock(block, life_, deadline.get());
    if (result != Result::kDone) MessageRings::FreeBlock(block);
  }
  return result == Result::kOver ? NobodyReads(what_) : StatusOf(result);
}

absl::Status End::PutEncoded(Encoder& encoder, absl::Duration timeout) {
  const Work work(*this);
  absl::Status status = MayWork(work, writable_, " is for receiving only");
  if (!status.ok()) return status;
  const QueueDeadline deadline(timeout);
  const absl::Span<const int> fds = encoder.descriptors();
  auto mark = [&](void* bytes) {
    if (fds.empty()) return;
    uint64_t type;
    std::memcpy(&type, bytes, kTypeSize);
    type |= kHasDescriptors;
    std::memcpy(bytes, &type, kTypeSize);
  };
  // Their packet has a number when it is sent.
  constexpr uint64_t kNoNumber = 0;
  if (!fds.empty()) encoder.PutBytes(&kNoNumber, sizeof(kNoNumber));
  Result result;
  if (!Sent::NeedsBlock(encoder)) {
    auto write = [&](void* place) {
      encoder.CopyTo(place);
      mark(place);
    };
    result = writer_->Put(encoder.size(), write, life_, deadline.get(), fds);
  } else {
    Sent sent;
    status = sent.Load(encoder, writer_->state());
    if (!status.ok()) return status;
    mark(const_cast<char*>(MessageRings::BytesOf(sent.block())));
    result = writer_->PutBlock(sent.block(), life_, deadline.get(), fds);
    if (result == Result::kDone) sent.HasQueue();
  }
  if (result == Result::kRefused) {
    return absl::InvalidArgumentError(absl::StrCat(what_, ": a descriptor that is not open"));
  }
  return result == Result::kOver ? NobodyReads(what_) : StatusOf(result);
}

// To receive -----------------------------------------------------------------------------------

absl::Status End::Get(const Receiver& receiver, absl::Duration timeout) {
  const Work work(*this);
  absl::Status status = MayWork(work, readable_, " is for sending only");
  if (!status.ok()) return status;
  const QueueDeadline deadline(timeout);
  uint64_t type = 0;
  uint64_t packet = 0;  // has descriptors; 0: there is none
  absl::Status refusal;
  auto accept = [&](const void* bytes, size_t size) {
    if (size < kTypeSize) return false;
    std::memcpy(&type, bytes, kTypeSize);
    const bool has_packet = (type & kHasDescriptors) != 0 && receiver.descriptors != nullptr;
    type &= ~kHasDescriptors;
    if (type != receiver.type) return false;
    refusal = receiver.accept(size - kTypeSize);
    if (refusal.ok() && has_packet && size >= kTypeSize + sizeof(packet)) {
      std::memcpy(&packet, static_cast<const char*>(bytes) + size - sizeof(packet), sizeof(packet));
      if (reader_->PeekPacket(packet, *receiver.descriptors) == DescriptorsPeeked::kNoRoom) {
        refusal = absl::ResourceExhaustedError(
            absl::StrCat(what_,
                         ": not enough descriptors are left for those of the next message: "
                         "see RLIMIT_NOFILE; it is still there"));
      }
    }
    return refusal.ok();
  };
  const Result result = reader_->Get({accept, receiver.read, receiver.take}, life_, deadline.get());
  if (result == Result::kDone && packet != 0) reader_->DropPacket(packet);
  if (result == Result::kOver) {
    return absl::OutOfRangeError(
        absl::StrCat(what_, ": nobody is left to send to it, and nothing is left in it"));
  }
  if (result != Result::kRefused) return StatusOf(result);
  if (!refusal.ok()) return refusal;
  return absl::InvalidArgumentError(
      absl::StrCat(what_, ": the next message is of type ", MessageType::NameOf(type), ", not ",
                   MessageType::NameOf(receiver.type), "; it is still there"));
}

std::string_view End::ValueIn(std::string_view message) {
  uint64_t type;
  std::memcpy(&type, message.data(), kTypeSize);
  message.remove_prefix(kTypeSize);
  if ((type & kHasDescriptors) != 0) {
    message.remove_suffix(std::min(message.size(), sizeof(uint64_t)));
  }
  return message;
}

absl::StatusOr<bool> End::Poll(absl::Duration timeout) {
  const Work work(*this);
  const absl::Status status = MayWork(work, readable_, " is for sending only");
  if (!status.ok()) return status;
  absl::StatusOr<bool> ready = Look(QueueDeadline(timeout).get());
  if (ready.ok() && !*ready && CancelScope::Cancelled()) return StatusOf(Result::kLate);
  return ready;
}

// By who works.
absl::StatusOr<bool> End::Look(const timespec* deadline) const {
  const Result result = reader_->Look(life_, deadline);
  if (result == Result::kDone || result == Result::kOver) return true;
  if (result == Result::kLate) return false;
  return StatusOf(result);
}

absl::StatusOr<int> End::Door() {
  const Work work(*this);
  const absl::Status status = MayWork(work, readable_, " is for sending only");
  if (!status.ok()) return status;
  return reader_->Door();
}

absl::StatusOr<int> End::BeginWait() {
  const Work work(*this);
  const absl::Status status = MayWork(work, readable_, " is for sending only");
  if (!status.ok()) return status;
  absl::StatusOr<int> door = reader_->Door();
  // What has entered it once more stays until EndWait(); it may be closed by now.
  if (door.ok() && !life_.Enter()) return StatusOf(Result::kClosed);
  return door;
}

void End::EndWait() {
  if (life_.Leave()) CloseNow();
}

absl::StatusOr<bool> End::IsReady() {
  if (closed()) return StatusOf(Result::kClosed);
  return Look(QueueDeadline(absl::ZeroDuration()).get());
}

// To close -------------------------------------------------------------------------------------

namespace {

// Those that are closed here, while others are at work with them. The mutex is held across a fork:
// so a child has all descriptors of an end that is open, and closes those of one that is in here;
// nobody else in it would.
constinit std::mutex closing_mutex;
constinit std::vector<End*>* closing = nullptr;  // under it; never destroyed

}  // namespace

struct EndForkHandlers {
  [[gnu::constructor(101)]] static void Register() {
    pthread_atfork([] { closing_mutex.lock(); }, [] { closing_mutex.unlock(); },
                   [] {
                     End::CloseInChild();
                     closing_mutex.unlock();
                   });
  }
};

void End::CloseInChild() {
  if (closing == nullptr) return;
  for (End* const end : *closing) end->CloseDescriptors();
  closing->clear();
}

void End::Close() {
  {
    const std::lock_guard lock(closing_mutex);
    const EndLife::Closing how = life_.Close();
    if (how == EndLife::Closing::kLater) {
      if (closing == nullptr) closing = new std::vector<End*>;
      closing->push_back(this);
    }
    if (how != EndLife::Closing::kNow) return;
    CloseDescriptors();
  }
  reader_.reset();
  writer_.reset();
}

// By who left it as the last one.
void End::CloseNow() {
  {
    const std::lock_guard lock(closing_mutex);
    std::erase(*closing, this);
    CloseDescriptors();
  }
  reader_.reset();
  writer_.reset();
}

// Under the mutex; what else there is, is no part of what a fork copies.
void End::CloseDescriptors() {
  if (reader_.has_value()) reader_->CloseDescriptors();
  if (writer_.has_value()) writer_->CloseDescriptors();
}

// As a part of a message -----------------------------------------------------------------------

namespace {

constexpr uint64_t kReads = 1;
constexpr uint64_t kWrites = 2;

struct SideParts {
  Handle<ChannelState> state;
  Descriptor descriptor;
  Descriptor packets;
};

void EncodeSide(const ChannelSide& side, const std::shared_ptr<const void>& owner,
                Encoder& encoder) {
  EncoderAccess::PutHandle(encoder, side.handle().get(), TypeHash<ChannelState>(), owner);
  EncoderAccess::PutDescriptor(encoder, side.fd(), owner);
  EncoderAccess::PutDescriptor(encoder, side.packets_fd(), owner);
}

absl::StatusOr<SideParts> DecodeSide(Decoder& decoder) {
  const DecoderAccess::PlacedHandle placed =
      DecoderAccess::GetHandle(decoder, TypeHash<ChannelState>());
  Handle<ChannelState> state(placed.word, static_cast<ChannelState*>(placed.object));
  absl::StatusOr<Descriptor> first =
      Descriptor::Own(DecoderAccess::GetDescriptor(decoder), "recvmsg");
  if (!first.ok()) return first.status();
  absl::StatusOr<Descriptor> second =
      Descriptor::Own(DecoderAccess::GetDescriptor(decoder), "recvmsg");
  if (!second.ok()) return second.status();
  return SideParts{state, *std::move(first), *std::move(second)};
}

}  // namespace

absl::Status End::Encode(const std::shared_ptr<End>& end, Encoder& encoder) {
  if (!end->life_.Enter()) {
    return absl::FailedPreconditionError(absl::StrCat(end->what_, " is closed in this process"));
  }
  // Until the encoder ends they stay open, and their states are there.
  const std::shared_ptr<const void> owner(static_cast<const void*>(end.get()),
                                          [end](const void*) { end->EndWait(); });
  encoder.PutNumber((end->readable_ ? kReads : 0) | (end->writable_ ? kWrites : 0));
  if (end->readable_) EncodeSide(*end->reader_, owner, encoder);
  if (end->writable_) EncodeSide(*end->writer_, owner, encoder);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<End>> End::Decode(Decoder& decoder) {
  const uint64_t sides = decoder.GetNumber();
  if (sides == 0 || (sides & ~(kReads | kWrites)) != 0) decoder.Fail("no end of a pipe");
  std::optional<ChannelReader> reader;
  std::optional<ChannelWriter> writer;
  std::string what;
  if ((sides & kReads) != 0) {
    absl::StatusOr<SideParts> parts = DecodeSide(decoder);
    if (!parts.ok()) return parts.status();
    what = parts->state->Describe();
    reader.emplace(std::move(parts->state), std::move(parts->descriptor),
                   std::move(parts->packets));
  }
  if ((sides & kWrites) != 0) {
    absl::StatusOr<SideParts> parts = DecodeSide(decoder);
    if (!parts.ok()) return parts.status();
    if (what.empty()) what = parts->state->Describe();
    writer.emplace(std::move(parts->state), std::move(parts->descriptor),
                   std::move(parts->packets));
  }
  return std::make_shared<End>(what, std::move(reader), std::move(writer));
}

}  // namespace mp::internal
