// JoinableQueue: a Queue that knows what has become of what was put: who waits in Join() goes on
// when all of it is finished. A handle: copies mean the same queue, and it can be sent in messages,
// through itself, too.
//
//   mp::JoinableQueue<std::string> jobs;
//   mp::Process worker([jobs] {
//     for (absl::StatusOr<mp::Leased<std::string>> job; (job = jobs.Lease()).ok();) {
//       Do(**job);
//       job->Finish();                     // killed before: another one gets it
//     }
//   });
//   mp::OrDie(jobs.Put("one"));
//   mp::OrDie(jobs.Join());                // all that was put is finished
//   jobs.Shutdown();
//
// There are two ways to take a value. Get() is Python's: the value is the receiver's, who calls
// TaskDone() when it is done with it, and what a process has got goes with it when it dies. Lease()
// is what work takes that must not be lost: the value counts as unfinished, and as this process's,
// until Finish(); when the process dies before, killed at whatever instruction, or drops it, the
// value is back in the queue, ahead of those that were never taken, and the next Lease() or Get()
// has it. Between the work and Finish() a process may die, too: so what is done may be done once
// more, and is finished once.
//
// A value that kills whoever touches it would go round for ever: with `max_deliveries`, one that
// comes back from so many leases is a dead letter instead. It counts as finished, and DeadLetters()
// tells it.
//
// What a T can be: mp/codec.h. `maxsize` bounds what has not been taken yet: what comes back finds
// room.
//
// Ordering: what was done before a Put() is visible to who gets or leases that value; what was done
//           before a Finish(), a TaskDone() or a death is visible to who returns from Join(), and
//           before a drop to who has the value next.
// Death:    each of these happens whole or not at all. What a dead process had leased comes back;
//           what it had got without TaskDone() is lost, and Join() says how much that is, instead
//           of waiting for ever. Nobody who waits is left asleep, and no memory stays behind.
// Threads:  from any number; a Leased is one thread's at a time.
// Fork:     a child has the handle. Its copy of a Leased is inert: it finishes and returns nothing.
// Lifetime: as that of a Shared (shared/shared.h), and a Leased has a handle. What is left in it
//           ends with it, without ~T of what handles in it refer to; so do dead letters.
// Signals:  not in a signal handler. A wait goes on after one; mp/cancellation.h ends it.
// Misuse:   TaskDone() where all that was got is done ends the process. It does not finish what is
//           leased. A Lease() or Get() on a queue that is shut down waits for what others have
//           leased: one beside an unfinished Leased of its own thread waits for ever.
// Errors:   as Queue (mp/queue.h), and kOutOfRange comes when the queue is shut down, nothing is
//           left and nothing is leased that may come back. kAborted: Join(), see there.
//           kResourceExhausted: also of Get() and Lease(), which note who has what; the value
//           stays. kDataLoss: the bytes are no T; they are gone. Then Lease() has finished it, and
//           after Get() it is to be done as any other.
// Cost:     4 KiB of the domain when it is empty. To get, and to say that it is done, each take the
//           lock of who gets; a lease copies a short value once more, into a block of the domain.
//           No descriptor. No system call where nobody sleeps. A death wakes all who wait.

#ifndef MP_MP_JOINABLE_QUEUE_H_
#define MP_MP_JOINABLE_QUEUE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/codec.h"
#include "mp/internal/joinable_calls.h"
#include "mp/internal/joinable_state.h"
#include "mp/internal/queue_calls.h"
#include "mp/internal/queue_values.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"

namespace mp {

// A value that this process has leased: its own copy, and the duty to finish it. One that ends
// unfinished is back in the queue. Movable; what was moved from has nothing to finish.
template <class T>
class Leased {
 public:
  Leased(Leased&&) noexcept = default;
  Leased& operator=(Leased&&) noexcept = default;

  // What is changed here goes with it: who has it next has what was put.
  T& operator*() { return value_; }
  const T& operator*() const { return value_; }
  T* operator->() { return &value_; }
  const T* operator->() const { return &value_; }

  // How often it was leased, with this time.
  int deliveries() const { return hold_.lease().deliveries; }

  // It is done. Again, or in a child that was forked meanwhile, nothing happens.
  void Finish() { hold_.Finish(); }

 private:
  template <class U>
  friend class JoinableQueue;

  Leased(internal::LeaseHold hold, T value) : hold_(std::move(hold)), value_(std::move(value)) {}

  internal::LeaseHold hold_;
  T value_;
};

struct JoinableQueueOptions {
  std::string name = {};   // for messages and listings
  int max_deliveries = 0;  // by leases, before it is a dead letter; 0: no limit
};

template <class T>
class JoinableQueue {
  static constexpr bool MustBe() { return MustBeEncodable<T>(); }

 public:
  using value_type = T;

  // At most `maxsize` values at once that nobody has taken; 0: as many as there is memory for. Ends
  // the process, with a line that says why, where Create() would fail.
  explicit JoinableQueue(size_t maxsize = 0, const JoinableQueueOptions& options = {})
      : state_(Calls::MakeOrDie(maxsize, options.max_deliveries, options.name)) {
    static_assert(MustBe());
  }
  // kResourceExhausted: no memory; see Domain::Get() for more. kInvalidArgument: max_deliveries is
  // negative.
  static absl::StatusOr<JoinableQueue> Create(size_t maxsize = 0,
                                              const JoinableQueueOptions& options = {}) {
    const absl::StatusOr<State*> state = Calls::Make(maxsize, options.max_deliveries, options.name);
    if (!state.ok()) return state.status();
    return JoinableQueue(internal::Handle<State>(*state));
  }

