// Connection: an end of a pipe (mp/pipe.h). Copies in one process are one end.
//
//   auto [mine, its] = mp::Pipe();
//   mp::Process child([its = its] {
//     absl::StatusOr<std::string> word = its.Recv<std::string>();
//     mp::OrDie(its.Send(word->size()));
//   });
//   mp::OrDie(child.Start());
//   its.Close();                                 // or this process would wait for itself
//   mp::OrDie(mine.Send("hello"));
//   size_t size = mp::OrDie(mine.Recv<size_t>());
//
// A message is a value of a type, or bytes; it arrives whole, whatever its size, and of no bytes,
// too. What can be sent: mp/codec.h. What is received must be of the type that was sent.
//
// Descriptors (mp/fd.h) can be sent, too, and Connections, also as parts of other values, up to 253
// descriptors in a message. A Connection arrives as one of the receiver's, to the same end of the
// same pipe; the sender keeps its own, and closes it if it is not to be shared:
//
//   mp::OrDie(mine.Send(end));
//   end.Close();
//   ...
//   mp::Connection end = mp::OrDie(its.Recv<mp::Connection>());
//
// As long as the message is in the pipe, its descriptors are open: nobody learns of an end that is
// on its way to somebody. Who sends an end into its own pipe, and nobody receives it, leaves the
// memory of that pipe until the end of the family.
//
// Ordering: what was done before a Send() is visible to who receives it. Messages come in the order
//           in which they were sent.
// Death:    a message is sent whole or not at all, and once it is received it is the receiver's,
//           and goes with it. Nobody who waits is left asleep. When all processes that have the
//           other end have died or closed it, what is left can be received, and then it is the end:
//           Recv() is kOutOfRange, and Send() kUnavailable. (The first Send() after the last reader
//           was killed may still succeed, if that one has received something since the Send()
//           before. What nobody receives is lost, as in any pipe.)
//           What a process killed in the middle of Send() or Recv() leaves of descriptors is closed
//           when somebody receives, or waits for, the next message; at the latest with the pipe.
// Fork:     a child has all ends that its parent has, and each process has to close those that are
//           not for it, or nobody learns of the end. Processes may share one end: each message goes
//           to one of them.
// Threads:  any number may use one end at once. Close() wakes those that wait in it.
// Signals:  not in a signal handler. A wait goes on after one (mp/cancellation.h ends it), and no
//           SIGPIPE comes.
// Errors:   kDeadlineExceeded: not in time. kOutOfRange: the end. kUnavailable: nobody is left to
//           read what is sent. kFailedPrecondition: closed in this process, or not for that
//           direction. kInvalidArgument: the value cannot be sent; the message is of another type
//           or too long, and stays. kResourceExhausted: no memory, no descriptors: in Recv() the
//           message stays, in Send() as many are on their way as the system allows. kDataLoss: the
//           bytes are no T; they are gone.
// Cost:     for each direction two descriptors, two more from fileno() on, and 3 KiB of the domain
//           when it is empty. No system call while both sides are busy. Figures in
//           docs/benchmarks.md.

#ifndef MP_MP_CONNECTION_H_
#define MP_MP_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/codec.h"
#include "mp/internal/descriptor_packets.h"
#include "mp/internal/end.h"
#include "mp/internal/message_type.h"
#include "mp/internal/queue_calls.h"
#include "mp/internal/via.h"

namespace mp {

class Connection;
struct PipeOptions;

namespace internal {
class SendingEnd;
}

template <>
struct TravelsOnlyThroughConnection<Connection> : std::true_type {};

template <>
struct Codec<Connection> {
  static absl::Status Encode(const Connection& connection, Encoder& encoder);
  static absl::StatusOr<Connection> Decode(Decoder& decoder);
};

class Connection {
 public:
  // Waits for room: see PipeOptions. With descriptors, also while some 200 such messages are there,
  // which is what a socket holds. Zero or less tries once.
  template <class T>
  absl::Status Send(const T& value, absl::Duration timeout = absl::InfiniteDuration()) const;
  // Arrives as a std::string.
  absl::Status Send(const char* text, absl::Duration timeout = absl::InfiniteDuration()) const {
    return Send(std::string(text), timeout);
  }
  // Waits for a message. Zero or less tries once.
  template <class T>
  absl::StatusOr<T> Recv(absl::Duration timeout = absl::InfiniteDuration()) const;

