// Kind::kUniquePtr, kSharedPtr and kWeakPtr: what they point to, or nothing. What several shared
// pointers of one message share they share again, in circles, too.

#ifndef MP_MP_INTERNAL_POINTER_CODEC_H_
#define MP_MP_INTERNAL_POINTER_CODEC_H_

#include <concepts>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mp/internal/built_in.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/encoder_access.h"
#include "mp/type_name.h"

namespace mp::internal {

// Of a class with a base, only the base would arrive.
template <class T>
void FailIfDerived(const T& value, Encoder& encoder) {
  if constexpr (std::is_polymorphic_v<T> && !std::is_final_v<T>) {
    if (typeid(value) != typeid(T)) {
      encoder.Fail(absl::StrCat("a pointer to ", TypeName<T>(), " at what is derived from that (",
                                typeid(value).name(), "): take a std::variant, or write a Codec"));
    }
  }
}

// Whether one is made first and then filled, where it is.
template <class T>
inline constexpr bool kIsFilled = (kKind<T> == Kind::kConvention || kKind<T> == Kind::kAggregate) &&
                                  std::default_initializable<T>;

template <class T>
requires(kKind<T> == Kind::kUniquePtr) struct BuiltIn<T> {
  using Value = std::remove_cv_t<typename T::element_type>;
  using Parts = Types<Value>;

  static void Encode(const T& value, Encoder& encoder) {
    encoder.Put(value != nullptr);
    if (value == nullptr) return;
    FailIfDerived<Value>(*value, encoder);
    EncodeValue<Value>(*value, encoder);
  }
  static T Decode(Decoder& decoder) {
    if (!decoder.Get<bool>()) return nullptr;
    if constexpr (kIsFilled<Value>) {
      auto value = std::make_unique<Value>();
      DecodeInto(*value, decoder);
      return value;
    } else {
      return T(new Value(DecodeValue<Value>(decoder)));
    }
  }
};

template <class T>
requires(kKind<T> == Kind::kSharedPtr) struct BuiltIn<T> {
  using Value = std::remove_cv_t<typename T::element_type>;
  using Parts = Types<Value>;

  static void Encode(const T& value, Encoder& encoder) {
    if (value == nullptr) return encoder.PutNumber(0);
    FailIfDerived<Value>(*value, encoder);
    if (EncoderAccess::PutShared(encoder, value, TypeHash<Value>())) {
      EncodeValue<Value>(*value, encoder);
    }
  }
  static T Decode(Decoder& decoder) {
    const DecoderAccess::Shared shared = DecoderAccess::GetShared(decoder, TypeHash<Value>());
    if (!shared.follows) return std::static_pointer_cast<Value>(shared.object);
    if constexpr (kIsFilled<Value>) {
      // There before its contents, which may lead back to it.
      const auto value = std::make_shared<Value>();
      DecoderAccess::SetShared(decoder, shared.index, value, ClearOf());
      DecodeInto(*value, decoder);
      return value;
    } else {
      const std::shared_ptr<Value> value(new Value(DecodeValue<Value>(decoder)));
      DecoderAccess::SetShared(decoder, shared.index, value, nullptr);
      return value;
    }
  }

 private:
  using Clear = void (*)(void* object);

  static Clear ClearOf() {
    if constexpr (std::is_move_assignable_v<Value>) {
      return [](void* object) { *static_cast<Value*>(object) = Value(); };
    } else {
      return nullptr;
    }
  }
};

template <class T>
requires(kKind<T> == Kind::kWeakPtr) struct BuiltIn<T> {
  using Shared = std::shared_ptr<typename T::element_type>;
  using Parts = Types<Shared>;

  static void Encode(const T& value, Encoder& encoder) { EncodeValue(value.lock(), encoder); }
  static T Decode(Decoder& decoder) { return DecodeValue<Shared>(decoder); }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_POINTER_CODEC_H_
