// ForkRequest: what the fork server is asked for.

#ifndef MP_MP_INTERNAL_FORK_REQUEST_H_
#define MP_MP_INTERNAL_FORK_REQUEST_H_

#include <memory>
#include <type_traits>

#include "absl/status/status.h"
#include "mp/codec.h"
#include "mp/fd.h"
#include "mp/internal/child_order.h"
#include "mp/internal/forkserver_client.h"
#include "mp/internal/sending_end.h"

namespace mp::internal {

struct ForkRequest {
  Fd reply = {};  // a socket, for server_reply.h
  // The server that is asked, which the child is to know, too: as who asks has it, and what the
  // server gets of that.
  std::shared_ptr<ForkserverClient> server = nullptr;
  SendingEnd requests = {};
  ChildOrder order = {};  // without a server
};

}  // namespace mp::internal

namespace mp {

template <>
struct TravelsOnlyThroughConnection<internal::ForkRequest> : std::true_type {};

// Who asks is told by the reply what could not be decoded.
template <>
struct Codec<internal::ForkRequest> {
  static absl::Status Encode(const internal::ForkRequest& request, Encoder& encoder);
  static internal::ForkRequest Decode(Decoder& decoder);
};

}  // namespace mp

#endif  // MP_MP_INTERNAL_FORK_REQUEST_H_
