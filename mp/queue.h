// Queue: messages that some processes put and others get, in order. A handle: copies mean the same
// queue, and it can be sent in messages, through itself, too.
//
//   mp::Queue<std::string> jobs;
//   mp::Process child([jobs] {
//     for (absl::StatusOr<std::string> job; (job = jobs.Get()).ok();) Do(*job);
//   });                                    // until it is shut down, and nothing is left
//   mp::OrDie(jobs.Put("one"));            // there when this returns: no thread feeds it
//   jobs.Shutdown();
//
// What a T can be: mp/codec.h. Any number of processes put and get; what one of them has put comes
// in its order, whoever gets it.
//
// Ordering: what was done before a Put() is visible to who gets that value.
// Death:    a value is put whole or not at all. Once it is got it is the receiver's, and goes with
//           it; before, it is there for the next one. Nobody who waits is left asleep, and the memory
//           of what a dead process had in its hands comes back.
// Fork:     a child has the handle.
// Lifetime: as that of a Shared (shared/shared.h); what is left in it ends with it, without ~T of
//           what handles in it refer to.
// Signals:  not in a signal handler. A wait goes on after one.
// Errors:   kDeadlineExceeded: full, or empty, in time. kFailedPrecondition: Put() after Close() or
//           Shutdown(). kOutOfRange: Get() when it is shut down and nothing is left. kInvalidArgument:
//           the value cannot be sent. kResourceExhausted: no memory; nothing is put. kDataLoss: the
//           bytes are no T; they are gone.
// Cost:     3 KiB of the domain when it is empty; it grows with what is in it, and keeps 1 MiB when
//           that is gone. No descriptor. Figures in docs/benchmarks.md.

#ifndef MP_MP_QUEUE_H_
#define MP_MP_QUEUE_H_

#include <time.h>

#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/codec.h"
#include "mp/internal/byte_queue.h"

namespace mp {

struct QueueOptions {
  std::string name = {};  // for messages and listings
};

template <class T>
class Queue {
 public:
  // At most `maxsize` values at once; 0: as many as there is memory for. Ends the process, with a line
  // that says why, where Create() would fail.
  explicit Queue(size_t maxsize = 0, const QueueOptions& options = {})
      : queue_(internal::ByteQueue::MakeOrDie(maxsize, options.name)) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Queue> Create(size_t maxsize = 0, const QueueOptions& options = {}) {
    absl::StatusOr<internal::ByteQueue> queue =
        internal::ByteQueue::Create(maxsize, options.name);
    if (!queue.ok()) return queue.status();
    return Queue(*std::move(queue));
  }

  // Waits for room. Zero or less tries once.
  absl::Status Put(const T& value, absl::Duration timeout = absl::InfiniteDuration()) const;
  absl::Status TryPut(const T& value) const { return Put(value, absl::ZeroDuration()); }
  // Waits for a value. Zero or less tries once.
  absl::StatusOr<T> Get(absl::Duration timeout = absl::InfiniteDuration()) const;
  absl::StatusOr<T> TryGet() const { return Get(absl::ZeroDuration()); }

  // The answer may be old when it arrives.
  size_t Qsize() const { return queue_.Size(); }
  bool Empty() const { return Qsize() == 0; }
  bool Full() const { return queue_.Full(); }

  // This process puts no more.
  void Close() const { queue_.Close(); }
  // Nobody puts any more. `immediate`: nor gets what is left.
  void Shutdown(bool immediate = false) const { queue_.Shutdown(immediate); }

 private:
  friend struct internal::HandleAccess;
  using Travels = Queue;

  explicit Queue(internal::ByteQueue queue) : queue_(std::move(queue)) {}

  internal::ByteQueue queue_;
};

}  // namespace mp

#endif  // MP_MP_QUEUE_H_
