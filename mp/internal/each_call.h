// EachCall: a function called by workers with each item of a range, in chunks.

#ifndef MP_MP_INTERNAL_EACH_CALL_H_
#define MP_MP_INTERNAL_EACH_CALL_H_

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/codec.h"
#include "mp/future.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/encoder_access.h"
#include "mp/internal/future_state.h"
#include "mp/internal/one_call.h"
#include "mp/internal/progress.h"
#include "mp/internal/task_code.h"
#include "mp/internal/task_runner.h"
#include "mp/pool_results.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

// The items of a range, as the arguments of an EachCode.
template <std::ranges::input_range Range>
class ItemSource {
 public:
  using Item = std::ranges::range_value_t<Range>;

  explicit ItemSource(Range& range)
      : at_(std::ranges::begin(range)), end_(std::ranges::end(range)) {}

  // Up to `most`; how many there were is 0 at the end. kInternal: the range threw.
  absl::StatusOr<size_t> Next(size_t most, Encoder& encoder) {
    // What the encoder has not copied has to stay until it has.
    constexpr bool kStays = std::ranges::forward_range<Range> &&
                            std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>>;
    size_t count = 0;
    absl::Status status = Guarded(absl::StatusCode::kInternal, [&] {
      items_.clear();
      if constexpr (kStays && std::ranges::contiguous_range<Range> &&
                    std::sized_sentinel_for<std::ranges::sentinel_t<Range>,
                                            std::ranges::iterator_t<Range>> &&
                    kAreBytes<Item>) {
        count = std::min(most, static_cast<size_t>(end_ - at_));
        encoder.PutLength(count);
        EncoderAccess::PutLong(encoder, std::to_address(at_), count * sizeof(Item));
        at_ += static_cast<std::ranges::range_difference_t<Range>>(count);
      } else if constexpr (kStays) {
        auto end = at_;
        for (; count < most && end != end_; ++count) ++end;
        encoder.PutLength(count);
        for (; at_ != end; ++at_) encoder.Put<Item>(*at_);
      } else {
        for (; items_.size() < most && at_ != end_; ++at_) items_.push_back(*at_);
        count = items_.size();
        encoder.PutLength(count);
        for (const Item& item : items_) encoder.Put<Item>(item);
      }
    });
    if (!status.ok()) return status;
    return count;
  }

 private:
  std::ranges::iterator_t<Range> at_;
  std::ranges::sentinel_t<Range> end_;
  std::vector<Item> items_;
};

// All results, in order; or the first failure, when all are done.
template <class R>
class MapCall final : public FutureState<std::vector<R>>, public TaskSink {
 public:
  MapCall(std::shared_ptr<TaskRunner> runner, size_t items, size_t chunksize)
      : runner_(std::move(runner)),
        driver_(runner_),
        chunksize_(chunksize),
        results_(items),
        progress_(runner_->on_progress(), items) {}

  const std::shared_ptr<FutureDriver>& driver() const override { return driver_; }
  bool Cancel() override { return false; }
  bool Running() const override { return true; }

  void Take(uint64_t chunk, const TaskOutcome& outcome) override {
    const size_t first = chunk * chunksize_;
    const size_t items = std::min(chunksize_, results_.size() - first);
    absl::Status status = outcome.StatusOf(first + outcome.error.item);
    if (outcome.kind == TaskOutcome::Kind::kDone) {
      status = DecodeOutcome(outcome, [&](Decoder& decoder) {
        if constexpr (std::same_as<Slot, R> && kAreBytes<R> && !std::same_as<R, std::monostate>) {
          const std::string_view bytes = decoder.View(items * sizeof(R));
          std::memcpy(&results_[first], bytes.data(), bytes.size());
        } else {
          for (size_t i = 0; i < items; ++i) results_[first + i] = GetTaskResult<R>(decoder);
        }
      });
    }
    progress_.Add(items, status.ok() ? 0 : items);
    End(first, std::move(status), /*is_task=*/true);
  }
  // One more task is to come; and what is not, and why.
  void BeginTask() { open_.fetch_add(1, std::memory_order_relaxed); }
  void Fail(size_t item, absl::Status why) { End(item, std::move(why), /*is_task=*/false); }
  void EndTask(size_t item, absl::Status why) { End(item, std::move(why), /*is_task=*/true); }
  void EndFeeding() {
    const std::unique_lock lock(mutex_);
    fed_all_ = true;
    CompleteIfDone();
  }
  // Tasks that are not done.
  size_t open() const { return open_.load(std::memory_order_relaxed); }
  size_t to_come() const override { return open(); }

 private:
  using Slot = std::conditional_t<std::default_initializable<R>, R, std::optional<R>>;

  void End(size_t item, absl::Status status, bool is_task) {
    const std::lock_guard lock(mutex_);
    if (!status.ok() && (failure_.ok() || item < failed_)) {
      failed_ = item;
      failure_ = std::move(status);
    }
    if (is_task) open_.fetch_sub(1, std::memory_order_relaxed);
    CompleteIfDone();
  }
  void CompleteIfDone() {
    if (!fed_all_ || open() != 0) return;
    if (!failure_.ok()) {
      this->Set(failure_);
    } else if constexpr (std::same_as<Slot, R>) {
      this->Set(std::move(results_));
    } else {
      std::vector<R> values;
      values.reserve(results_.size());
      for (Slot& slot : results_) values.push_back(*std::move(slot));
      this->Set(std::move(values));
    }
  }

