// Wait: until one of many is ready: a Connection has a message, or its end; a Queue, SimpleQueue or
// JoinableQueue has a value, or is shut down; a process has ended; a descriptor is readable.
// Python's multiprocessing.connection.wait.
//
//   absl::StatusOr<std::vector<size_t>> ready = mp::Wait({connection, child, fd});
//   if (ready.ok() && ready->front() == 0) {
//     absl::StatusOr<Message> message = connection.Recv<Message>(absl::ZeroDuration());
//   }
//
//   mp::Wait({queue, signals, timer});           // mp/signals.h, mp/timer.h
//
//   std::vector<mp::Connection> connections = ...;
//   for (size_t i : mp::OrDie(mp::Wait(connections))) ...
//
// Others may be faster to take what is there: hence Recv() without a wait.
//
// Death:   of another process: see mp/connection.h. Nobody is left asleep beside what it waits for.
// Threads: from any number, on the same objects, too.
// Signals: not in a signal handler. A wait goes on after one.
// Errors:  kDeadlineExceeded: none in time. kCancelled: see mp/cancellation.h.
//          kFailedPrecondition: one of them is closed in this process, or is for sending only.
//          kInvalidArgument: a number that is no descriptor; for ever for nothing.
//          kResourceExhausted: no descriptors.
// Cost:    one poll(2) of all of them, and a descriptor that a Connection keeps: see fileno(). A
//          JoinableQueue of which values are leased is looked at every 50 ms, too: they come back
//          when who has them dies.

#ifndef MP_MP_WAIT_H_
#define MP_MP_WAIT_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <ranges>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/connection.h"
#include "mp/internal/queue_wait_source.h"
#include "mp/internal/wait_source.h"
#include "shared/internal/handle_access.h"

namespace mp {

template <class T>
class JoinableQueue;
template <class T>
class Queue;
template <class T>
class SimpleQueue;

// Process and ProcessInfo: what has ended when a descriptor is readable.
template <class P>
concept HasSentinel = requires(const P& process) {
  { process.sentinel() } -> std::same_as<int>;
};

// SignalHandlers, Timer and the like: what is ready when a descriptor is readable.
template <class P>
concept HasFileno = requires(const P& object) {
  { object.fileno() } -> std::same_as<int>;
};

// What one can wait for. As long as that itself is there; but it shares a Connection's end.
class Waitable {
 public:
  Waitable(int fd) : fd_(fd) {}  // NOLINT(google-explicit-constructor): so with all of these
  Waitable(const Connection& connection) : source_(connection.end_) {}  // NOLINT
  template <HasSentinel P>
  Waitable(const P& process) : fd_(process.sentinel()) {}  // NOLINT
  template <HasFileno P>
  Waitable(const P& object) : fd_(object.fileno()) {}  // NOLINT
  template <class T>
  Waitable(const Queue<T>& queue)  // NOLINT
      : source_(internal::MakeQueueWaitSource(internal::HandleAccess::StateOf(queue))) {}
  template <class T>
  Waitable(const SimpleQueue<T>& queue)  // NOLINT
      : source_(internal::MakeQueueWaitSource(internal::HandleAccess::StateOf(queue))) {}
  template <class T>
  Waitable(const JoinableQueue<T>& queue)  // NOLINT
      : source_(internal::MakeJoinableWaitSource(internal::HandleAccess::StateOf(queue))) {}
  explicit Waitable(std::shared_ptr<internal::WaitSource> source) : source_(std::move(source)) {}

 private:
  friend absl::StatusOr<std::vector<size_t>> Wait(absl::Span<const Waitable> objects,
                                                  absl::Duration timeout);

  int fd_ = -1;  // where there is no source_
  std::shared_ptr<internal::WaitSource> source_;
};

// The indices of those that are ready, in order. Zero or less looks once.
absl::StatusOr<std::vector<size_t>> Wait(absl::Span<const Waitable> objects,
                                         absl::Duration timeout = absl::InfiniteDuration());
// The same of a range of any of these.
template <std::ranges::input_range R>
requires(std::constructible_from<Waitable, std::ranges::range_reference_t<R>> &&
         !std::convertible_to<R, absl::Span<const Waitable>>)
    absl::StatusOr<std::vector<size_t>> Wait(R&& objects,
                                             absl::Duration timeout = absl::InfiniteDuration()) {
  std::vector<Waitable> all;
  for (auto&& object : objects) all.emplace_back(object);
  return Wait(absl::Span<const Waitable>(all), timeout);
}

}  // namespace mp

#endif  // MP_MP_WAIT_H_
