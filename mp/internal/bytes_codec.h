// Kind::kBytes: what can be copied as bytes, and has no pointers. Not all bytes are a value: a bool
// is 0 or 1.

#ifndef MP_MP_INTERNAL_BYTES_CODEC_H_
#define MP_MP_INTERNAL_BYTES_CODEC_H_

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "mp/internal/built_in.h"

namespace mp::internal {

template <class T>
constexpr bool HasWrongBytes();
template <class... T>
constexpr bool HaveWrongBytes(Types<T...>) {
  return (HasWrongBytes<T>() || ...);
}

// Whether there are bytes that are no T, as far as its members are to be seen.
template <class T>
constexpr bool HasWrongBytes() {
  if constexpr (std::is_array_v<T>) {
    return HasWrongBytes<std::remove_cv_t<std::remove_extent_t<T>>>();
  } else if constexpr (kIsStdArray<T>) {
    return HasWrongBytes<typename T::value_type>();
  } else if constexpr (AggregateOf<T>::kSeen == Seen::kAll) {
    return HaveWrongBytes(MembersOf<T>());
  } else {
    return std::same_as<T, bool> || kIsBitset<T>;
  }
}

template <class T>
bool IsRight(const T& value);
struct AreBytesRight {
  template <class... M>
  bool operator()(const M&... member) const {
    return (IsRight(member) && ...);
  }
};

// Whether the bytes of `value` are such as a T has.
template <class T>
bool IsRight(const T& value) {
  if constexpr (!HasWrongBytes<T>()) {
    return true;
  } else if constexpr (std::same_as<T, bool>) {
    unsigned char byte;
    std::memcpy(&byte, &value, 1);
    return byte <= 1;
  } else if constexpr (kIsBitset<T>) {
    return value == (value & ~T());  // else there are bits past its end
  } else if constexpr (std::is_array_v<T> || kIsStdArray<T>) {
    for (const auto& element : value) {
      if (!IsRight(element)) return false;
    }
    return true;
  } else {
    return VisitMembers(value, AreBytesRight());
  }
}

// T need not have a constructor.
template <class T>
struct RawBytesOf {
  alignas(T) std::byte bytes[sizeof(T)];
};

template <class T>
requires(kKind<T> == Kind::kBytes) struct BuiltIn<T> {
  using Parts = Types<>;

  static void Encode(const T& value, Encoder& encoder) { encoder.PutBytes(&value, sizeof(T)); }
  static T Decode(Decoder& decoder) {
    RawBytesOf<T> bytes;
    decoder.GetBytes(&bytes, sizeof(T));
    if constexpr (HasWrongBytes<T>()) {
      if (!IsRight(*reinterpret_cast<const T*>(&bytes))) {
        decoder.Fail("bytes that are no value: a bool is 0 or 1");
      }
    }
    return std::bit_cast<T>(bytes);
  }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_BYTES_CODEC_H_
