// QueueState: the cell of a queue of messages, which are bytes here. Who puts has one lock, who
// gets another; a message is there by one store, and gone by one store.
//
// Layout, in lines of 64 bytes, of which each side writes its own
//   field        written by         read by     meaning
//   limit        maker              all         messages that it holds at most; 0: memory's
//   put          pthread            who puts    the lock of who puts
//   put_ring     who puts           who puts    the last ring
//   room         who puts           who puts    what `head` was when somebody last looked, in
//                                               messages; and the position up to which may be put
//                                               without another look
//   put_bell     who has `put`      who puts    1: somebody is to be called before the next put
//   tail         who puts           all         QueueEnd: all that was ever put; commits a put
//   capacity     maker              who puts    bytes that it holds at most, see Q4; 0: memory's
//   blocks_put   who puts           all         bytes in blocks, of all that was ever put
//   put_from     who puts           who puts    the last ring before those that many were put into
//   get          pthread            who gets    the lock of who gets
//   get_ring     who gets           who gets    the first ring
//   added        who gets           who gets    what `tail` was when somebody last looked
//   get_bell     who has `get`      who gets    not 0: somebody is to be called before a get that
//                                               leaves less than so many bytes
//   head         who gets           all         QueueEnd: all that was ever taken; commits a get
//   blocks_taken who gets           all         bytes in blocks, of all that was ever taken
//   emptied      who gets           who gets    messages ever taken when it was last empty
//   get_sleeps   all                who puts    1: somebody may sleep on the low half of `tail`
//   put_sleeps   all                who gets    1: somebody may sleep on the low half of `head`
//   stray        who has a lock     all         1: there may be blocks to free, see Q3
//   shut         who shuts it       all         kShut, kDropped; ends all sleep
//   bells        who has `put`      who puts    a block with whom to call (queue_bell.h), or 0
//
//   Q1  head <= tail, in messages and in units; [head, tail) holds whole messages, all else in a
//       ring is scratch.
//   Q2  The rings from get_ring on are linked by `next`, the last one is put_ring; but while
//       somebody puts, or who put has died, put_ring may be another one; and the last ones may
//       begin behind `tail`: then they follow put_from, and nobody who gets goes there.
//   Q3  Blocks of the queue that are none of its rings, its messages, its name or its bells, are in
//       the hands of who holds one of the locks; or of one who died with it, and then `stray` is
//       set by the next holder.
//   Q4  Where there is a capacity, what is in the rings and in blocks is no more than that, or it
//       is one message; what is skipped at a ring's end may come to it. Who dies with a block
//       leaves too much in blocks_put or blocks_taken, until somebody puts a block where nothing
//       is.
//   Repair after a death: who gets a lock whose holder has died moves put_ring on, or cuts off the
//   ring that begins behind `tail` (Q2), and sets `stray`; who has both locks then frees what Q3
//   calls stray. A death in the middle of that begins it anew.

#ifndef MP_MP_INTERNAL_QUEUE_STATE_H_
#define MP_MP_INTERNAL_QUEUE_STATE_H_

#include <cstddef>
#include <cstdint>

#include "mp/internal/queue_ring.h"
#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/object_header.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

// How far one side has come, in a word.
struct QueueEnd {
  uint32_t messages;
  uint32_t position;

  static QueueEnd Of(uint64_t word) {
    return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32)};
  }
  uint64_t word() const { return uint64_t{position} << 32 | messages; }
};

struct QueueState : ObjectHeader {
  static constexpr uint64_t kShut = 1;     // nobody puts any more
  static constexpr uint64_t kDropped = 2;  // nor gets what is left

  static constexpr size_t kLine = 64;

  uint64_t limit;

  alignas(kLine) RobustMutex put;
  Word put_ring;
  Word room;
  Word put_bell;
  alignas(kLine) Word tail;
  uint64_t capacity;
  Word blocks_put;
  Word put_from;
  alignas(kLine) RobustMutex get;
  Word get_ring;
  Word added;
  Word get_bell;
  alignas(kLine) Word head;
  Word emptied;
  Word blocks_taken;
  alignas(kLine) Word get_sleeps;
  Word put_sleeps;
  Word stray;
  Word shut;
  Word bells;

  void FreeBlocks();

  // What grows with each put, and with each get.
  FutexWord& puts() { return LowHalf(tail); }
  FutexWord& gets() { return LowHalf(head); }

  uint32_t Size() {
    // In this order: what is put meanwhile makes it more, never less than none.
    const uint32_t taken_now = gets().load(std::memory_order_acquire);
    return puts().load(std::memory_order_acquire) - taken_now;
  }
};
static_assert(sizeof(QueueState) == 6 * QueueState::kLine);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_QUEUE_STATE_H_