  // Waits for room. Zero or less tries once.
  absl::Status Put(const T& value, absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) [[unlikely]] {
      return closed;
    }
    return Calls::AfterPut(Values::Put(*state_, value, Deadline(timeout).get()), *state_, 1);
  }
  absl::Status TryPut(const T& value) const { return Put(value, absl::ZeroDuration()); }
  // All of them at once, one behind the other, or, where this is not OK, none. Waits for room for
  // all; kInvalidArgument: there never is, they are more than `maxsize`.
  absl::Status PutMany(absl::Span<const T> values,
                       absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) return closed;
    return Calls::AfterPut(Values::PutMany(*state_, values, Deadline(timeout).get()), *state_,
                           values.size());
  }

  // Waits for a value. Zero or less tries once. It is the caller's, and TaskDone() to be called.
  absl::StatusOr<T> Get(absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) [[unlikely]] {
      return closed;
    }
    internal::Received received;
    absl::Status status = Calls::Get(*state_, received, Deadline(timeout).get());
    if (!status.ok()) return status;
    return Values::Of(received);
  }
  absl::StatusOr<T> TryGet() const { return Get(absl::ZeroDuration()); }
  // What is there, `max` values at most; waits for the first one. TaskDone() is to be called for
  // each. Where the bytes of one are no T, kDataLoss, all that were got with it are gone.
  absl::StatusOr<std::vector<T>> GetMany(size_t max,
                                         absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) return closed;
    std::vector<T> values;
    if (max == 0) return values;
    std::vector<std::unique_ptr<internal::Received>> received;
    absl::Status status = Calls::GetMany(*state_, max, received, Deadline(timeout).get());
    if (!status.ok()) return status;
    values.reserve(received.size());
    for (std::unique_ptr<internal::Received>& message : received) {
      absl::StatusOr<T> value = Values::Of(*message);
      if (!value.ok()) return value.status();
      values.push_back(*std::move(value));
      message.reset();
    }
    return values;
  }
  // A value that is back in the queue if this process dies, or drops it, before Finish(). Waits for
  // one. Zero or less tries once.
  absl::StatusOr<Leased<T>> Lease(absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) return closed;
    Calls::Lease lease;
    absl::Status status = Calls::Take(*state_, lease, Deadline(timeout).get());
    if (!status.ok()) return status;
    internal::LeaseHold hold(state_, lease);
    absl::StatusOr<T> value = Values::OfBlock(lease.block);
    if (!value.ok()) {
      hold.Finish();
      return value.status();
    }
    return Leased<T>(std::move(hold), *std::move(value));
  }
  absl::StatusOr<Leased<T>> TryLease() const { return Lease(absl::ZeroDuration()); }

  // One of those that were got is done, whoever got it.
  void TaskDone() const { Calls::TaskDone(*state_); }
  // Waits until all that was ever put is finished: done, by Finish() or TaskDone(), dropped, or a
  // dead letter. kDeadlineExceeded: not in time. kAborted: all the rest was got, by processes that
  // died before TaskDone(), and the message says how many there are; who calls TaskDone() for them
  // makes it true. (A TaskDone() by a process that has nothing of its own to be done is for one of
  // those that are lost, or else of the others: so where some values are lost, and others are got
  // by one process and done by another, Join() waits as long as the first one lives.)
  absl::Status Join(absl::Duration timeout = absl::InfiniteDuration()) const {
    return Calls::Join(*state_, Deadline(timeout).get());
  }
  // Those that came back from `max_deliveries` leases, in that order, as far as they are a T. They
  // stay there until the queue's end.
  std::vector<T> DeadLetters() const {
    std::vector<T> letters;
    internal::JoinableRings rings(*state_);
    for (const internal::JoinableRings::Block& block : rings.DeadLetters()) {
      absl::StatusOr<T> value = Values::OfBlock(block);
      if (value.ok()) letters.push_back(*std::move(value));
    }
    return letters;
  }

  // What may be taken. Exact when it is asked; perhaps old when it arrives.
  size_t Qsize() const { return Calls::Size(*state_); }
  bool Empty() const { return Qsize() == 0; }
  // Whether Put() would wait.
  bool Full() const { return internal::QueueCalls::Full(*state_); }

  // This process is done with it: whatever handle it takes, to put, to get and to lease fails;
  // TaskDone(), Finish() and Join() do not. Nobody else notices. A child that is forked later has
  // closed it, too.
  void Close() const { internal::QueueCalls::Close(*state_); }
  // Nobody puts any more, and who takes takes what is left, and what comes back. `immediate`: that
  // is dropped, and counts as finished; and so does what comes back from a lease. Whoever waits
  // goes on.
  void Shutdown(bool immediate = false) const { Calls::Shutdown(*state_, immediate); }

 private:
  friend struct internal::HandleAccess;
  using Travels = JoinableQueue;

  using State = internal::JoinableState;
  using Calls = internal::JoinableCalls;
  using Values = internal::QueueValues<T>;
  using Deadline = internal::QueueDeadline;

  explicit JoinableQueue(const internal::Handle<State>& state) : state_(state) {}

  absl::Status Closed() const { return internal::QueueCalls::CheckOpen(*state_); }

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_MP_JOINABLE_QUEUE_H_
