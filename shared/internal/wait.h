// Wait: the one function in which threads of a family wait for one another. And how they wake
// one another, so that a death in between leaves nobody asleep.
//
//   const uint32_t seen = word.load();
//   if (!IsTrue()) Wait(word, seen);          // in a loop; `word` changes when that may change
//
//   word.fetch_add(1);
//   FutexWake(word, kWakeAll);
//
// A word is 32 bits of the domain. Its waiters are told of a change by a wake; a wake that its
// waker, or the woken one, takes along in its death is passed on by its burial (lane.h), which
// one of those who sleep sees to (sentry.h).
//
//   phase   for                    how
//   spin    some microseconds      pauses, then yields (spinning.h)
//   nap     20 ms                  on the word alone: what a futex costs. Longer than a tick of
//                                  the kernel: a timer that is nearer costs a round trip more
//                                  than the sleep
//   watch   as long as it takes    as the sentry; or beside it, on the word and the sentry's,
//                                  with a nap of 100 ms times the number of sleepers, in case
//                                  the sentry and its successor die at once
//
// Where futex_waitv(2) is missing, and for a thread without a lane, or of a process without a
// slot, naps are of 50 ms, in which cancellation and deaths are looked for after each.
//
// A wait whose thread is cancelled (cancel_scope.h) is one whose deadline is over: kTimedOut. It is
// so within the nap, or at once when it is over.
//
// Ordering: a change of the word that Wait() returns for is seen with acquire.
// Death:    SleepsOn (lane.h) says how long a woken sleeper's death passes its wake on: until
//           Wait() returns, or where the caller has its own, as long as that.
// Fork:     a child does not wait in its parent's place.
// Signals:  a handler may change words and wake; Wait() goes on after it.
// Cost:     see docs/benchmarks.md. The caller holds no lock of the heap.

#ifndef MP_SHARED_INTERNAL_WAIT_H_
#define MP_SHARED_INTERNAL_WAIT_H_

#include <time.h>

#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/spinning.h"

namespace mp::internal {

enum class WaitResult {
  kChanged,    // the word is not what it was
  kWoken,      // or may have been meanwhile: look
  kTimedOut,   // or the thread is cancelled; and no wake was taken along
  kCancelled,  // *cancel is not 0
  kDeath,      // one of the family was buried
};

struct WaitOptions {
  // On CLOCK_MONOTONIC; nullptr: never, if the thread is not cancelled; else see kUncancelled.
  const timespec* deadline = nullptr;
  // Who cancels stores what is not 0, and wakes. In the domain.
  const FutexWord* cancel = nullptr;
  // What Deaths() was when the caller last looked whom it waits for; nullptr: it does not care.
  const uint32_t* deaths = nullptr;
  bool spin = true;
  bool nap = true;           // false: watches at once, to learn of a death without a nap's delay
  bool heeds_thread = true;  // false: it is not ended when the thread is cancelled
};

// In a process that has a domain. Returns at once when the word is not `value`; may return
// kWoken at any time.
WaitResult Wait(const FutexWord& word, uint32_t value, const WaitOptions& options = {});

// Spins, then sleeps on the low half of `word` while `pending(seen)` of what is there; `sleepers`
// is a bit of that half, which says to who changes it that somebody may sleep, and is to wake all.
// False: it is pending still at `deadline`.
template <typename Pending>
bool SleepWhile(Word& word, uint64_t sleepers, const timespec* deadline, const Pending& pending) {
  auto is_pending = [&] { return pending(word.load(std::memory_order_acquire)); };
  if (SpinUntil([&] { return !is_pending(); })) return true;
  for (;;) {
    uint64_t seen = word.load(std::memory_order_acquire);
    if (!pending(seen)) return true;
    if ((seen & sleepers) == 0) {
      if (!word.compare_exchange_strong(seen, seen | sleepers, std::memory_order_acq_rel)) continue;
      seen |= sleepers;
    }
    if (Wait(LowHalf(word), static_cast<uint32_t>(seen), {.deadline = deadline, .spin = false}) ==
        WaitResult::kTimedOut) {
      return !is_pending();
    }
  }
}

// For who tries in vain, and does not sleep, or never for long: perhaps nobody does, and so nobody
// watches. Looks for the dead and buries them, as far as that takes 5 ms, or one burial: the next
// look is for the others. Wait() does so when its time is over. Not in a signal handler.
void LookForTheDead();
// The same at most every 10 ms in a thread; whether it has looked.
bool LookForTheDeadRarely();

// Counts burials; a word to hand to Wait().
uint32_t Deaths();

// How many threads note that they sleep on the word.
uint64_t CountSleepersOn(const FutexWord& word);

// The calling thread's, for notes; nullptr: there is none, and who sleeps looks up by itself.
Lane* LaneForNotes();

// Changes the word and wakes all who sleep on it.
inline void WakeAll(FutexWord& word) {
  // Before: nothing has changed.
  // After:  the burial of who dies before the next line wakes them.
  // Test:   WaitCrashTest.WhoIsOwedAWakeGetsIt
  word.fetch_add(1, std::memory_order_acq_rel);
  FutexWake(word, kWakeAll);
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_WAIT_H_
