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
//           it; before, it is there for the next one. Nobody who waits is left asleep, and the
//           memory of what a dead process had in its hands comes back.
// Fork:     a child has the handle.
// Lifetime: as that of a Shared (shared/shared.h); what is left in it ends with it, without ~T of
//           what handles in it refer to.
// Signals:  not in a signal handler. A wait goes on after one; mp/cancellation.h ends it.
// Errors:   kDeadlineExceeded: full, or empty, in time. kFailedPrecondition: after Close() in this
//           process; Put() after Shutdown(). kOutOfRange: Get() when it is shut down and nothing is
//           left. kInvalidArgument: the value cannot be sent. kResourceExhausted: no memory;
//           nothing is put. kDataLoss: the bytes are no T; they are gone.
// Cost:     3 KiB of the domain when it is empty; it grows with what is in it, and keeps 1 MiB when
//           that is gone. No descriptor. No system call where nobody sleeps. Figures in
//           docs/benchmarks.md.

#ifndef MP_MP_QUEUE_H_
#define MP_MP_QUEUE_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/codec.h"
#include "mp/internal/loan_block.h"
#include "mp/internal/queue_calls.h"
#include "mp/internal/queue_state.h"
#include "mp/internal/queue_values.h"
#include "mp/loan.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/shared.h"

namespace mp {

struct QueueOptions {
  std::string name = {};  // for messages and listings
};

template <class T>
class Queue {
  static constexpr bool MustBe() { return MustBeEncodable<T>(); }

 public:
  using value_type = T;

  // At most `maxsize` values at once; 0: as many as there is memory for. Ends the process, with a
  // line that says why, where Create() would fail.
  explicit Queue(size_t maxsize = 0, const QueueOptions& options = {})
      : state_(Calls::MakeOrDie(maxsize, options.name)) {
    static_assert(MustBe());
  }
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Queue> Create(size_t maxsize = 0, const QueueOptions& options = {}) {
    const absl::StatusOr<State*> state = Calls::Make(maxsize, options.name);
    if (!state.ok()) return state.status();
    return Queue(internal::Handle<State>(*state));
  }

