// QueueRing: a piece of a queue, in which its messages lie one behind the other; a block of the
// domain that the queue owns. A queue that has more in it than its ring holds goes on in another
// one, and each is freed when all of it has been taken.
//
// Positions count units of 8 bytes from the beginning of the queue, modulo 2^32; a position's place
// in a ring is its remainder.
//
// Layout
//   field    written by                     read by   meaning
//   begin    maker                          all       the first position in it
//   mask     maker                          all       units - 1, a power of two - 1
//   end      who puts, before `next`        all       the position at which the next one begins
//   next     who puts                       all       the ring that follows; 0: none yet
//   units[]  who puts, before `tail`        who gets  messages: a head, and then what it says
//
//   A head: bits 0-2 are the Kind, the rest is the size of the message in bytes.

#ifndef MP_MP_INTERNAL_QUEUE_RING_H_
#define MP_MP_INTERNAL_QUEUE_RING_H_

#include <cstddef>
#include <cstdint>

#include "shared/internal/atomic.h"

namespace mp::internal {

struct QueueRing {
  static constexpr size_t kUnit = sizeof(uint64_t);

  // Bytes of a ring of so many units.
  static constexpr size_t SizeOf(uint32_t units) { return sizeof(QueueRing) + units * kUnit; }

  uint32_t begin;
  uint32_t mask;
  Word end;
  Word next;
  uint64_t units[];

  uint32_t capacity() const { return mask + 1; }
  // From `position` on, without a wrap.
  uint32_t UnitsBehind(uint32_t position) const { return capacity() - (position & mask); }
  uint64_t* At(uint32_t position) { return &units[position & mask]; }
  QueueRing* Next() const {
    return reinterpret_cast<QueueRing*>(next.load(std::memory_order_acquire));
  }
};

// What stands before each message.
struct MessageHead {
  enum class Kind : uint64_t {
    kBytes,  // the message follows
    kBlock,  // the address of a block follows: the message
    kCargo,  // the same: a word that says how many handles, so many words (cargo.h), the message
    kRaw,    // the address of a block follows: the elements of a container, not encoded
    kSkip,   // no message: the next one is at the ring's first unit
  };

  Kind kind;
  size_t size;  // of the message, in bytes

  static MessageHead Of(uint64_t unit) {
    return {static_cast<Kind>(unit & 7), static_cast<size_t>(unit >> 3)};
  }
  uint64_t unit() const { return uint64_t{size} << 3 | static_cast<uint64_t>(kind); }
  // That it takes, itself included.
  static constexpr uint32_t UnitsFor(size_t bytes) {
    return static_cast<uint32_t>(1 + (bytes + QueueRing::kUnit - 1) / QueueRing::kUnit);
  }
  static constexpr uint32_t kBlockUnits = 2;
  uint32_t units() const { return kind == Kind::kBytes ? UnitsFor(size) : kBlockUnits; }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_QUEUE_RING_H_
