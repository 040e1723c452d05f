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
// Dropped early: what has been put is run, and nobody learns of it; no more is put.
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
class ResultStream : public TaskSink {
 public:
  struct Result {
    size_t index;
    absl::StatusOr<R> value;
  };

  ResultStream(std::shared_ptr<TaskRunner> runner, bool ordered)
      : runner_(std::move(runner)), may_feed_(runner_->BeginFeeding()), ordered_(ordered) {}
  ~ResultStream() override = default;

  // One more chunk is put, and its number returned. False: there is none.
  virtual bool FeedOne(uint64_t chunk) = 0;

  void Feed() {
    while (!fed_all_ && UnderWay() < window()) {
      if (FeedOne(put_)) {
        ++put_;
      } else {
        EndFeeding();
      }
    }
  }
  void EndFeeding() {
    if (!std::exchange(fed_all_, true) && may_feed_.ok()) runner_->EndFeeding();
  }

  // nullptr: nothing has come by `deadline`; or all has.
  std::unique_ptr<Result> Next(const timespec* deadline) {
    Feed();
    if (!HasNext() && !ended()) {
      static_cast<void>(runner_->DriveUntil([this] { return HasNext(); }, deadline));
      Feed();
    }
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
  const absl::Status may_feed_;

 private:
  size_t window() const {
    constexpr size_t kMost = 1000;
    const size_t most = runner_->max_in_flight();
    return most == 0 ? kMost : most;
  }
  uint64_t UnderWay() const {
    const std::lock_guard lock(mutex_);
    return put_ + extra_ - given_;
  }
  bool HasNext() const {
    const std::lock_guard lock(mutex_);
    return HasNextLocked();
  }
  bool HasNextLocked() const {
    return !ready_.empty() && (!ordered_ || ready_.begin()->first == given_);
  }

  const bool ordered_;
  bool fed_all_ = false;
  uint64_t put_ = 0;  // chunks
  mutable std::mutex mutex_;
  // Under it:
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
    stream_->Feed();
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
    if (result != nullptr) {
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
      ended_ = results_->ended();
      if (!ended_) value_ = results_->Next();
      // Nothing comes any more to one whose thread is cancelled, or is a child's.
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) { return it.ended_; }

   private:
    PoolResults* results_;
    bool ended_ = false;
    absl::StatusOr<R> value_;
  };

  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::shared_ptr<internal::ResultStream<R>> stream_;
  size_t index_ = 0;
};

}  // namespace mp

#endif  // MP_MP_POOL_RESULTS_H_