  // Waits for room. Zero or less tries once.
  absl::Status Put(const T& value, absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) [[unlikely]] {
      return closed;
    }
    return Values::Put(*state_, value, Deadline(timeout).get());
  }
  absl::Status TryPut(const T& value) const { return Put(value, absl::ZeroDuration()); }
  // Waits for a value. Zero or less tries once.
  absl::StatusOr<T> Get(absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) [[unlikely]] {
      return closed;
    }
    return Values::Get(*state_, Deadline(timeout).get());
  }
  absl::StatusOr<T> TryGet() const { return Get(absl::ZeroDuration()); }

  // All of them at once, one behind the other, or, where this is not OK, none. Waits for room for
  // all; kInvalidArgument: there never is, they are more than `maxsize`.
  absl::Status PutMany(absl::Span<const T> values,
                       absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) return closed;
    return Values::PutMany(*state_, values, Deadline(timeout).get());
  }
  // What is there, `max` values at most; waits for the first one. Where the bytes of one are no T,
  // kDataLoss, all that were got with it are gone.
  absl::StatusOr<std::vector<T>> GetMany(size_t max,
                                         absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) return closed;
    return Values::GetMany(*state_, max, Deadline(timeout).get());
  }

  // Exact when it is asked; perhaps old when it arrives.
  size_t Qsize() const { return state_->Size(); }
  bool Empty() const { return Qsize() == 0; }
  bool Full() const { return Calls::Full(*state_); }

  // This process is done with it: whatever handle it takes, Put() and Get() fail. Nobody else
  // notices. A child that is forked later has closed it, too.
  void Close() const { Calls::Close(*state_); }
  // Nobody puts any more, and who gets takes what is left. `immediate`: that is dropped. Whoever
  // waits goes on.
  void Shutdown(bool immediate = false) const { Calls::Shutdown(*state_, immediate); }

  // A T in the domain, of these arguments, to be put as it is (mp/loan.h). Without any, bytes that
  // T does not initialize are what they are.
  template <class... A>
  requires(kFixedSize<T> != 0) absl::StatusOr<Loan<T>> Borrow(A&&... args)
  const {
    absl::StatusOr<internal::LoanBlock> block =
        internal::LoanBlock::Make(sizeof(T), alignof(T), internal::MessageHead::Kind::kBlock);
    if (!block.ok()) return block.status();
    if constexpr (sizeof...(A) == 0) {
      new (block->place()) T;
    } else if constexpr (std::is_constructible_v<T, A&&...>) {
      new (block->place()) T(std::forward<A>(args)...);
    } else {
      new (block->place()) T{std::forward<A>(args)...};
    }
    return Loan<T>(*std::move(block));
  }
  template <class... A>
  requires(internal::kAllocates<T>) absl::StatusOr<Loan<T>> Borrow(A&&... args)
  const {
    absl::StatusOr<Shared<T>> shared = Shared<T>::Create(std::forward<A>(args)...);
    if (!shared.ok()) return shared.status();
    return Loan<T>(*std::move(shared));
  }
  // A std::string or std::vector in the domain whose elements take `size` bytes, which are what
  // they are. kInvalidArgument: no number of elements does.
  absl::StatusOr<Loan<T>> BorrowBytes(size_t size) const
      requires(internal::kHasElements<T> && !internal::kAllocates<T>) {
    using Element = typename T::value_type;
    if (size % sizeof(Element) != 0) {
      return absl::InvalidArgumentError("BorrowBytes: the last element would be cut off");
    }
    absl::StatusOr<internal::LoanBlock> block =
        internal::LoanBlock::Make(size, alignof(Element), internal::MessageHead::Kind::kRaw);
    if (!block.ok()) return block.status();
    return Loan<T>(*std::move(block));
  }
  // Where this is OK `loan` is gone.
  template <std::same_as<Loan<T>> L>
  absl::Status Put(L&& loan, absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) return closed;
    if constexpr (internal::kAllocates<T>) {
      if (!loan || loan.IsInert()) return Values::NotToPut();
      absl::Status status = loan.shared_ != nullptr
                                ? Values::PutShared(*state_, *loan.shared_, Deadline(timeout).get())
                                : Values::Put(*state_, *loan, Deadline(timeout).get());
      if (status.ok()) loan = Loan<T>();
      return status;
    } else {
      return Values::PutLoan(*state_, loan.block_, Deadline(timeout).get());
    }
  }
  // A loan is given away: std::move() it.
  template <std::same_as<Loan<T>> L>
  absl::Status Put(L& loan, absl::Duration timeout = absl::InfiniteDuration()) const = delete;
  // The next value, however it was put. In place where it was put so, or is long.
  absl::StatusOr<Loan<T>> GetLoan(absl::Duration timeout = absl::InfiniteDuration()) const {
    if (absl::Status closed = Closed(); !closed.ok()) return closed;
    if constexpr (internal::kAllocates<T>) {
      internal::Received received;
      const absl::Status status = Calls::Get(*state_, received, Deadline(timeout).get());
      if (!status.ok()) return status;
      if (received.kind() == internal::MessageHead::Kind::kObject) {
        absl::StatusOr<Shared<T>> shared = Values::SharedOf(received);
        if (!shared.ok()) return shared.status();
        return Loan<T>(*std::move(shared));
      }
      absl::StatusOr<T> value = Values::Of(received);
      if (!value.ok()) return value.status();
      return Loan<T>(std::make_unique<T>(*std::move(value)));
    } else {
      absl::StatusOr<internal::LoanBlock> block = Values::GetLoan(*state_, Deadline(timeout).get());
      if (!block.ok()) return block.status();
      return Loan<T>(*std::move(block));
    }
  }

 private:
  friend struct internal::HandleAccess;
  using Travels = Queue;

  using State = internal::QueueState;
  using Calls = internal::QueueCalls;
  using Values = internal::QueueValues<T>;
  using Deadline = internal::QueueDeadline;

  explicit Queue(const internal::Handle<State>& state) : state_(state) {}

  absl::Status Closed() const { return Calls::CheckOpen(*state_); }

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_MP_QUEUE_H_
