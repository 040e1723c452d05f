// OneCall: a call of a function by a worker, and the Future of what it returns.

#ifndef MP_MP_INTERNAL_ONE_CALL_H_
#define MP_MP_INTERNAL_ONE_CALL_H_

#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/future.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/future_state.h"
#include "mp/internal/part.h"
#include "mp/internal/task_code.h"
#include "mp/internal/task_runner.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

template <class F>
constexpr bool MustBeATaskFunction() {
  static_assert(PartTravels<F>(),
                "mp: a worker can be given a function, a lambda without captures, or an "
                "mp::BindFront() of one and of what it would capture");
  return true;
}

// Its address stands for the code in this process. Not TypeHash(): all lambdas of a function have
// the same name.
template <class Code>
inline constexpr char kCodeMark = 0;

// Of a code that is the same whenever its function is; else a new one.
template <class Code, class F>
absl::StatusOr<TaskRunner::JobPointer> JobOf(TaskRunner& runner, const F& f) {
  const auto mark = reinterpret_cast<uintptr_t>(&kCodeMark<Code>);
  if constexpr (kIsFunctionPointer<F>) {
    return runner.KnownJob({mark, reinterpret_cast<uintptr_t>(f)}, Code(f));
  } else if constexpr (kIsCapturelessLambda<F>) {
    return runner.KnownJob({mark, 0}, Code(f));
  } else {
    return runner.MakeJob(Code(f));
  }
}

// What is in a result's bytes: `decode(decoder)`, and nothing else.
template <class Decode>
absl::Status DecodeOutcome(const TaskOutcome& outcome, const Decode& decode) {
  return Guarded(absl::StatusCode::kDataLoss, [&] { decode(*outcome.result); });
}

template <class F, class... A>
using CallResult = TaskResult<Stored<F>, Stored<A>...>;

template <class F, class... A>
class OneCall final : public FutureState<TaskResult<F, A...>>, public TaskSink {
  using R = TaskResult<F, A...>;
  using Code = CallCode<F, A...>;

 public:
  explicit OneCall(std::shared_ptr<TaskRunner> runner)
      : runner_(std::move(runner)), driver_(runner_) {}

  template <class From, class... FromA>
  static Future<R> Put(const std::shared_ptr<TaskRunner>& runner, From&& f, FromA&&... arguments) {
    static_assert(MustBeATaskFunction<F>());
    auto call = std::make_shared<OneCall>(runner);
    // Those that are what is sent are not copied.
    const std::tuple<Part<A, FromA>...> parts(std::forward<FromA>(arguments)...);
    if (absl::Status status = call->Begin(call, static_cast<F>(std::forward<From>(f)), parts);
        !status.ok()) {
      call->Set(std::move(status));
    }
    return Future<R>(std::move(call));
  }

  const std::shared_ptr<FutureDriver>& driver() const override { return driver_; }
  bool Cancel() override { return runner_->Cancel(task_.load(std::memory_order_acquire), *this); }
  bool Running() const override {
    return runner_->IsTaken(task_.load(std::memory_order_acquire), *this);
  }

  void Take(uint64_t /*index*/, const TaskOutcome& outcome) override {
    absl::StatusOr<R> result;
    absl::Status status = outcome.StatusOf(0);
    if (status.ok()) {
      status =
          DecodeOutcome(outcome, [&](Decoder& decoder) { result = GetTaskResult<R>(decoder); });
    }
    if (!status.ok()) result = std::move(status);
    this->Set(std::move(result));
  }
  void MoveTo(uint32_t task) override { task_.store(task, std::memory_order_release); }

 private:
  template <class To, class From>
  using Part = std::conditional_t<std::is_same_v<To, std::remove_cvref_t<From>>, const To&, To>;

  template <class Parts>
  absl::Status Begin(const std::shared_ptr<OneCall>& self, const F& f, const Parts& parts) {
    if (absl::Status status = runner_->AwaitRoom(); !status.ok()) return status;
    const absl::StatusOr<TaskRunner::JobPointer> job = JobOf<Code>(*runner_, f);
    if (!job.ok()) return job.status();
    Encoder argument;
    absl::Status status = Guarded(absl::StatusCode::kInternal, [&] {
      std::apply([&](const A&... part) { (EncodePart(part, argument), ...); }, parts);
    });
    if (!status.ok()) return status;
    const absl::StatusOr<uint32_t> task = runner_->Put(*job, self, 0, argument, /*feeds=*/false);
    if (!task.ok()) return task.status();
    // If it is not run again already.
    uint32_t none = TaskRunner::kNoTask;
    task_.compare_exchange_strong(none, *task, std::memory_order_acq_rel);
    return absl::OkStatus();
  }

  const std::shared_ptr<TaskRunner> runner_;
  const std::shared_ptr<FutureDriver> driver_;
  Atomic<uint32_t> task_{TaskRunner::kNoTask};
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_ONE_CALL_H_
