// BindFront: a function and its first arguments, as one function that can be sent to the workers of
// a pool: encoded once for all tasks, and decoded once by each worker.
//
//   auto scaled = mp::BindFront(&Scale, 2.5, table);      // table: a Shared<...>, say
//   pool.Map(scaled, numbers);                            // Scale(2.5, table, number)
//
// What is bound is a copy, which the function is handed as an lvalue, each time; what can be bound:
// mp/codec.h.

#ifndef MP_MP_BIND_FRONT_H_
#define MP_MP_BIND_FRONT_H_

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "mp/codec.h"
#include "mp/internal/part.h"
#include "mp/internal/target.h"

namespace mp {

template <class F, class... Bound>
class BoundFront {
 public:
  BoundFront(F f, std::tuple<Bound...> bound) : f_(std::move(f)), bound_(std::move(bound)) {}

  template <class... A>
  requires std::is_invocable_v<F&, Bound&..., A...>
  decltype(auto) operator()(A&&... args) {
    return std::apply(
        [&](Bound&... bound) -> decltype(auto) {
          return std::invoke(f_, bound..., std::forward<A>(args)...);
        },
        bound_);
  }

 private:
  friend struct Codec<BoundFront>;

  F f_;
  std::tuple<Bound...> bound_;
};

template <class F, class... A>
auto BindFront(F&& f, A&&... args) {
  static_assert(internal::PartTravels<internal::Stored<F>>(),
                "mp: only a function, or a lambda without captures, can be bound: bind what it "
                "would capture, too");
  return BoundFront<internal::Stored<F>, internal::Stored<A>...>(
      std::forward<F>(f), std::tuple<internal::Stored<A>...>(std::forward<A>(args)...));
}

template <class F, class... Bound>
struct Codec<BoundFront<F, Bound...>> {
  static void Encode(const BoundFront<F, Bound...>& function, Encoder& encoder) {
    internal::EncodePart(function.f_, encoder);
    std::apply([&](const Bound&... bound) { (encoder.Put(bound), ...); }, function.bound_);
  }
  static BoundFront<F, Bound...> Decode(Decoder& decoder) {
    F f = internal::DecodePart<F>(decoder);
    // In braces, so that they are evaluated in order.
    return {std::move(f), std::tuple<Bound...>{decoder.Get<Bound>()...}};
  }
};

}  // namespace mp

#endif  // MP_MP_BIND_FRONT_H_
