#include "mp/internal/sending_end.h"

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/channel.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/encoder_access.h"
#include "mp/internal/end.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/queue_calls.h"
#include "mp/internal/rights.h"

namespace mp::internal {
namespace {

absl::Status IsClosed(const End& end) {
  return absl::FailedPreconditionError(absl::StrCat(end.what(), " is closed in this process"));
}

absl::StatusOr<Descriptor> Next(Decoder& decoder) {
  return Descriptor::Own(DecoderAccess::GetDescriptor(decoder), "recvmsg");
}

}  // namespace

absl::Status SendingEnd::Encode(const Connection& sending, Encoder& encoder) {
  const std::shared_ptr<End>& end = sending.end_;
  if (!end->life_.Enter()) return IsClosed(*end);
  // Until the encoder ends they stay open.
  const std::shared_ptr<const void> owner(static_cast<const void*>(end.get()),
                                          [end](const void*) { end->EndWait(); });
  EncoderAccess::PutDescriptor(encoder, end->writer_->fd(), owner);
  EncoderAccess::PutDescriptor(encoder, end->writer_->packets_fd(), owner);
  return absl::OkStatus();
}

absl::StatusOr<SendingEnd> SendingEnd::Decode(Decoder& decoder) {
  absl::StatusOr<Descriptor> door = Next(decoder);
  if (!door.ok()) return door.status();
  absl::StatusOr<Descriptor> packets = Next(decoder);
  if (!packets.ok()) return packets.status();
  SendingEnd sending;
  sending.door_ = *std::move(door);
  sending.packets_ = *std::move(packets);
  return sending;
}

absl::StatusOr<Connection> SendingEnd::Join(const Connection& receiving, SendingEnd sending) {
  End& end = *receiving.end_;
  if (!end.life_.Enter()) return IsClosed(end);
  const absl::Cleanup leave = [&end] { end.EndWait(); };
  std::optional<ChannelWriter> writer;
  writer.emplace(end.reader_->handle(), std::move(sending.door_), std::move(sending.packets_));
  return Connection(std::make_shared<End>(end.what(), std::nullopt, std::move(writer)));
}

absl::StatusOr<Descriptor> SendingEnd::TakeFirstDescriptor(const Connection& receiving) {
  End& end = *receiving.end_;
  if (!end.life_.Enter()) return IsClosed(end);
  const absl::Cleanup leave = [&end] { end.EndWait(); };
  const ChannelReader& reader = *end.reader_;
  const absl::Status none = absl::ResourceExhaustedError(
      absl::StrCat(end.what(), ": no descriptor is left for the first of the next message"));
  uint64_t number = 0;
  int fd = -1;
  // Who tried to receive it has dropped what came before its packet.
  const Rights rights = ReceiveWithRights(reader.packets_fd(), &number, sizeof(number), {&fd, 1},
                                          MSG_PEEK | MSG_DONTWAIT);
  if (rights.count == 0) return none;
  absl::StatusOr<Descriptor> first = Descriptor::Own(fd, "recvmsg");
  if (!first.ok()) return none;
  Received rest;
  auto accept = [&](const void* bytes, size_t size) {
    uint64_t packet;
    if (size < sizeof(packet)) return false;
    std::memcpy(&packet, static_cast<const char*>(bytes) + size - sizeof(packet), sizeof(packet));
    return packet == number;
  };
  auto read = [](const void*, size_t) {};
  auto take = [&](const MessageRings::Block& block) { rest.Take(block); };
  const QueueDeadline at_once(absl::ZeroDuration());
  if (reader.Get({accept, read, take}, end.life_, at_once.get()) != ChannelSide::Result::kDone) {
    return none;
  }
  reader.DropPacket(number);
  return first;
}

}  // namespace mp::internal
