// Doorbell: a socket by which a process that waits for descriptors is told of what is in the
// domain: whoever knows its number, in any process of the family, can make it readable.
//
//   const absl::StatusOr<Doorbell> bell = Doorbell::Make();
//   state.listed = bell->number();                  // where others find it
//   poll(bell->fd(), POLLIN);
//
//   Doorbell::Ring(state.listed);                   // in another process
//
// It has a name in the abstract namespace of sockets, of the family's id and its number; so both
// are to be in one network namespace.
//
// Death:   it goes with its process. To ring one that is gone does nothing.
// Threads: one is one thread's; Ring() from any number.
// Cost:    a socket. To make one takes five system calls, to ring three.

#ifndef MP_MP_INTERNAL_DOORBELL_H_
#define MP_MP_INTERNAL_DOORBELL_H_

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/internal/descriptor.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

class Doorbell {
 public:
  // kResourceExhausted: no descriptors.
  static absl::StatusOr<Doorbell> Make();

  // Never 0.
  uint64_t number() const { return number_; }
  // Readable: it has rung since Drain().
  int fd() const { return socket_.fd(); }
  void Drain() const;
  void RingItself() const;

  // Whether somebody has the one with this number.
  static bool IsThere(uint64_t number);
  // Rings those with these numbers. False: there is no descriptor to do that with, and perhaps some
  // have not rung.
  [[nodiscard]] static bool Ring(absl::Span<const Word> numbers);
  // The one with this number, in a signal handler. Where there is no descriptor it does not ring.
  static void RingInHandler(const Word& number);

 private:
  Doorbell(uint64_t number, Descriptor socket) : number_(number), socket_(std::move(socket)) {}

  uint64_t number_;
  Descriptor socket_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_DOORBELL_H_
