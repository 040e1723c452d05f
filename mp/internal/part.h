// Part: a part of a target, the callable or an argument, as it travels to a process that does not
// inherit it. As in a message (mp/codec.h); and functions, which no message holds: a pointer to one
// by its FunctionId, and a lambda without captures by its type alone.

#ifndef MP_MP_INTERNAL_PART_H_
#define MP_MP_INTERNAL_PART_H_

#include <concepts>
#include <string_view>
#include <type_traits>

#include "mp/codec.h"
#include "mp/internal/function_id.h"

namespace mp::internal {

template <class T>
inline constexpr bool kIsFunctionPointer =
    std::is_pointer_v<T>&& std::is_function_v<std::remove_pointer_t<T>>;

// Has nothing but its type.
template <class T>
inline constexpr bool kIsCapturelessLambda =
    RefusalOf<T>() ==
    Refusal::kFunction&& std::is_class_v<T>&& std::is_empty_v<T>&& std::default_initializable<T>;

template <class T>
constexpr bool PartTravels() {
  if constexpr (kIsFunctionPointer<T> || kIsCapturelessLambda<T>) {
    return true;
  } else {
    return EncodableThroughConnection<T>;
  }
}

void EncodeFunction(const void* function, Encoder& encoder);
const void* DecodeFunction(Decoder& decoder);

template <class T>
void EncodePart(const T& part, Encoder& encoder) {
  if constexpr (kIsFunctionPointer<T>) {
    EncodeFunction(reinterpret_cast<const void*>(part), encoder);
  } else if constexpr (!kIsCapturelessLambda<T>) {
    encoder.Put(part);
  }
}

template <class T>
T DecodePart(Decoder& decoder) {
  if constexpr (kIsFunctionPointer<T>) {
    return reinterpret_cast<T>(const_cast<void*>(DecodeFunction(decoder)));
  } else if constexpr (kIsCapturelessLambda<T>) {
    return T();
  } else {
    return decoder.Get<T>();
  }
}

// What is wrong with it, for who asks at run time.
template <class T>
constexpr std::string_view WhyNot() {
  if constexpr (RefusalOf<T>() == Refusal::kFunction) {
    return "has captures, or a state that cannot be seen: pass a function, or a lambda without "
           "captures, and its arguments beside it";
  } else {
    return "cannot be sent (see mp/codec.h)";
  }
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_PART_H_
