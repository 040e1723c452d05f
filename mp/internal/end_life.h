// EndLife: who of this process is at work with an end of a pipe, and whether it is closed here.
//
//   if (!life.Enter()) return ...;            // closed
//   ...                                       // its descriptors stay open
//   if (life.Leave()) ...                     // closed meanwhile: the caller closes them
//
// Who sleeps in it waits for EndLife::Bell(), too, which is readable while somebody who may sleep
// is to leave.
//
// Threads: from any number.
// Fork:    a child has none of its parent's threads at work, and a bell of its own.

#ifndef MP_MP_INTERNAL_END_LIFE_H_
#define MP_MP_INTERNAL_END_LIFE_H_

#include <cstdint>

#include "shared/internal/atomic.h"

namespace mp::internal {

class EndLife {
 public:
  // False: it is closed.
  [[nodiscard]] bool Enter();
  // True: it is closed, and nobody is left in it, which one caller is told.
  [[nodiscard]] bool Leave();
  enum class Closing {
    kNow,    // nobody is in it: the caller closes its descriptors
    kLater,  // who leaves it as the last one does
    kDone,   // it has been closed before
  };
  [[nodiscard]] Closing Close();
  bool closed() const { return (word_.load(std::memory_order_acquire) & kClosed) != 0; }

  // Made when it is first asked for; negative: no descriptor was left, and who sleeps has to look
  // now and then. See kLook.
  static int Bell();
  static constexpr int kLook = 50;  // milliseconds

 private:
  // Bits 32-63: the fork generation of those who are in it; 31: closed; 0-30: how many they are.
  static constexpr uint64_t kClosed = uint64_t{1} << 31;
  static constexpr uint64_t kCount = kClosed - 1;

  // What the word says of this process.
  static uint64_t OfThisProcess(uint64_t word);

  Atomic<uint64_t> word_{0};
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_END_LIFE_H_
