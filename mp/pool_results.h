// PoolResults: what Imap() and ImapUnordered() of a Pool return: the results, one by one, of calls
// that are still being made. A range, to be gone over once.
//
//   for (absl::StatusOr<int> length : pool.Imap(&LengthOf, paths)) Print(length);
//
//   mp::PoolResults<int> lengths = pool.ImapUnordered(&LengthOf, paths);
//   for (absl::StatusOr<int> length; !lengths.ended();) {
//     length = lengths.Next(absl::Seconds(1));
//     if (absl::IsDeadlineExceeded(length.status())) continue;   // it can be had later
//     Print(paths[lengths.index()], length);
//   }
//
// Each result is that of one item, whatever the chunks: one that fails does not keep the others of
// its chunk from being run; but one that ends its worker does. An exception of the range is the
// last result: kInternal.
//
// Dropped early: what has been put is run, and nobody learns of it; no more is put. Kept, and not
// taken, when the pool is joined, or ends: Join() reads the range to its end, and results wait.
// Threads: one at a time.

#ifndef MP_MP_POOL_RESULTS_H_
#define MP_MP_POOL_RESULTS_H_

#include <time.h>

#include <cstddef>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/internal/task_runner.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"

namespace mp {

namespace internal {

// What is not a matter of the range.
template <class R>
class ResultStream : public TaskSink, public Feeder {
 public:
  struct Result {
    size_t index;
    absl::StatusOr<R> value;
  };

  ResultStream(std::shared_ptr<TaskRunner> runner, bool ordered)
      : runner_(std::move(runner)), ordered_(ordered) {}
  ~ResultStream() override = default;

  // Before all others; `self`: this.
  void Begin(std::weak_ptr<Feeder> self) {
    may_feed_ = runner_->BeginFeeding(std::move(self));
    Feed();
  }

  // One more chunk is put, and its number returned. False: there is none.
  virtual bool FeedOne(uint64_t chunk) = 0;

  // Until so many are under way, or wait to be taken, as may be.
  void Feed() {
    const std::lock_guard lock(feed_mutex_);
    FeedWhile([this] { return put_ + extra_ - given_ < window(); });
  }
  void FeedAhead() override {
    const std::unique_lock lock(feed_mutex_, std::try_to_lock);
    if (lock.owns_lock()) FeedWhile([this] { return put_ + extra_ - came_ < window(); });
  }
  void EndFeeding() {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(fed_all_, true)) return;
    }
    if (may_feed_.ok()) runner_->EndFeeding();
  }

  // nullptr: nothing has come by `deadline`; or all has.
  std::unique_ptr<Result> Next(const timespec* deadline) {
    Feed();
    if (!HasNext() && !ended()) {
      static_cast<void>(runner_->DriveUntil([this] { return HasNext(); }, deadline));
      Feed();
    }
    std::unique_ptr<Result> result = TakeNext();
    // There is room for another one; or it is known that this was the last.
    if (result != nullptr) Feed();
    return result;
  }
  bool ended() const {
    const std::lock_guard lock(mutex_);
    return fed_all_ && given_ == put_ + extra_ && ready_.empty();
  }
  const TaskRunner& runner() const { return *runner_; }

 protected:
  // By its chunk, all that came of that.
  void Deliver(uint64_t chunk, std::deque<Result> results) {
    const std::lock_guard lock(mutex_);
    // As it comes, it is the next one.
    ready_.emplace(ordered_ ? chunk : came_, std::move(results));
    ++came_;
  }
  // What stands in the place of chunk `chunk`, and behind which there is none.
  void DeliverLast(uint64_t chunk, size_t index, absl::Status why) {
    std::deque<Result> results;
    results.push_back({index, std::move(why)});
    Deliver(chunk, std::move(results));
    extra_ = 1;
  }

  const std::shared_ptr<TaskRunner> runner_;
  absl::Status may_feed_;

