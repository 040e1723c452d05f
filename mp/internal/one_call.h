// OneCall: a call of a function by a worker, and the Future of what it returns.

#ifndef MP_MP_INTERNAL_ONE_CALL_H_
#define MP_MP_INTERNAL_ONE_CALL_H_

#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/future.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/crew.h"
#include "mp/internal/future_state.h"
#include "mp/internal/part.h"
#include "mp/internal/task_code.h"
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
absl::StatusOr<Crew::JobPointer> JobOf(Crew& crew, const F& f) {
  const auto mark = reinterpret_cast<uintptr_t>(&kCodeMark<Code>);
  if constexpr (kIsFunctionPointer<F>) {
    return crew.KnownJob({mark, reinterpret_cast<uintptr_t>(f)}, Code(f));
  } else if constexpr (kIsCapturelessLambda<F>) {
    return crew.KnownJob({mark, 0}, Code(f));
  } else {
    return crew.MakeJob(Code(f));
  }
}

// What is in a result's bytes: `decode(decoder)`, and nothing else.
template <class Decode>
absl::Status DecodeOutcome(const TaskOutcome& outcome, const Decode& decode) {
  Decoder decoder(outcome.bytes, outcome.handles);
  return Guarded(absl::StatusCode::kDataLoss, [&] { decode(decoder); });
}

template <class F, class... A>
class OneCall final : public FutureState<TaskResult<F, A...>>, public TaskSink {
  using R = TaskResult<F, A...>;
  using Code = CallCode<F, A...>;

 public:
  explicit OneCall(std::shared_ptr<Crew> crew) : crew_(std::move(crew)), driver_(crew_) {}

  template <class From, class... FromA>
  static Future<R> Put(const std::shared_ptr<Crew>& crew, From&& f, FromA&&... arguments) {
    static_assert(MustBeATaskFunction<F>());
    auto call = std::make_shared<OneCall>(crew);
    const std::tuple<A...> parts(std::forward<FromA>(arguments)...);
    if (absl::Status status = call->Begin(call, F(std::forward<From>(f)), parts); !status.ok()) {
      call->Set(std::move(status));
    }
    return Future<R>(std::move(call));
  }

  const std::shared_ptr<FutureDriver>& driver() const override { return driver_; }
  bool Cancel() override { return crew_->Cancel(task_.load(std::memory_order_acquire), *this); }
  bool Running() const override {
    return crew_->IsTaken(task_.load(std::memory_order_acquire), *this);
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

 private:
  absl::Status Begin(const std::shared_ptr<OneCall>& self, const F& f,
                     const std::tuple<A...>& parts) {
    if (absl::Status status = crew_->AwaitRoom(); !status.ok()) return status;
    const absl::StatusOr<Crew::JobPointer> job = JobOf<Code>(*crew_, f);
    if (!job.ok()) return job.status();
    Encoder argument;
    absl::Status status = Guarded(absl::StatusCode::kInternal, [&] {
      std::apply([&](const A&... part) { (EncodePart(part, argument), ...); }, parts);
    });
    if (!status.ok()) return status;
    const absl::StatusOr<uint32_t> task = crew_->Put(*job, self, 0, argument);
    if (!task.ok()) return task.status();
    task_.store(*task, std::memory_order_release);
    return absl::OkStatus();
  }

  const std::shared_ptr<Crew> crew_;
  const std::shared_ptr<FutureDriver> driver_;
  Atomic<uint32_t> task_{PoolState::kNone};
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_ONE_CALL_H_
