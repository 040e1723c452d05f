// QueueBell: calls who waits for a queue by descriptor; the numbers of their doorbells stand in a
// block of the queue.

#ifndef MP_MP_INTERNAL_QUEUE_BELL_H_
#define MP_MP_INTERNAL_QUEUE_BELL_H_

#include <cstdint>

#include "mp/internal/message_rings.h"
#include "mp/internal/queue_state.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

// A block of the queue, changed by who has the lock to put.
struct BellList {
  Word count;
  uint64_t capacity;  // constant
  Word numbers[];
};

class QueueBell final : public Bell {
 public:
  // Rings all, and forgets them.
  [[nodiscard]] bool Ring(QueueState& state, QueueEvent event) const override;

  // By who has the lock to put. False: there is no memory.
  [[nodiscard]] static bool Add(QueueState& state, uint64_t number);
  static void Remove(QueueState& state, uint64_t number);
};
inline constexpr QueueBell kQueueBell;

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_QUEUE_BELL_H_
