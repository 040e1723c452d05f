#include "mp/connection.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/internal/descriptor_packets.h"
#include "mp/internal/end.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/message_type.h"

namespace mp {

using internal::End;
using internal::MessageRings;

absl::Status Codec<Connection>::Encode(const Connection& connection, Encoder& encoder) {
  return End::Encode(connection.end_, encoder);
}

absl::StatusOr<Connection> Codec<Connection>::Decode(Decoder& decoder) {
  absl::StatusOr<std::shared_ptr<End>> end = End::Decode(decoder);
  if (!end.ok()) return end.status();
  return Connection(*std::move(end));
}

absl::Status Connection::Receive(uint64_t type, internal::Received& received,
                                 internal::DescriptorList& descriptors,
                                 absl::Duration timeout) const {
  auto accept = [](size_t) { return absl::OkStatus(); };
  auto read = [&](const void* bytes, size_t size) { received.Read(bytes, size); };
  auto take = [&](const MessageRings::Block& block) { received.Take(block); };
  return end_->Get({type, accept, read, take, &descriptors}, timeout);
}

absl::Status Connection::SendBytes(std::string_view bytes, size_t offset,
                                   std::optional<size_t> size, absl::Duration timeout) const {
  if (offset > bytes.size() || size.value_or(0) > bytes.size() - offset) {
    return absl::InvalidArgumentError(
        absl::StrCat(end_->what(), ": ", size.value_or(0), " bytes from ", offset,
                     " on are not within the ", bytes.size(), " bytes that are there"));
  }
  const std::string_view part = bytes.substr(offset, size.value_or(bytes.npos));
  auto write = [part](void* place) {
    if (!part.empty()) std::memcpy(place, part.data(), part.size());
  };
  return end_->Put(internal::kPlainBytes, part.size(), write, timeout);
}

absl::StatusOr<std::string> Connection::RecvBytes(size_t max_length, absl::Duration timeout) const {
  auto accept = [&](size_t size) {
    if (size <= max_length) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(end_->what(), ": the next message has ", size,
                                                   " bytes, not at most ", max_length,
                                                   "; it is still there"));
  };
  std::string received;
  auto read = [&](const void* bytes, size_t size) {
    received.assign(static_cast<const char*>(bytes) + End::kTypeSize, size - End::kTypeSize);
  };
  internal::Received long_one;
  auto take = [&](const MessageRings::Block& block) { long_one.Take(block); };
  const absl::Status status = end_->Get({internal::kPlainBytes, accept, read, take}, timeout);
  if (!status.ok()) return status;
  if (long_one.in_block()) received.assign(long_one.bytes().substr(End::kTypeSize));
  return received;
}

absl::StatusOr<size_t> Connection::RecvBytesInto(absl::Span<char> to, size_t offset,
                                                 absl::Duration timeout) const {
  if (offset > to.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        end_->what(), ": offset ", offset, " is not within the ", to.size(), " bytes of room"));
  }
  const absl::Span<char> room = to.subspan(offset);
  auto accept = [&](size_t size) {
    if (size <= room.size()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(end_->what(), ": the next message needs ", size,
                                                   " bytes, and there are ", room.size(),
                                                   "; it is still there"));
  };
  size_t received = 0;
  auto copy = [&](const void* bytes, size_t size) {
    received = size - End::kTypeSize;
    if (received != 0) {
      std::memcpy(room.data(), static_cast<const char*>(bytes) + End::kTypeSize, received);
    }
  };
  internal::Received long_one;
  auto take = [&](const MessageRings::Block& block) { long_one.Take(block); };
  const absl::Status status = end_->Get({internal::kPlainBytes, accept, copy, take}, timeout);
  if (!status.ok()) return status;
  if (long_one.in_block()) copy(long_one.bytes().data(), long_one.bytes().size());
  return received;
}

}  // namespace mp
