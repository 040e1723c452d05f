// Spinning: to look again and again for some microseconds, before a sleep. As far as that has paid
// lately, in this thread, and not where it has one processor.

#ifndef MP_SHARED_INTERNAL_SPINNING_H_
#define MP_SHARED_INTERNAL_SPINNING_H_

#include <cstdint>

namespace mp::internal {

// Until `done()` says so, or it is no longer worth it: false.
template <typename Done>
bool SpinUntil(const Done& done);
// The same for what its holder takes and gives in turn, as a lock: looks rarely, since each look
// takes the word away from the holder's processor. (With a look each pause two processes get a
// third done of what they do so: lock_benchmark.)
template <typename Done>
bool SpinRarelyUntil(const Done& done);

// How spinning has paid, in this thread.
class Spinning {
 public:
  static constexpr int kPauses = 100;
  static constexpr int kYields = 20;
  static constexpr int kRareLooks = 4;
  static constexpr int kPausesBetween = 200;

  // Whether to spin now.
  static bool Begin();
  static void End(bool paid) {
    credit_ = paid ? (credit_ + kGain < kMost ? credit_ + kGain : kMost)
                   : (credit_ > 0 ? credit_ - 1 : 0);
  }
  static void Pause();
  static void Yield();

 private:
  static constexpr int kMost = 16;
  static constexpr int kGain = 4;

  static inline constinit thread_local int credit_ = kMost;
  static inline constinit thread_local uint32_t count_ = 0;
  static inline constinit thread_local bool alone_ = false;
};

template <typename Done>
bool SpinUntil(const Done& done) {
  if (!Spinning::Begin()) return false;
  for (int i = 0; i < Spinning::kPauses + Spinning::kYields; ++i) {
    if (i < Spinning::kPauses) {
      Spinning::Pause();
    } else {
      Spinning::Yield();
    }
    if (done()) {
      Spinning::End(true);
      return true;
    }
  }
  Spinning::End(false);
  return false;
}

template <typename Done>
bool SpinRarelyUntil(const Done& done) {
  if (!Spinning::Begin()) return false;
  for (int look = 0; look < Spinning::kRareLooks; ++look) {
    for (int i = 0; i < Spinning::kPausesBetween; ++i) Spinning::Pause();
    if (done()) {
      Spinning::End(true);
      return true;
    }
  }
  Spinning::End(false);
  return false;
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_SPINNING_H_
