#include "mp/internal/fork_request.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/fd.h"
#include "mp/internal/child_order.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/sending_end.h"
#include "mp/internal/server_reply.h"

namespace mp {

absl::Status Codec<internal::ForkRequest>::Encode(const internal::ForkRequest& request,
                                                  Encoder& encoder) {
  encoder.Put(request.reply);  // first: of a request that is refused it is all that is looked at
  absl::Status status = internal::SendingEnd::Encode(request.server->requests, encoder);
  if (!status.ok()) return status;
  encoder.Put(request.order);
  return absl::OkStatus();
}

internal::ForkRequest Codec<internal::ForkRequest>::Decode(Decoder& decoder) {
  internal::ForkRequest request;
  request.reply = decoder.Get<Fd>();
  try {
    absl::StatusOr<internal::SendingEnd> requests = internal::SendingEnd::Decode(decoder);
    if (!requests.ok()) decoder.Fail(requests.status());
    request.requests = *std::move(requests);
    request.order = decoder.Get<internal::ChildOrder>();
  } catch (const internal::CodecError& error) {
    internal::ServerReply::SendFailure(request.reply.get(), error.status);
    // Not kResourceExhausted: that would say that it is still there.
    decoder.Fail(absl::InvalidArgumentError(error.status.message()));
  }
  return request;
}

}  // namespace mp