  const std::shared_ptr<TaskRunner> runner_;
  const std::shared_ptr<FutureDriver> driver_;
  const size_t chunksize_;
  std::vector<Slot> results_;
  Progress progress_;
  Atomic<size_t> open_{0};
  std::mutex mutex_;
  // Under it:
  bool fed_all_ = false;
  size_t failed_ = 0;
  absl::Status failure_;
};

// RangeReference: T& or, of a range that is handed over, T.
template <class F, class RangeReference, bool kStar>
class ImapCall final
    : public ResultStream<
          typename EachCode<F, std::ranges::range_value_t<RangeReference>, kStar, true>::Result>,
      public std::enable_shared_from_this<ImapCall<F, RangeReference, kStar>> {
  using Range = std::remove_reference_t<RangeReference>;
  using Item = std::ranges::range_value_t<Range>;
  using Code = EachCode<F, Item, kStar, true>;
  using R = typename Code::Result;
  using Stream = ResultStream<R>;
  using Results = std::deque<typename Stream::Result>;

 public:
  ImapCall(std::shared_ptr<TaskRunner> runner, RangeReference&& range,
           absl::StatusOr<TaskRunner::JobPointer> job, size_t chunksize, bool ordered)
      : Stream(std::move(runner), ordered),
        range_(std::forward<RangeReference>(range)),
        source_(range_),
        job_(std::move(job)),
        chunksize_(chunksize),
        progress_(this->runner_->on_progress(), 0) {}

  bool FeedOne(uint64_t chunk) override {
    if (failed_) return false;
    if (absl::Status status = TryFeed(chunk); !status.ok()) {
      failed_ = true;
      if (!absl::IsOutOfRange(status)) this->DeliverLast(chunk, chunk * chunksize_, status);
      progress_.SetTotal(fed_);
      return false;
    }
    return true;
  }

  void Take(uint64_t chunk, const TaskOutcome& outcome) override {
    size_t items;
    {
      const std::lock_guard lock(mutex_);
      const auto it = sizes_.find(chunk);
      items = it->second;
      sizes_.erase(it);
    }
    const size_t first = chunk * chunksize_;
    Results results;
    absl::Status status;
    if (outcome.kind == TaskOutcome::Kind::kDone) {
      status = DecodeOutcome(outcome, [&](Decoder& decoder) {
        for (size_t i = 0; i < items; ++i) {
          if (decoder.Get<bool>()) {
            results.push_back({first + i, GetTaskResult<R>(decoder)});
          } else {
            const TaskOutcome one = {.kind = TaskOutcome::Kind::kError,
                                     .error = TaskError::Get(decoder),
                                     .failure = outcome.failure};
            results.push_back({first + i, one.StatusOf(first + i)});
          }
        }
      });
    }
    size_t failed = 0;
    for (const auto& result : results) failed += result.value.ok() ? 0 : 1;
    for (size_t i = results.size(); i < items; ++i, ++failed) {
      results.push_back({first + i, status.ok() ? outcome.StatusOf(first + i) : status});
    }
    progress_.Add(items, failed);
    this->Deliver(chunk, std::move(results));
  }

 private:
  // kOutOfRange: there is no more.
  absl::Status TryFeed(uint64_t chunk) {
    if (!this->may_feed_.ok()) return this->may_feed_;
    if (!job_.ok()) return job_.status();
    Encoder argument;
    const absl::StatusOr<size_t> items = source_.Next(chunksize_, argument);
    if (!items.ok()) return items.status();
    if (*items == 0) return absl::OutOfRangeError("");
    {
      const std::lock_guard lock(mutex_);
      sizes_[chunk] = *items;
    }
    absl::Status status =
        this->runner_->Put(*job_, this->shared_from_this(), chunk, argument, /*feeds=*/true)
            .status();
    if (status.ok()) fed_ += *items;
    return status;
  }

  RangeReference range_;
  ItemSource<Range> source_;
  const absl::StatusOr<TaskRunner::JobPointer> job_;
  const size_t chunksize_;
  bool failed_ = false;
  size_t fed_ = 0;  // items
  Progress progress_;
  std::mutex mutex_;
  std::map<uint64_t, size_t> sizes_;  // under it: of chunks that are under way
};

template <bool kStar, class F, class Range>
using EachResult =
    typename ItemParts<kStar, std::ranges::range_value_t<Range>>::template Result<Stored<F>>;

template <bool kStar, class F, class RangeReference>
struct EachCall {
  using Range = std::remove_reference_t<RangeReference>;
  using Item = std::ranges::range_value_t<Range>;
  using Code = EachCode<F, Item, kStar, false>;
  using R = typename Code::Result;
  using Call = MapCall<R>;

