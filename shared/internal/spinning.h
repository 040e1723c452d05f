// Spinning: to look again and again for some microseconds, before a sleep; as far as that has paid
// lately, in this thread.
//
//   phase    for                      pays where
//   pauses   2 us                     the other runs on another processor
//   yields   10 us; 140 us now and    it waits for this one; or will soon have done
//            then, see below
//
// Two that take turns may both sleep each time: then each waits for as long as it takes to wake the
// other, which is longer than it spins, and so spinning never pays. (Where processors halt that is
// 75 us; awake, a round takes 0.3.) So who has slept, but for no longer than that, spins for longer
// now and then: a fifth of the times at most, where that is in vain.

#ifndef MP_SHARED_INTERNAL_SPINNING_H_
#define MP_SHARED_INTERNAL_SPINNING_H_

#include <cstdint>

namespace mp::internal {

// Until `done()` says so, or it is no longer worth it: false. Looks every few pauses: each look
// takes the word away from the processor of who is about to change it. (With a look each pause the
// round trip of an Event takes 0.33 us, with one every 4 pauses 0.22, every 16 pauses 0.4;
// condition_benchmark.)
template <int kPausesPerLook = 4, typename Done>
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
  static constexpr int kManyYields = 300;
  static constexpr int64_t kShortSleep = 300'000;  // nanoseconds
  static constexpr int kRareLooks = 4;
  static constexpr int kPausesBetween = 200;

  // What is worth it now.
  struct Looks {
    int pauses = 0;
    int yields = 0;
  };
  enum class Paid { kNot, kInPauses, kInYields };
  static Looks Begin();
  static void End(Paid paid);
  // It has slept; `was_short`: for kShortSleep at most.
  static void Slept(bool was_short);
  static void Pause();
  static void Yield();

 private:
  static constexpr int kMost = 16;
  static constexpr int kGain = 4;
  static constexpr int kMostLong = 4;
  static constexpr int kShortSleeps = 4;

  static int After(int credit, bool paid);

  static inline constinit thread_local int credit_ = kMost;
  static inline constinit thread_local int pause_credit_ = kMost;
  static inline constinit thread_local int long_credit_ = 0;
  static inline constinit thread_local int short_sleeps_ = 0;
  static inline constinit thread_local uint32_t count_ = 0;
};

template <int kPausesPerLook, typename Done>
bool SpinUntil(const Done& done) {
  const Spinning::Looks looks = Spinning::Begin();
  for (int i = 0; i < looks.pauses; i += kPausesPerLook) {
    for (int j = 0; j < kPausesPerLook; ++j) Spinning::Pause();
    if (done()) {
      Spinning::End(Spinning::Paid::kInPauses);
      return true;
    }
  }
  for (int i = 0; i < looks.yields; ++i) {
    Spinning::Yield();
    if (done()) {
      Spinning::End(Spinning::Paid::kInYields);
      return true;
    }
  }
  if (looks.yields != 0) Spinning::End(Spinning::Paid::kNot);
  return false;
}

template <typename Done>
bool SpinRarelyUntil(const Done& done) {
  if (Spinning::Begin().pauses == 0) return false;
  for (int look = 0; look < Spinning::kRareLooks; ++look) {
    for (int i = 0; i < Spinning::kPausesBetween; ++i) Spinning::Pause();
    if (done()) {
      Spinning::End(Spinning::Paid::kInPauses);
      return true;
    }
  }
  Spinning::End(Spinning::Paid::kNot);
  return false;
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_SPINNING_H_
