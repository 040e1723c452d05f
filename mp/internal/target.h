// Target: what a process runs. A callable and its arguments, stored as std::thread does.
//
// Each is passed as an rvalue or, where that does not compile, as an lvalue, so that
// f(Queue&) and f(std::unique_ptr<T>) both work. A `const char*`, so also a literal,
// travels as a std::string, and a function that wants the pointer gets one to that.
//
// A process that does not inherit it gets the id of a function that decodes it, and then its parts
// (part.h).

#ifndef MP_MP_INTERNAL_TARGET_H_
#define MP_MP_INTERNAL_TARGET_H_

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/internal/part.h"

namespace mp {
namespace internal {

template <class T>
using Stored =
    std::conditional_t<std::same_as<std::decay_t<T>, const char*>, std::string, std::decay_t<T>>;

// The ways to pass what is stored: 0, an rvalue; 1, an lvalue; 2, a C string.
template <class T>
inline constexpr size_t kWays = std::same_as<T, std::string> ? 3 : 2;

template <size_t kWay, class T>
constexpr decltype(auto) Pass(T& stored) {
  if constexpr (kWay == 0) {
    return std::move(stored);
  } else if constexpr (kWay == 1) {
    return (stored);
  } else {
    return stored.c_str();
  }
}

// A choice of ways for all parts, the callable first, is a number with a digit for each.
template <class... T>
constexpr size_t WayInChoice(size_t choice, size_t part) {
  constexpr size_t kWaysOfParts[] = {kWays<T>...};
  for (size_t i = 0; i < part; ++i) choice /= kWaysOfParts[i];
  return choice % kWaysOfParts[part];
}

template <size_t kChoice, class Indices, class... T>
struct Call;

template <size_t kChoice, size_t... i, class... T>
struct Call<kChoice, std::index_sequence<i...>, T...> {
  static constexpr bool kCompiles =
      std::is_invocable_v<decltype(Pass<WayInChoice<T...>(kChoice, i)>(std::declval<T&>()))...>;

  static constexpr decltype(auto) Invoke(std::tuple<T...>& parts) {
    return std::invoke(Pass<WayInChoice<T...>(kChoice, i)>(std::get<i>(parts))...);
  }
};

// Beyond this many choices (8 parts) some mixtures are not tried.
inline constexpr size_t kMostChoices = 256;

// The first choice that compiles, or kMostChoices.
template <size_t kChoice, class... T>
constexpr size_t FirstChoice() {
  if constexpr (kChoice == kMostChoices || kChoice == (kWays<T> * ...)) {
    return kMostChoices;
  } else if constexpr (Call<kChoice, std::index_sequence_for<T...>, T...>::kCompiles) {
    return kChoice;
  } else {
    return FirstChoice<kChoice + 1, T...>();
  }
}

template <class... T>
using FirstCall = Call<FirstChoice<0, T...>(), std::index_sequence_for<T...>, T...>;

template <class... T>
using ResultOf = decltype(FirstCall<T...>::Invoke(std::declval<std::tuple<T...>&>()));

template <class... T>
inline constexpr bool kHasChoice = FirstChoice<0, T...>() != kMostChoices;

template <class Result>
inline constexpr bool kBecomesExitCode =
    std::is_void_v<Result> || std::is_same_v<Result, int> || std::is_same_v<Result, absl::Status>;

template <class F, class... A>
concept CanBeCalledWithTheArguments = kHasChoice<Stored<F>, Stored<A>...>;

template <class F, class... A>
concept ReturnsVoidOrIntOrStatus = kBecomesExitCode<ResultOf<Stored<F>, Stored<A>...>>;

template <class F, class... A>
concept CanBeCopiedOrMovedIntoTheProcess = (std::is_constructible_v<Stored<F>, F> && ... &&
                                            std::is_constructible_v<Stored<A>, A>);

}  // namespace internal

// A callable and arguments that a process can run. (In this order: asking whether a thing
// can be moved may ask whether it is a target.)
template <class F, class... A>
concept Target =
    internal::CanBeCalledWithTheArguments<F, A...> && internal::ReturnsVoidOrIntOrStatus<F, A...> &&
    internal::CanBeCopiedOrMovedIntoTheProcess<F, A...>;

namespace internal {

// A target whose types are forgotten.
class StoredTarget {
 public:
  virtual ~StoredTarget() = default;

  // Once. The exit code, or what the target returned instead of one.
  virtual absl::StatusOr<int> Run() = 0;

  // For DecodeTarget(). Fails where a part cannot be sent.
  virtual void Encode(Encoder& encoder) const = 0;
};

using TargetDecoder = std::unique_ptr<StoredTarget> (*)(Decoder& decoder);

std::unique_ptr<StoredTarget> DecodeTarget(Decoder& decoder);

template <class... T>
class TargetOf final : public StoredTarget {
 public:
  template <class... From>
  explicit TargetOf(From&&... from) : parts_(std::forward<From>(from)...) {}
  // As another process has encoded it.
  explicit TargetOf(Decoder& decoder) : parts_{DecodePart<T>(decoder)...} {}

  absl::StatusOr<int> Run() override {
    using Result = ResultOf<T...>;
    if constexpr (std::is_void_v<Result>) {
      FirstCall<T...>::Invoke(parts_);
      return 0;
    } else if constexpr (std::same_as<Result, int>) {
      return FirstCall<T...>::Invoke(parts_);
    } else {
      const absl::Status status = FirstCall<T...>::Invoke(parts_);
      if (!status.ok()) return status;
      return 0;
    }
  }

  void Encode(Encoder& encoder) const override {
    if constexpr ((PartTravels<T>() && ...)) {
      const TargetDecoder decode = &Decode;
      EncodePart(decode, encoder);
      encoder.PutNumber(TypeHash<TargetOf>());
      std::apply([&encoder](const T&... part) { (EncodePart(part, encoder), ...); }, parts_);
    } else {
      std::string why;
      (AppendWhyNot<T>(why), ...);
      encoder.Fail(why);
    }
  }

 private:
  template <class Part>
  static void AppendWhyNot(std::string& why) {
    if constexpr (!PartTravels<Part>()) {
      if (!why.empty()) why.append("; ");
      why.append(TypeName<Part>()).append(" ").append(WhyNot<Part>());
    }
  }

  static std::unique_ptr<StoredTarget> Decode(Decoder& decoder) {
    if constexpr ((PartTravels<T>() && ...)) {
      if (decoder.GetNumber() != TypeHash<TargetOf>()) decoder.Fail("another type of target");
      return std::make_unique<TargetOf>(decoder);
    } else {
      return nullptr;
    }
  }

  std::tuple<T...> parts_;  // the callable, and its arguments
};

template <class F, class... A>
std::unique_ptr<StoredTarget> StoreTarget(F&& f, A&&... args) {
  return std::make_unique<TargetOf<Stored<F>, Stored<A>...>>(std::forward<F>(f),
                                                             std::forward<A>(args)...);
}

}  // namespace internal
}  // namespace mp

#endif  // MP_MP_INTERNAL_TARGET_H_
