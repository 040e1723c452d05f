#include "mp/internal/child_order.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/connection.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/encoder_access.h"
#include "mp/internal/forkserver_client.h"
#include "mp/internal/self.h"
#include "mp/internal/sentinel.h"
#include "mp/internal/surroundings.h"
#include "mp/internal/target.h"
#include "mp/internal/who.h"

namespace mp {
namespace {

void EncodeSentinel(const std::shared_ptr<const internal::Sentinel>& sentinel, Encoder& encoder) {
  internal::EncoderAccess::PutDescriptor(encoder, sentinel->fd(), sentinel);
}

std::shared_ptr<const internal::Sentinel> DecodeSentinel(Decoder& decoder) {
  absl::StatusOr<internal::Sentinel> sentinel =
      internal::Sentinel::Take(internal::DecoderAccess::GetDescriptor(decoder));
  if (!sentinel.ok()) decoder.Fail(sentinel.status());
  return std::make_shared<const internal::Sentinel>(*std::move(sentinel));
}

void EncodeSelf(const internal::Self& self, Encoder& encoder) {
  encoder.Put(self.name);
  encoder.Put(self.place);
  encoder.Put(self.daemon);
  encoder.Put(self.start_method);
  encoder.Put(self.on_parent_exit);
  encoder.Put(self.parent->pid);
  encoder.Put(self.parent->name);
  encoder.Put(self.parent->daemon);
  EncodeSentinel(self.parent->sentinel, encoder);
}

internal::Self DecodeSelf(Decoder& decoder) {
  internal::Self self;
  self.name = decoder.Get<std::string>();
  self.place = decoder.Get<internal::Place>();
  self.daemon = decoder.Get<bool>();
  self.start_method = decoder.Get<StartMethod>();
  self.on_parent_exit = decoder.Get<OnParentExit>();
  internal::Who parent;
  parent.pid = decoder.Get<pid_t>();
  parent.name = decoder.Get<std::string>();
  parent.daemon = decoder.Get<bool>();
  parent.sentinel = DecodeSentinel(decoder);
  self.parent = std::move(parent);
  return self;
}

}  // namespace

void Codec<internal::ChildOrder>::Encode(const internal::ChildOrder& order, Encoder& encoder) {
  EncodeSelf(order.self, encoder);
  encoder.Put(order.folder);
  encoder.Put(order.ignored_signals);
  encoder.Put(order.server != nullptr);
  if (order.server != nullptr) {
    encoder.Put(order.server->requests);
    EncodeSentinel(order.server->sentinel, encoder);
  }
  order.target->Encode(encoder);
  encoder.Put(order.open_output.has_value());
  if (order.open_output.has_value()) internal::EncodeSurroundings(*order.open_output, encoder);
}

internal::ChildOrder Codec<internal::ChildOrder>::Decode(Decoder& decoder) {
  internal::ChildOrder order;
  order.self = DecodeSelf(decoder);
  order.folder = decoder.Get<std::string>();
  order.ignored_signals = decoder.Get<uint64_t>();
  if (decoder.Get<bool>()) {
    auto requests = decoder.Get<Connection>();
    order.server = std::make_shared<internal::ForkserverClient>(
        internal::ForkserverClient{std::move(requests), DecodeSentinel(decoder)});
  }
  order.target = internal::DecodeTarget(decoder);
  if (decoder.Get<bool>()) {
    order.target = internal::DecodeSurroundings(decoder, std::move(order.target));
  }
  return order;
}

}  // namespace mp
