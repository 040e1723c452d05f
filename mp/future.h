// Future: a value that is still to come, from a Pool or an Executor. A handle: copies mean the same
// one.
//
//   mp::Future<int> words = executor.Submit(&CountWords, path);
//   ...
//   absl::StatusOr<int> count = words.Get();      // and again, as often as wanted
//
//   for (mp::Future<int>& next : mp::AsCompleted(futures)) Print(next.Get());
//
// What a task came to: a status of its own, or one of task_failure.h; kCancelled, if it was.
//
// A pool has no thread of its own: what is done is harvested by who waits in it, and only then
// Done() tells of it, and callbacks are called; but once there is a callback, the pool has a thread
// that does it.
//
// Threads: any number. Callbacks are called in the thread that harvests, which others may wait for:
//          they are to be quick, and may put tasks, but not wait for them. What one throws is said
//          on standard error.
// Fork:    what a child has of it never comes: kFailedPrecondition.
// Waits:   end when the thread is cancelled (mp/cancellation.h): kCancelled.

#ifndef MP_MP_FUTURE_H_
#define MP_MP_FUTURE_H_

#include <time.h>

#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/internal/future_state.h"
#include "mp/internal/sentinel.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"

namespace mp {

namespace internal {
struct FutureStates;
}

template <class R>
class Future {
 public:
  using value_type = R;

  explicit Future(std::shared_ptr<internal::FutureState<R>> state) : state_(std::move(state)) {}

  // kDeadlineExceeded: it has not come in time. Zero or less looks once.
  absl::StatusOr<R> Get(absl::Duration timeout = absl::InfiniteDuration()) const {
    if (!state_->Await(internal::Deadline(timeout).get()) && !state_->Done()) {
      if (absl::Status status = state_->driver()->CheckIsMaker(); !status.ok()) return status;
      return internal::LateStatus("the result has not come in time");
    }
    return state_->value();
  }
  // It is done, or not by then.
  [[nodiscard]] bool Wait(absl::Duration timeout) const {
    return state_->Await(internal::Deadline(timeout).get()) || state_->Done();
  }

  // With a value, or not; or cancelled.
  bool Done() const { return state_->Await(&kPast) || state_->Done(); }
  // A worker has it.
  bool Running() const { return !Done() && state_->Running(); }
  bool Cancelled() const { return Done() && absl::IsCancelled(state_->status()); }
  // False: it has begun, or is done. That of a MapAsync() cannot be cancelled.
  bool Cancel() const { return state_->Cancel() || Cancelled(); }

  // `callback(future)`, once it is done; at once if it is. In the order in which they were added.
  void AddDoneCallback(std::function<void(const Future&)> callback) const {
    state_->driver()->Helper();
    state_->AddCallback([state = std::weak_ptr(state_), callback = std::move(callback)] {
      if (const auto alive = state.lock(); alive != nullptr) callback(Future(alive));
    });
  }

 private:
  friend struct internal::FutureStates;

  static constexpr timespec kPast = {};

  std::shared_ptr<internal::FutureState<R>> state_;
};

enum class ReturnWhen { kFirstCompleted, kFirstFailed, kAllCompleted };

// Indices into what was handed over; of those that are done, in the order in which they were.
struct WaitedFutures {
  std::vector<size_t> done;
  std::vector<size_t> not_done;
};

namespace internal {

// How the functions below get at what is in any Future.
struct FutureStates {
  template <class R>
  static const std::shared_ptr<FutureState<R>>& Of(const Future<R>& future) {
    return future.state_;
  }
  template <class R>
  static std::vector<const FutureBase*> Of(absl::Span<const Future<R>> futures) {
    std::vector<const FutureBase*> states;
    states.reserve(futures.size());
    for (const Future<R>& future : futures) states.push_back(future.state_.get());
    return states;
  }
};

WaitedFutures WaitForStates(absl::Span<const FutureBase* const> states, absl::Duration timeout,
                            ReturnWhen when);

}  // namespace internal

// Until one is done, or has failed, or all are; or `timeout`, which is no error.
template <class R>
WaitedFutures WaitFutures(absl::Span<const Future<R>> futures,
                          absl::Duration timeout = absl::InfiniteDuration(),
                          ReturnWhen when = ReturnWhen::kAllCompleted) {
  return internal::WaitForStates(internal::FutureStates::Of(futures), timeout, when);
}
template <class R>
WaitedFutures WaitFutures(const std::vector<Future<R>>& futures,
                          absl::Duration timeout = absl::InfiniteDuration(),
                          ReturnWhen when = ReturnWhen::kAllCompleted) {
  return WaitFutures(absl::Span<const Future<R>>(futures), timeout, when);
}

// The futures as they are done: a range that ends with the last of them, or when `timeout`, counted
// from the call, is over: status() tells which.
template <class R>
class CompletedFutures {
 public:
  CompletedFutures(absl::Span<const Future<R>> futures, absl::Duration timeout)
      : left_(futures.begin(), futures.end()), all_(left_.size()), deadline_(timeout) {}

  class Iterator {
   public:
    using value_type = Future<R>;
    using difference_type = ptrdiff_t;

    explicit Iterator(CompletedFutures* futures) : futures_(futures) { ++*this; }
    const Future<R>& operator*() const { return futures_->next_.front(); }
    const Future<R>* operator->() const { return &futures_->next_.front(); }
    Iterator& operator++() {
      futures_->Advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) { return it.Ended(); }

   private:
    bool Ended() const { return futures_->next_.empty(); }

    CompletedFutures* futures_;
  };

  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const { return {}; }

  // kDeadlineExceeded: `timeout` was over; kCancelled: the thread is. It says how many are left.
  const absl::Status& status() const { return status_; }

 private:
  void Advance() {
    next_.clear();
    if (left_.empty()) return;
    const timespec* const end = deadline_.get();
    const WaitedFutures waited = internal::WaitForStates(
        internal::FutureStates::Of(absl::Span<const Future<R>>(left_)),
        end == nullptr ? absl::InfiniteDuration() : internal::TimeLeft(*end),
        ReturnWhen::kFirstCompleted);
    if (waited.done.empty()) {
      status_ =
          internal::LateStatus(absl::StrCat(left_.size(), " (of ", all_, ") futures unfinished"));
      return;
    }
    next_.push_back(left_[waited.done.front()]);
    left_.erase(left_.begin() + static_cast<ptrdiff_t>(waited.done.front()));
  }

  std::vector<Future<R>> left_;
  const size_t all_;
  const internal::Deadline deadline_;
  std::vector<Future<R>> next_;  // one, or none
  absl::Status status_;
};

template <class R>
CompletedFutures<R> AsCompleted(absl::Span<const Future<R>> futures,
                                absl::Duration timeout = absl::InfiniteDuration()) {
  return CompletedFutures<R>(futures, timeout);
}
template <class R>
CompletedFutures<R> AsCompleted(const std::vector<Future<R>>& futures,
                                absl::Duration timeout = absl::InfiniteDuration()) {
  return CompletedFutures<R>(futures, timeout);
}

}  // namespace mp

#endif  // MP_MP_FUTURE_H_
