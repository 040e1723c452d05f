// End: an end of a pipe, as this process has it: what copies of a Connection share.
//
// A message is the type's hash (message_type.h), and its bytes; and the number of its packet, if it
// has descriptors (kHasDescriptors). `timeout` is of the whole call.

#ifndef MP_MP_INTERNAL_END_H_
#define MP_MP_INTERNAL_END_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/decoder.h"
#include "mp/encoder.h"
#include "mp/internal/channel.h"
#include "mp/internal/descriptor_packets.h"
#include "mp/internal/end_life.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/wait_source.h"

namespace mp::internal {

class End final : public WaitSource {
 public:
  // `what`: it, for messages.
  End(std::string what, std::optional<ChannelReader> reader, std::optional<ChannelWriter> writer)
      : what_(std::move(what)),
        readable_(reader.has_value()),
        writable_(writer.has_value()),
        reader_(std::move(reader)),
        writer_(std::move(writer)) {}
  ~End() override { Close(); }
  End(const End&) = delete;
  End& operator=(const End&) = delete;

  static constexpr size_t kTypeSize = sizeof(uint64_t);

  // `write` writes `size` bytes behind the type.
  absl::Status Put(uint64_t type, size_t size, absl::FunctionRef<void(void* place)> write,
                   absl::Duration timeout);
  // What the encoder has begins with the type. It is added to.
  absl::Status PutEncoded(Encoder& encoder, absl::Duration timeout);

  // `accept` gets a message without its type; `read` and `take` get it with its type. A message of
  // another type, or that `accept` has a status for, stays, and that is returned.
  struct Receiver {
    uint64_t type;
    absl::FunctionRef<absl::Status(size_t size)> accept;
    absl::FunctionRef<void(const void* bytes, size_t size)> read;
    absl::FunctionRef<void(const MessageRings::Block& block)> take;
    DescriptorList* descriptors = nullptr;  // that came with it; not for kPlainBytes
  };
  // Of a message, as read and taken: without its type, and the number of its packet.
  static std::string_view ValueIn(std::string_view message);
  absl::Status Get(const Receiver& receiver, absl::Duration timeout);

  // Whether Get() would not wait: for a message, or the end.
  absl::StatusOr<bool> Poll(absl::Duration timeout);
  absl::StatusOr<int> Door();
  absl::StatusOr<int> BeginWait() override;
  void EndWait() override;
  absl::StatusOr<bool> IsReady() override;

  void Close();
  bool closed() const { return life_.closed(); }
  bool readable() const { return readable_ && !closed(); }
  bool writable() const { return writable_ && !closed(); }

  const std::string& what() const { return what_; }

  // As a part of a message of a Connection: its descriptors, and the states of its channels.
  static absl::Status Encode(const std::shared_ptr<End>& end, Encoder& encoder);
  static absl::StatusOr<std::shared_ptr<End>> Decode(Decoder& decoder);

 private:
  class Work;

  absl::Status MayWork(const Work& work, bool able, const char* what) const;
  absl::StatusOr<bool> Look(const timespec* deadline) const;
  absl::Status StatusOf(ChannelSide::Result result) const;
  void CloseNow();
  void CloseDescriptors();
  static void CloseInChild();

  friend struct EndForkHandlers;
  friend class SendingEnd;

  const std::string what_;
  const bool readable_;
  const bool writable_;
  EndLife life_;
  std::optional<ChannelReader> reader_;
  std::optional<ChannelWriter> writer_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_END_H_
