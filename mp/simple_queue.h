// SimpleQueue: Python's: a Queue of which nobody asks more than to put, to get, and whether it is
// empty. A handle: copies mean the same queue, and it can be sent in messages, through itself, too.
//
//   mp::SimpleQueue<std::string> answers;
//   mp::Process child([answers] { mp::OrDie(answers.Put("42")); });
//   mp::OrDie(child.Start());
//   std::cout << mp::OrDie(answers.Get());
//
// What a T can be: mp/codec.h. There is no bound but memory, so Put() never waits for who gets: to
// port what relies on that, take a Queue with a maxsize.
//
// Ordering: what was done before a Put() is visible to who gets that value.
// Death:    as Queue (mp/queue.h): a value is put whole or not at all, nobody who waits is left
//           asleep, and no memory stays behind.
// Fork:     a child has the handle.
// Lifetime: as that of a Shared (shared/shared.h); what is left in it ends with it, without ~T of
//           what handles in it refer to.
// Signals:  not in a signal handler. A wait goes on after one; mp/cancellation.h ends it.
// Errors:   kDeadlineExceeded: empty, in time. kFailedPrecondition: after Close() in this process.
//           kInvalidArgument: the value cannot be sent. kResourceExhausted: no memory; nothing is
//           put. kDataLoss: the bytes are no T; they are gone.
// Cost:     as Queue.

#ifndef MP_MP_SIMPLE_QUEUE_H_
#define MP_MP_SIMPLE_QUEUE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/codec.h"
#include "mp/internal/queue_calls.h"
#include "mp/internal/queue_state.h"
#include "mp/internal/queue_values.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/object_type.h"

namespace mp {

struct SimpleQueueOptions {
  std::string name = {};  // for messages and listings
};

template <class T>
class SimpleQueue {
  static constexpr bool MustBe() { return MustBeEncodable<T>(); }

 public:
  using value_type = T;

  // Ends the process, with a line that says why, where Create() would fail.
  explicit SimpleQueue(const SimpleQueueOptions& options = {})
      : state_(Calls::MakeOrDie(0, options.name, kType)) {
    static_assert(MustBe());
  }
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<SimpleQueue> Create(const SimpleQueueOptions& options = {}) {
    const absl::StatusOr<State*> state = Calls::Make(0, options.name, kType);
    if (!state.ok()) return state.status();
    return SimpleQueue(internal::Handle<State>(*state));
  }

  absl::Status Put(const T& value) const {
    if (absl::Status closed = Closed(); !closed.ok()) [[unlikely]] {
      return closed;
    }
    return Values::Put(*state_, value, nullptr);
  }
  // Waits for a value. Zero or less tries once.
  absl::StatusOr<T> Get(absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) [[unlikely]] {
      return closed;
    }
    return Values::Get(*state_, internal::QueueDeadline(timeout).get());
  }

  // Exact when it is asked; perhaps old when it arrives.
  bool Empty() const { return state_->Size() == 0; }

  // This process is done with it: whatever handle it takes, Put() and Get() fail. Nobody else
  // notices. A child that is forked later has closed it, too.
  void Close() const { Calls::Close(*state_); }

 private:
  friend struct internal::HandleAccess;
  using Travels = SimpleQueue;

  using State = internal::QueueState;
  using Calls = internal::QueueCalls;
  using Values = internal::QueueValues<T>;

  static constexpr internal::ObjectType kType = internal::ObjectType::kSimpleQueue;

  explicit SimpleQueue(const internal::Handle<State>& state) : state_(state) {}

  absl::Status Closed() const { return Calls::CheckOpen(*state_); }

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_MP_SIMPLE_QUEUE_H_