  // Of `bytes` those from `offset` on, `size` of them or all. kInvalidArgument: there are not as
  // many.
  absl::Status SendBytes(std::string_view bytes, size_t offset = 0, std::optional<size_t> size = {},
                         absl::Duration timeout = absl::InfiniteDuration()) const;
  // kInvalidArgument: it has more than `max_length` bytes, and stays.
  absl::StatusOr<std::string> RecvBytes(size_t max_length = std::string::npos,
                                        absl::Duration timeout = absl::InfiniteDuration()) const;
  absl::StatusOr<std::string> RecvBytes(absl::Duration timeout) const {
    return RecvBytes(std::string::npos, timeout);
  }
  // To `to`, from `offset` on; returns how many. kInvalidArgument: there is no room for so many, as
  // the message says; it stays.
  absl::StatusOr<size_t> RecvBytesInto(absl::Span<char> to, size_t offset = 0,
                                       absl::Duration timeout = absl::InfiniteDuration()) const;

  // Whether there is a message, or the end, in time.
  absl::StatusOr<bool> Poll(absl::Duration timeout = absl::ZeroDuration()) const {
    return end_->Poll(timeout);
  }
  // A descriptor that is readable where there is a message, or the end; for poll(2) and the like,
  // not to be read from or closed. It is also when a sender was killed, and others may be faster:
  // so call Recv(absl::ZeroDuration()). From the first call on, by whomever, each message that
  // comes when there is none costs system calls, and the waiting is safe: a sender that is killed
  // leaves nobody asleep beside a message.
  absl::StatusOr<int> fileno() const { return end_->Door(); }

  // For this process, all its copies and threads. May be called again.
  void Close() const { end_->Close(); }
  bool closed() const { return end_->closed(); }
  // For what it is, and not closed.
  bool readable() const { return end_->readable(); }
  bool writable() const { return end_->writable(); }

 private:
  friend class Waitable;
  friend class internal::SendingEnd;
  friend struct Codec<Connection>;
  friend absl::StatusOr<std::pair<Connection, Connection>> CreatePipe(const PipeOptions& options);

  explicit Connection(std::shared_ptr<internal::End> end) : end_(std::move(end)) {}

  absl::Status Receive(uint64_t type, internal::Received& received,
                       internal::DescriptorList& descriptors, absl::Duration timeout) const;

  std::shared_ptr<internal::End> end_;
};

template <class T>
absl::Status Connection::Send(const T& value, absl::Duration timeout) const {
  static_assert(MustBeEncodable<T, Via::kConnection>());
  const uint64_t type = internal::MessageType::Of<T>();
  if constexpr (kFixedSize<T> != 0) {
    return end_->Put(
        type, sizeof(T), [&](void* place) { std::memcpy(place, &value, sizeof(T)); }, timeout);
  } else {
    Encoder encoder(Via::kConnection);
    encoder.PutBytes(&type, sizeof(type));
    const absl::Status status = Encode(value, encoder);
    return status.ok() ? end_->PutEncoded(encoder, timeout) : status;
  }
}

template <class T>
absl::StatusOr<T> Connection::Recv(absl::Duration timeout) const {
  internal::Received received;
  internal::DescriptorList descriptors;
  const absl::Status status =
      Receive(internal::MessageType::Of<T>(), received, descriptors, timeout);
  if (!status.ok()) return status;
  Decoder decoder(internal::End::ValueIn(received.bytes()), received.handles(), Via::kConnection,
                  descriptors.fds());
  return Decode<T>(decoder);
}

}  // namespace mp

#endif  // MP_MP_CONNECTION_H_
