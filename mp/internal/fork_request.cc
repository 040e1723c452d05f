#include "mp/internal/fork_request.h"

#include "mp/codec.h"
#include "mp/fd.h"
#include "mp/internal/child_order.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/server_reply.h"

namespace mp {

void Codec<internal::ForkRequest>::Encode(const internal::ForkRequest& request, Encoder& encoder) {
  encoder.Put(request.reply);
  encoder.Put(request.order);
}

internal::ForkRequest Codec<internal::ForkRequest>::Decode(Decoder& decoder) {
  internal::ForkRequest request;
  request.reply = decoder.Get<Fd>();
  try {
    request.order = decoder.Get<internal::ChildOrder>();
  } catch (const internal::CodecError& error) {
    internal::ServerReply::SendFailure(request.reply.get(), error.status);
    throw;
  }
  return request;
}

}  // namespace mp
