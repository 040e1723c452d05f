// TaskCode: what a worker does for the tasks of a job: a function, and how its arguments and
// results travel. As with a target (target.h), its id is sent, and what it has bound, once for all
// tasks.
//
//   CallCode     f(arguments...), which came as a tuple: a result, or a status
//   EachCode     f(item) of each of the items that came: as many results, or the first status that
//                is not OK
//   EachItsOwn   the same: as many statuses or results
//
// Results that are a void or an absl::Status travel as a std::monostate, those of an
// absl::StatusOr<X> as an X.

#ifndef MP_MP_INTERNAL_TASK_CODE_H_
#define MP_MP_INTERNAL_TASK_CODE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/internal/bytes_codec.h"
#include "mp/internal/encoder_access.h"
#include "mp/internal/kind.h"
#include "mp/internal/part.h"
#include "mp/internal/status_bytes.h"
#include "mp/internal/target.h"

namespace mp::internal {

// Why a task failed, as its worker says it.
struct TaskError {
  enum class How : uint8_t { kReturned, kThrew, kHadNoMemory };

  uint64_t item = 0;  // of its items
  How how = How::kReturned;
  absl::Status status;

  void Put(Encoder& encoder) const {
    encoder.PutNumber(item);
    encoder.Put(how);
    PutStatus(status, encoder);
  }
  static TaskError Get(Decoder& decoder) {
    TaskError error;
    error.item = decoder.GetNumber();
    error.how = decoder.Get<How>();
    error.status = GetStatus(decoder);
    return error;
  }
};

// Values that lie side by side in a message, as they do in memory.
template <class T>
inline constexpr bool kAreBytes = kKind<T> == Kind::kBytes && !HasWrongBytes<T>();

// Of what a task returns, which ends before it is copied into a message: it is kept until this
// ends.
class ResultEncoder : public Encoder {
 public:
  template <class R>
  void PutResult(R&& result) {
    using Kept = std::decay_t<R>;
    // Of these the encoder has a copy.
    constexpr size_t kCopied = 256;
    if constexpr (std::is_same_v<Kept, std::monostate>) {
      return;
    } else if constexpr (std::is_trivially_copyable_v<Kept> && sizeof(Kept) <= kCopied) {
      Put(result);
    } else {
      auto kept = std::make_shared<const Kept>(std::forward<R>(result));
      Put(*kept);
      kept_.push_back(std::move(kept));
    }
  }

  // As one PutResult() for each.
  template <class R>
  requires kAreBytes<R>
  void PutResults(std::vector<R> results) {
    auto kept = std::make_shared<const std::vector<R>>(std::move(results));
    EncoderAccess::PutLong(*this, kept->data(), kept->size() * sizeof(R));
    kept_.push_back(std::move(kept));
  }

 private:
  std::vector<std::shared_ptr<const void>> kept_;
};

class TaskCode {
 public:
  virtual ~TaskCode() = default;

  // Of one task. Not OK: then nothing that it has put counts.
  virtual TaskError Run(Decoder& argument, ResultEncoder& result) = 0;
  // For DecodeTaskCode().
  virtual void Encode(Encoder& encoder) const = 0;
};

using TaskCodeDecoder = std::unique_ptr<TaskCode> (*)(Decoder& decoder);

std::unique_ptr<TaskCode> DecodeTaskCode(Decoder& decoder);

// `run()`, whose exceptions are errors; but for a result that cannot be sent.
TaskError Attempt(absl::FunctionRef<absl::Status()> run);
// From now on a std::bad_alloc in this process is one for want of what the pool's options limit.
void LimitMemoryOfTasks();

// What a function that returns a Raw is said to return.
template <class Raw>
struct TaskResultOf {
  using Type = std::decay_t<Raw>;
};
template <>
struct TaskResultOf<void> {
  using Type = std::monostate;
};
template <>
struct TaskResultOf<absl::Status> {
  using Type = std::monostate;
};
template <class T>
struct TaskResultOf<absl::StatusOr<T>> {
  using Type = T;
};

// An F that stays where it is, called with A as a target is: as rvalues or, failing that, lvalues.
template <class F, class... A>
using TaskCall = FirstCall<std::reference_wrapper<F>, A...>;
template <class F, class... A>
using RawTaskResult = ResultOf<std::reference_wrapper<F>, A...>;
template <class F, class... A>
using TaskResult = typename TaskResultOf<RawTaskResult<F, A...>>::Type;

template <class F, class... A>
concept CanBeCalledByAWorker = kHasChoice<std::reference_wrapper<F>, A...>;

// f(arguments...): `use(result)` of what it returns, if that is no error.
template <class Use, class F, class... A>
absl::Status CallTask(std::tuple<std::reference_wrapper<F>, A...>& parts, const Use& use) {
  using Raw = RawTaskResult<F, A...>;
  if constexpr (std::is_void_v<Raw>) {
    TaskCall<F, A...>::Invoke(parts);
    use(std::monostate());
    return absl::OkStatus();
  } else if constexpr (std::is_same_v<std::decay_t<Raw>, absl::Status>) {
    absl::Status status = TaskCall<F, A...>::Invoke(parts);
    if (status.ok()) use(std::monostate());
    return status;
  } else if constexpr (std::is_same_v<std::decay_t<Raw>, absl::StatusOr<TaskResult<F, A...>>>) {
    absl::StatusOr<TaskResult<F, A...>> result = TaskCall<F, A...>::Invoke(parts);
    if (!result.ok()) return result.status();
    use(*std::move(result));
    return absl::OkStatus();
  } else {
    use(TaskCall<F, A...>::Invoke(parts));
    return absl::OkStatus();
  }
}

template <class R>
R GetTaskResult(Decoder& decoder) {
  if constexpr (std::is_same_v<R, std::monostate>) {
    return R();
  } else {
    return decoder.Get<R>();
  }
}

// The arguments of a StarCode come as tuples, and are unpacked.
template <bool kStar, class A>
struct ItemParts {
  template <class F>
  using Result = TaskResult<F, A>;
  template <class F>
  static constexpr bool kIsCallable = CanBeCalledByAWorker<F, A>;
  template <class F>
  static std::tuple<std::reference_wrapper<F>, A> Of(F& f, A&& item) {
    return {std::ref(f), std::move(item)};
  }
};
template <class... A>
struct ItemParts<true, std::tuple<A...>> {
  template <class F>
  using Result = TaskResult<F, A...>;
  template <class F>
  static constexpr bool kIsCallable = CanBeCalledByAWorker<F, A...>;
  template <class F>
  static std::tuple<std::reference_wrapper<F>, A...> Of(F& f, std::tuple<A...>&& item) {
    return std::tuple_cat(std::make_tuple(std::ref(f)), std::move(item));
  }
};
template <class First, class Second>
struct ItemParts<true, std::pair<First, Second>> : ItemParts<true, std::tuple<First, Second>> {};

template <class Derived, class F>
class TaskCodeOf : public TaskCode {
 public:
  explicit TaskCodeOf(F f) : f_(std::move(f)) {}

