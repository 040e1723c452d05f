// Sentry: one of the threads that sleep watches over the family for all of them, and buries
// who dies. So nobody polls while nobody sleeps, and of those who sleep only one.
//
//   Sentry sentry(undertaker, post);
//   for (;;) {
//     words = ...;                             // what the caller sleeps for, at the end
//     const timespec next = sentry.Look(words);
//     FutexWaitAny(words, &next, woken);       // until one of the family dies, at the latest
//   }                                          //   until there is something to look at again
//
// A look goes over all lanes and slots.
//
//   what it finds                       what it does
//   a lane that is held                 its word is one to sleep on: the kernel wakes the
//                                       sentry when the thread dies
//   a lane whose thread has ended       wakes whom it kept waiting. Its process is a suspect:
//                                       proof of its death, looked for with all means after 1,
//                                       2, 4 ... 50 ms, is its burial; after a second without
//                                       it was only the thread, and the lane is free
//   a process, whatever its lanes say   quick evidence, once a second
//   a process that is dead and not      buried again, one each second
//   buried
//   a child that has not begun          after 1, 2, 4 ... 16 seconds: it is buried if nobody
//   within a second                     unknown maps the domain, for which all processes of the
//                                       machine are looked at
//
// Where a burial has to wait for a lock of the heap, all of a look wait for 50 ms together, and of
// one by who does not sleep, and has no time, for 5 ms, after which it begins no other. What that
// leaves is for the next look, by whomever, which is soon.
//
// Of each process one lane is watched, and the others while there is room. Where the family has
// more processes than a thread can sleep on, the rest is looked at every 50 ms.
//
// Threads: looks by several at once are safe, and a waste.
// Death:   what was found is found again by the next one.
// It waits for locks of the heap as burials do, and so must not hold one; no code of the
// program runs.

#ifndef MP_SHARED_INTERNAL_SENTRY_H_
#define MP_SHARED_INTERNAL_SENTRY_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "shared/internal/burial.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/process_table.h"
#include "shared/internal/sentry_post.h"

namespace mp::internal {

class Sentry {
 public:
  // `undertaker` buries as the calling process.
  Sentry(const Undertaker& undertaker, SentryPost& post) : undertaker_(undertaker), post_(post) {}

  // Puts words to watch in front of those in `words`, as far as there is room for them.
  // Returns when to look again, at the latest.
  timespec Look(std::vector<FutexExpectation>& words);

  // For who does not then sleep on what it has found: a short one.
  void Look();

  // Whether nobody has looked for so long that the sentry, if there is one, must be stopped.
  static bool IsOverdue(const SentryPost& post);

 private:
  struct Suspect {
    ProcessId process;
    int64_t since;
    int64_t next;   // when to look for proof
    int64_t delay;  // after that
    int64_t seen;   // the look that last found a lane of it
  };

  timespec LookFor(int64_t patience, std::vector<FutexExpectation>& words);
  void LookAtLanes(std::vector<FutexExpectation>& words);
  void LookAtProcesses();
  bool Watch(Lane& lane, std::vector<FutexExpectation>& words);
  void LookAtEnded(Lane& lane, ProcessId process);
  bool IsBuried(ProcessId process);
  bool MayBury();
  void Bury(ProcessId dead);
  void LookAtUnborn();
  void LookAgainIn(int64_t milliseconds);

  const Undertaker undertaker_;
  SentryPost& post_;
  std::vector<Suspect> suspects_;
  ProcessId last_dead_ = 0;      // whose burial was tried last
  int64_t unborn_next_ = 0;      // when to look for the unborn
  int64_t unborn_delay_ = 1000;  // after that

  // Of one look.
  int64_t now_ = 0;            // when it began, in milliseconds
  int64_t pause_ = 0;          // until the next one
  int64_t patience_ = 0;       // how long its burials may wait for locks of the heap
  int64_t until_ = 0;          // when they have; 0: none has begun, or none has had to
  bool is_left_ = false;       // there may be some that it has not begun
  std::vector<bool> watched_;  // by slot
  std::vector<Lane*> more_;    // lanes of those who are watched already
  std::vector<FutexExpectation> found_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_SENTRY_H_
