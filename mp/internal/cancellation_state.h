// CancellationState: the cell of a Cancellation, and how it calls those whose waits are to end.
//
// Layout: 56 bytes of ObjectHeader, then
//   field   written by             meaning
//   word    who cancels            its low half, which is slept on: not 0: cancelled, for ever.
//                                  Commits
//   bells   who sleeps in poll(2)  numbers of doorbells (mp/internal/doorbell.h); 0: free
//
//   X1  A number stands in bells before its owner looks at the word, and who cancels looks at the
//       bells behind its change of the word: either of them sees the other. [A] with [B]
//   Repair after a death: whom who cancels did not come to call wakes by its burial if it sleeps on
//   the word, else at its next look, once a second. The number of a dead owner is nobody's: who
//   finds no room takes its place.

#ifndef MP_MP_INTERNAL_CANCELLATION_STATE_H_
#define MP_MP_INTERNAL_CANCELLATION_STATE_H_

#include <cstddef>
#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/object_header.h"

namespace mp::internal {

struct CancellationState : ObjectHeader {
  // More who poll look now and then.
  static constexpr size_t kBells = 24;

  Word word;
  Word bells[kBells];

  void Init();
  void FreeBlocks() {}

  bool cancelled() const { return word.load(std::memory_order_acquire) != 0; }
  const FutexWord& futex() const { return LowHalf(const_cast<Word&>(word)); }

  // In a signal handler, too.
  void Cancel();

  // False: there is no room.
  [[nodiscard]] bool AddBell(uint64_t number);
  void RemoveBell(uint64_t number);
};
static_assert(sizeof(CancellationState) == 256);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CANCELLATION_STATE_H_
