#include "mp/pipe.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/channel.h"
#include "mp/internal/channel_state.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/end.h"
#include "mp/internal/message_rings.h"
#include "shared/internal/handle.h"
#include "shared/internal/object.h"

namespace mp {
namespace {

using internal::ChannelReader;
using internal::ChannelState;
using internal::ChannelWriter;
using internal::Descriptor;
using internal::End;

absl::StatusOr<ChannelState*> MakeState(const PipeOptions& options) {
  bool has_memory = true;
  absl::StatusOr<ChannelState*> state = internal::MakeObject<ChannelState>(
      internal::ObjectType::kPipe, options.name, [&](ChannelState& made) {
        has_memory =
            internal::MessageRings::Init(made, /*limit=*/0, std::max<size_t>(options.capacity, 1));
        made.read_turn.Init(/*recursive=*/false);
        made.write_turn.Init(/*recursive=*/false);
        made.closes.store(0, std::memory_order_relaxed);
        made.by_descriptor.store(0, std::memory_order_relaxed);
        made.packets_sent.store(0, std::memory_order_relaxed);
        made.packets_gone.store(0, std::memory_order_relaxed);
      });
  if (!state.ok() || has_memory) return state;
  internal::FreeCell(*state);
  return absl::ResourceExhaustedError("Pipe: no memory for its first messages");
}

struct Channel {
  ChannelReader reader;
  ChannelWriter writer;
};

absl::StatusOr<Channel> MakeChannel(const PipeOptions& options) {
  absl::StatusOr<std::pair<Descriptor, Descriptor>> sides = Descriptor::Pair(SOCK_STREAM);
  if (!sides.ok()) return sides.status();
  absl::StatusOr<std::pair<Descriptor, Descriptor>> packets = Descriptor::Pair(SOCK_SEQPACKET);
  if (!packets.ok()) return packets.status();
  const absl::StatusOr<ChannelState*> state = MakeState(options);
  if (!state.ok()) return state.status();
  const internal::Handle<ChannelState> handle(*state);
  return Channel{ChannelReader(handle, std::move(sides->first), std::move(packets->first)),
                 ChannelWriter(handle, std::move(sides->second), std::move(packets->second))};
}

}  // namespace

absl::StatusOr<std::pair<Connection, Connection>> CreatePipe(const PipeOptions& options) {
  absl::StatusOr<Channel> there = MakeChannel(options);
  if (!there.ok()) return there.status();
  std::optional<ChannelWriter> back_writer;
  std::optional<ChannelReader> back_reader;
  const std::string what = there->reader.state().Describe();
  if (options.duplex) {
    absl::StatusOr<Channel> back = MakeChannel(options);
    if (!back.ok()) return back.status();
    back_writer.emplace(std::move(back->writer));
    back_reader.emplace(std::move(back->reader));
  }
  return std::pair(
      Connection(std::make_shared<End>(what, std::move(there->reader), std::move(back_writer))),
      Connection(std::make_shared<End>(what, std::move(back_reader), std::move(there->writer))));
}

std::pair<Connection, Connection> Pipe(bool duplex) {
  absl::StatusOr<std::pair<Connection, Connection>> made = CreatePipe({.duplex = duplex});
  if (!made.ok()) {
    internal::CannotMake(internal::ObjectType::kPipe, sizeof(ChannelState), "", made.status());
  }
  return *std::move(made);
}

}  // namespace mp
