#include "mp/internal/sending_end.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/channel.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/encoder_access.h"
#include "mp/internal/end.h"

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

}  // namespace mp::internal
