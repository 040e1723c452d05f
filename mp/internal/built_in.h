// BuiltIn<T>: how values of each Kind are encoded; a file for each few of them. Each has
//
//   using Parts = Types<...>;                                // what T consists of, to be sent, too
//   static void Encode(const T& value, Encoder& encoder);    // as PutLength() and the like say
//   static T Decode(Decoder& decoder);                       // or throws, by Decoder::Fail()
//
// and relies on these, which are for any type that can be sent.

#ifndef MP_MP_INTERNAL_BUILT_IN_H_
#define MP_MP_INTERNAL_BUILT_IN_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "mp/decoder.h"
#include "mp/encoder.h"
#include "mp/internal/kind.h"

namespace mp::internal {

// Every value takes a byte, be it empty: so a length can be held against the bytes that are left.
template <class T>
void EncodeValue(const T& value, Encoder& encoder);
template <class T>
T DecodeValue(Decoder& decoder);
// Of one that is there; an array, too.
template <class T>
void DecodeInto(T& value, Decoder& decoder);

template <class T>
struct BuiltIn {
  using Parts = Types<>;
};
template <class T>
using PartsOf = typename BuiltIn<T>::Parts;

// The fewest bytes that a T takes.
template <class... T>
constexpr size_t LeastSizes(Types<T...>);
template <class T>
constexpr size_t LeastSize() {
  if constexpr (kKind<T> == Kind::kBytes) {
    return sizeof(T);
  } else if constexpr (kKind<T> == Kind::kCArray) {
    return std::max<size_t>(1, std::extent_v<T> * LeastSize<std::remove_extent_t<T>>());
  } else if constexpr (kKind<T> == Kind::kStdArray) {
    return std::max<size_t>(1, std::tuple_size_v<T> * LeastSize<typename T::value_type>());
  } else if constexpr (kKind<T> == Kind::kTuple || kKind<T> == Kind::kAggregate) {
    return std::max<size_t>(1, LeastSizes(PartsOf<T>()));
  } else {
    return 1;
  }
}
template <class... T>
constexpr size_t LeastSizes(Types<T...>) {
  return (size_t{0} + ... + LeastSize<T>());
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_BUILT_IN_H_
