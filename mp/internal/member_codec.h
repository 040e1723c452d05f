// Kind::kTuple and kAggregate: what has a fixed number of members, each of a type of its own.

#ifndef MP_MP_INTERNAL_MEMBER_CODEC_H_
#define MP_MP_INTERNAL_MEMBER_CODEC_H_

#include <concepts>
#include <tuple>
#include <type_traits>

#include "mp/internal/built_in.h"

namespace mp::internal {

struct EncodeEach {
  Encoder& encoder;

  template <class... M>
  void operator()(const M&... member) const {
    (EncodeValue(member, encoder), ...);
  }
};
struct DecodeEachInto {
  Decoder& decoder;

  template <class... M>
  void operator()(M&... member) const {
    (DecodeInto(member, decoder), ...);
  }
};

// In braces, and so from left to right.
template <class T, class... M>
T DecodeMembers(Decoder& decoder, Types<M...>) {
  return T{DecodeValue<M>(decoder)...};
}

template <class T>
struct TupleParts;
template <template <class...> class Tuple, class... M>
struct TupleParts<Tuple<M...>> {
  using Parts = Types<std::remove_cv_t<M>...>;
};

template <class T>
requires(kKind<T> == Kind::kTuple) struct BuiltIn<T> {
  using Parts = typename TupleParts<T>::Parts;

  static void Encode(const T& value, Encoder& encoder) { std::apply(EncodeEach{encoder}, value); }
  static T Decode(Decoder& decoder) { return DecodeMembers<T>(decoder, Parts()); }
};

template <class... M>
constexpr bool AnyArray(Types<M...>) {
  return (std::is_array_v<M> || ...);
}

template <class T>
requires(kKind<T> == Kind::kAggregate) struct BuiltIn<T> {
  using Parts = MembersOf<T>;

  static void Encode(const T& value, Encoder& encoder) { VisitMembers(value, EncodeEach{encoder}); }
  static T Decode(Decoder& decoder) {
    if constexpr (AnyArray(Parts())) {
      // No function returns an array.
      static_assert(std::default_initializable<T>,
                    "mp: an array as a member, beside one without a default: take a std::array");
      T value{};
      VisitMembers(value, DecodeEachInto{decoder});
      return value;
    } else {
      return DecodeMembers<T>(decoder, Parts());
    }
  }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_MEMBER_CODEC_H_
