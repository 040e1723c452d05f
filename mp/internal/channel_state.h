// ChannelState: the cell of one direction of a pipe: messages as in a queue (queue_state.h), and
// who waits for them. Its two sides are descriptors, a pair of sockets, of which each tells when
// nobody has the other any more, and takes tokens, single bytes that only wake. No message goes
// through them. Descriptors that belong to messages have another pair (descriptor_packets.h): the
// packet is sent before its message is put, under the lock to put, and dropped after it was got,
// under the lock to get.
//
// Layout, behind QueueState
//   field          written by        read by     meaning
//   read_turn      pthread           who reads   held by the one reader that sleeps in poll(2)
//   write_turn     pthread           who writes  the same of who waits for room
//   closes         who closes        who writes  counts processes that have closed their side
//   by_descriptor  who asks for one  who reads   1: who finds it empty arms put_bell, for others
//   packets_sent   who has `put`     all         the number of the last packet that may be sent
//   packets_gone   who has `get`     who reads   up to that number they are dropped
//
//   C1  With by_descriptor: where there is a message, there is a token at the reading side, or the
//       event of a process that asked after it was sent; or put_bell is armed, and somebody is
//       about to put it.
//   C2  Tokens are taken away with put_bell armed and nothing there, under the lock to put; those
//       at the writing side with get_bell armed, under the lock to get.
//   C3  Each message with descriptors has a packet with its number. Others are of the dead: who
//       looks for a packet drops those before it, and who finds no message, under both locks, all.
//   Repair after a death: C3. A token is sent before what it tells of: who dies in between has
//   woken somebody in vain.

#ifndef MP_MP_INTERNAL_CHANNEL_STATE_H_
#define MP_MP_INTERNAL_CHANNEL_STATE_H_

#include "mp/internal/queue_state.h"
#include "shared/internal/atomic.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

struct ChannelState : QueueState {
  alignas(kLine) RobustMutex read_turn;
  Word closes;
  Word by_descriptor;
  alignas(kLine) RobustMutex write_turn;
  Word packets_sent;
  Word packets_gone;
};
static_assert(sizeof(ChannelState) == 8 * QueueState::kLine);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CHANNEL_STATE_H_
