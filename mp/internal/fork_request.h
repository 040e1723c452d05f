// ForkRequest: what the fork server is asked for.

#ifndef MP_MP_INTERNAL_FORK_REQUEST_H_
#define MP_MP_INTERNAL_FORK_REQUEST_H_

#include <type_traits>

#include "mp/codec.h"
#include "mp/fd.h"
#include "mp/internal/child_order.h"

namespace mp::internal {

struct ForkRequest {
  Fd reply = {};  // a socket, for server_reply.h
  ChildOrder order = {};
};

}  // namespace mp::internal

namespace mp {

template <>
struct TravelsOnlyThroughConnection<internal::ForkRequest> : std::true_type {};

// Who asks is told by the reply what could not be decoded.
template <>
struct Codec<internal::ForkRequest> {
  static void Encode(const internal::ForkRequest& request, Encoder& encoder);
  static internal::ForkRequest Decode(Decoder& decoder);
};

}  // namespace mp

#endif  // MP_MP_INTERNAL_FORK_REQUEST_H_
