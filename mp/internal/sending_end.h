// SendingEnd: of a pipe, as a part of a message that goes through this very pipe: its descriptors
// alone. Who receives it has a handle to the pipe, and makes a Connection of both.
//
// As what it is, a Connection, it would be a handle in the message: when nobody is left to receive
// it, the message would keep the pipe, and that the message, for ever.

#ifndef MP_MP_INTERNAL_SENDING_END_H_
#define MP_MP_INTERNAL_SENDING_END_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/connection.h"
#include "mp/decoder.h"
#include "mp/encoder.h"
#include "mp/internal/descriptor.h"

namespace mp::internal {

class SendingEnd {
 public:
  SendingEnd() = default;

  // kFailedPrecondition: it is closed.
  static absl::Status Encode(const Connection& sending, Encoder& encoder);
  static absl::StatusOr<SendingEnd> Decode(Decoder& decoder);

  // `receiving` is the other end of the same pipe. kFailedPrecondition: it is closed.
  static absl::StatusOr<Connection> Join(const Connection& receiving, SendingEnd sending);

  // For who has not enough descriptors to receive the next message, which has some, where nobody
  // else receives: takes it out of the pipe, and of what is in it the first of them alone.
  // kResourceExhausted: there is none even for that, and the message is still there.
  static absl::StatusOr<Descriptor> TakeFirstDescriptor(const Connection& receiving);

 private:
  Descriptor door_;
  Descriptor packets_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_SENDING_END_H_