 private:
  size_t window() const {
    constexpr size_t kMost = 1000;
    const size_t most = runner_->max_in_flight();
    return most == 0 ? kMost : most;
  }
  // Under feed_mutex_; `has_room` under mutex_.
  template <class HasRoom>
  void FeedWhile(const HasRoom& has_room) {
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        if (fed_all_ || !has_room()) return;
      }
      if (!FeedOne(put_)) return EndFeeding();
      const std::lock_guard lock(mutex_);
      ++put_;
    }
  }
  std::unique_ptr<Result> TakeNext() {
    const std::lock_guard lock(mutex_);
    if (!HasNextLocked()) return nullptr;
    auto first = ready_.begin();
    auto result = std::make_unique<Result>(std::move(first->second.front()));
    first->second.pop_front();
    if (first->second.empty()) {
      ready_.erase(first);
      ++given_;
    }
    return result;
  }
  bool HasNext() const {
    const std::lock_guard lock(mutex_);
    return HasNextLocked();
  }
  bool HasNextLocked() const {
    return !ready_.empty() && (!ordered_ || ready_.begin()->first == given_);
  }

  const bool ordered_;
  std::mutex feed_mutex_;  // held by the one that feeds
  mutable std::mutex mutex_;
  // Under it:
  bool fed_all_ = false;
  uint64_t put_ = 0;    // chunks; changes under both
  uint64_t extra_ = 0;  // 1: one that was not put
  uint64_t came_ = 0;
  uint64_t given_ = 0;  // all of it
  std::map<uint64_t, std::deque<Result>> ready_;
};

}  // namespace internal

template <class R>
class PoolResults {
 public:
  explicit PoolResults(std::shared_ptr<internal::ResultStream<R>> stream)
      : stream_(std::move(stream)) {
    stream_->Begin(stream_);
  }
  PoolResults(PoolResults&&) noexcept = default;
  PoolResults& operator=(PoolResults&&) noexcept = default;
  ~PoolResults() {
    if (stream_ != nullptr) stream_->EndFeeding();
  }

  // kDeadlineExceeded: none has come in time; it will be the next one. kOutOfRange: there are no
  // more (see ended(), where a task may say so, too).
  absl::StatusOr<R> Next(absl::Duration timeout = absl::InfiniteDuration()) {
    const internal::Deadline deadline(timeout);
    auto result = stream_->Next(deadline.get());
    came_ = result != nullptr;
    if (came_) {
      index_ = result->index;
      return std::move(result->value);
    }
    if (stream_->ended()) return absl::OutOfRangeError("there are no more results");
    if (absl::Status status = stream_->runner().CheckIsMaker(); !status.ok()) return status;
    return internal::LateStatus("no result has come in time");
  }
  // Of which item the last one was.
  size_t index() const { return index_; }
  bool ended() const { return stream_->ended(); }

  class Iterator {
   public:
    using value_type = absl::StatusOr<R>;
    using difference_type = ptrdiff_t;

    explicit Iterator(PoolResults* results) : results_(results) { ++*this; }
    const absl::StatusOr<R>& operator*() const { return value_; }
    const absl::StatusOr<R>* operator->() const { return &value_; }
    Iterator& operator++() {
      ended_ = ended_ || last_ || results_->ended();
      if (ended_) return *this;
      value_ = results_->Next();
      // Nothing comes any more to one whose thread is cancelled, or is a child's: that is the last.
      last_ = !results_->came_;
      ended_ = last_ && results_->ended();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) { return it.ended_; }

   private:
    PoolResults* results_;
    bool ended_ = false;
    bool last_ = false;
    absl::StatusOr<R> value_;
  };

  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::shared_ptr<internal::ResultStream<R>> stream_;
  size_t index_ = 0;
  bool came_ = false;  // what Next() has returned
};

}  // namespace mp

#endif  // MP_MP_POOL_RESULTS_H_