  static constexpr bool MustBe() {
    static_assert(MustBeATaskFunction<F>());
    static_assert(ItemParts<kStar, Item>::template kIsCallable<F>,
                  "mp: the function cannot be called with an item of the range");
    static_assert(mp::MustBeEncodable<Item>());
    return true;
  }

  template <class From>
  static absl::StatusOr<std::vector<R>> Map(const std::shared_ptr<TaskRunner>& runner, From&& f,
                                            Range& range, size_t chunksize) {
    const std::shared_ptr<Call> call =
        Begin(runner, static_cast<F>(std::forward<From>(f)), range, chunksize, /*waits=*/true);
    // Nobody else has it.
    if (call->Await(nullptr)) return call->TakeValue();
    return Future<std::vector<R>>(call).Get(absl::ZeroDuration());
  }
  template <class From>
  static Future<std::vector<R>> MapAsync(const std::shared_ptr<TaskRunner>& runner, From&& f,
                                         Range& range, size_t chunksize) {
    return Future<std::vector<R>>(
        Begin(runner, static_cast<F>(std::forward<From>(f)), range, chunksize, /*waits=*/false));
  }

  template <class From>
  static PoolResults<R> Imap(const std::shared_ptr<TaskRunner>& runner, From&& f,
                             RangeReference&& range, size_t chunksize, bool ordered) {
    static_assert(MustBe());
    using Stream = ImapCall<F, RangeReference, kStar>;
    absl::StatusOr<TaskRunner::JobPointer> job =
        JobOf<EachCode<F, Item, kStar, true>>(*runner, static_cast<F>(std::forward<From>(f)));
    if (chunksize == 0) job = absl::InvalidArgumentError("Imap: a chunksize of 0");
    return PoolResults<R>(std::make_shared<Stream>(runner, std::forward<RangeReference>(range),
                                                   std::move(job), chunksize, ordered));
  }

 private:
  // By Python's rule.
  static size_t DefaultChunk(size_t items, int workers) {
    const size_t parts = 4 * static_cast<size_t>(workers);
    return std::max<size_t>(1, (items + parts - 1) / parts);
  }

  static std::shared_ptr<Call> Begin(const std::shared_ptr<TaskRunner>& runner, const F& f,
                                     Range& range, size_t chunksize, bool waits) {
    static_assert(MustBe());
    if constexpr (!std::ranges::sized_range<Range>) {
      std::vector<Item> items;
      const absl::Status status = Guarded(absl::StatusCode::kInternal, [&] {
        for (auto&& item : range) items.push_back(std::forward<decltype(item)>(item));
      });
      return EachCall<kStar, F, std::vector<Item>&>::BeginSized(runner, f, items, chunksize, waits,
                                                                status);
    } else {
      return BeginSized(runner, f, range, chunksize, waits, absl::OkStatus());
    }
  }

 public:
  static std::shared_ptr<Call> BeginSized(const std::shared_ptr<TaskRunner>& runner, const F& f,
                                          Range& range, size_t chunksize, bool waits,
                                          absl::Status status) {
    const size_t items = std::ranges::size(range);
    if (chunksize == 0) chunksize = DefaultChunk(items, runner->workers());
    auto call = std::make_shared<Call>(runner, items, chunksize);
    if (status.ok()) status = runner->BeginFeeding({});
    if (status.ok()) {
      status = Feed(*runner, f, range, items, chunksize, waits, call);
      runner->EndFeeding();
    }
    if (!status.ok()) call->Fail(0, std::move(status));
    call->EndFeeding();
    return call;
  }

 private:
  static absl::Status Feed(TaskRunner& runner, const F& f, Range& range, size_t items,
                           size_t chunksize, bool waits, const std::shared_ptr<Call>& call) {
    // Who waits puts no more than keeps the workers busy: memory that was just used is fast.
    constexpr size_t kWindow = 1024;
    if (items == 0) return absl::OkStatus();
    const absl::StatusOr<TaskRunner::JobPointer> job = JobOf<Code>(runner, f);
    if (!job.ok()) return job.status();
    ItemSource<Range> source(range);
    for (size_t chunk = 0; chunk * chunksize < items; ++chunk) {
      if (waits && call->open() >= kWindow) {
        static_cast<void>(runner.DriveUntil(
            [&] { return call->open() <= kWindow / 2; }, &kUncancelled,
            [&] { return std::max(call->open(), kWindow / 2 + 1) - kWindow / 2; }));
      }
      if (absl::Status status = runner.AwaitRoom(); !status.ok()) return status;
      Encoder argument;
      const absl::StatusOr<size_t> count = source.Next(chunksize, argument);
      absl::Status status = count.status();
      if (status.ok() && *count != std::min(chunksize, items - chunk * chunksize)) {
        status = absl::InternalError("the range has fewer items than its size says");
      }
      if (status.ok()) {
        call->BeginTask();
        status = runner.Put(*job, call, chunk, argument, /*feeds=*/true).status();
        if (!status.ok()) call->EndTask(chunk * chunksize, status);
      }
      if (!status.ok()) {
        call->Fail(chunk * chunksize, std::move(status));
        break;
      }
    }
    return absl::OkStatus();
  }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_EACH_CALL_H_