  void Encode(Encoder& encoder) const final {
    const TaskCodeDecoder decode = &Decode;
    EncodePart(decode, encoder);
    encoder.PutNumber(TypeHash<Derived>());
    EncodePart(f_, encoder);
  }

 protected:
  F& f() { return f_; }

 private:
  static std::unique_ptr<TaskCode> Decode(Decoder& decoder) {
    if (decoder.GetNumber() != TypeHash<Derived>()) decoder.Fail("another type of task");
    return std::make_unique<Derived>(DecodePart<F>(decoder));
  }

  F f_;
};

template <class F, class... A>
class CallCode final : public TaskCodeOf<CallCode<F, A...>, F> {
 public:
  using Result = TaskResult<F, A...>;
  using TaskCodeOf<CallCode, F>::TaskCodeOf;

  TaskError Run(Decoder& argument, ResultEncoder& result) override {
    // In braces, so that they are evaluated in order.
    std::tuple<std::reference_wrapper<F>, A...> parts{std::ref(this->f()),
                                                      DecodePart<A>(argument)...};
    return Attempt([&] {
      return CallTask(parts, [&]<class R>(R&& r) { result.PutResult(std::forward<R>(r)); });
    });
  }
};

template <class F, class A, bool kStar, bool kItsOwn>
class EachCode final : public TaskCodeOf<EachCode<F, A, kStar, kItsOwn>, F> {
  using Parts = ItemParts<kStar, A>;

 public:
  using Result = typename Parts::template Result<F>;
  using TaskCodeOf<EachCode, F>::TaskCodeOf;

  TaskError Run(Decoder& argument, ResultEncoder& result) override {
    const size_t items = argument.GetLength();
    size_t at = 0;
    auto call = [&](const auto& put) {
      auto parts = Parts::Of(this->f(), argument.Get<A>());
      return CallTask(parts, put);
    };
    if constexpr (kItsOwn) {
      for (; at < items; ++at) {
        TaskError error = Attempt([&] {
          return call([&]<class R>(R&& r) {
            result.Put(true);
            result.PutResult(std::forward<R>(r));
          });
        });
        if (error.status.ok()) continue;
        error.item = at;
        result.Put(false);
        error.Put(result);
      }
      return {};
    } else {
      // The same bytes in either way.
      constexpr bool kAtOnce = kAreBytes<Result> && !std::is_same_v<Result, std::monostate>;
      std::conditional_t<kAtOnce, std::vector<Result>, std::monostate> results;
      if constexpr (kAtOnce) results.reserve(items);
      TaskError error = Attempt([&] {
        absl::Status status;
        for (; at < items && status.ok(); ++at) {
          status = call([&]<class R>(R&& r) {
            if constexpr (kAtOnce) {
              results.push_back(std::forward<R>(r));
            } else {
              result.PutResult(std::forward<R>(r));
            }
          });
        }
        return status;
      });
      if constexpr (kAtOnce) {
        if (error.status.ok()) result.PutResults(std::move(results));
      }
      // The one that failed; that threw has not been counted.
      error.item = error.how == TaskError::How::kReturned && !error.status.ok() ? at - 1 : at;
      return error;
    }
  }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_TASK_CODE_H_
