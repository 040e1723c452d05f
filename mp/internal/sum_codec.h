// Kind::kOptional, kVariant, kStatus and kStatusOr: one of several things.

#ifndef MP_MP_INTERNAL_SUM_CODEC_H_
#define MP_MP_INTERNAL_SUM_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/internal/built_in.h"
#include "mp/internal/member_codec.h"
#include "mp/internal/status_bytes.h"

namespace mp::internal {

template <class T>
requires(kKind<T> == Kind::kOptional) struct BuiltIn<T> {
  using Value = std::remove_cv_t<typename T::value_type>;
  using Parts = Types<Value>;

  static void Encode(const T& value, Encoder& encoder) {
    encoder.Put(value.has_value());
    if (value.has_value()) EncodeValue<Value>(*value, encoder);
  }
  static T Decode(Decoder& decoder) {
    if (!decoder.Get<bool>()) return std::nullopt;
    return T(std::in_place, DecodeValue<Value>(decoder));
  }
};

template <class T>
requires(kKind<T> == Kind::kVariant) struct BuiltIn<T> {
  using Parts = typename TupleParts<T>::Parts;

  static void Encode(const T& value, Encoder& encoder) {
    if (value.valueless_by_exception()) encoder.Fail("a std::variant without a value");
    encoder.PutNumber(value.index());
    std::visit([&encoder](const auto& held) { EncodeValue(held, encoder); }, value);
  }
  static T Decode(Decoder& decoder) { return DecodeAlternative<0>(decoder.GetNumber(), decoder); }

 private:
  template <size_t i>
  static T DecodeAlternative(size_t index, Decoder& decoder) {
    if constexpr (i == std::variant_size_v<T>) {
      decoder.Fail("an alternative that a std::variant does not have");
    } else if (index == i) {
      using Value = std::remove_cv_t<std::variant_alternative_t<i, T>>;
      return T(std::in_place_index<i>, DecodeValue<Value>(decoder));
    } else {
      return DecodeAlternative<i + 1>(index, decoder);
    }
  }
};

template <>
struct BuiltIn<absl::Status> {
  using Parts = Types<>;

  static void Encode(const absl::Status& value, Encoder& encoder) { PutStatus(value, encoder); }
  static absl::Status Decode(Decoder& decoder) { return GetStatus(decoder); }
};

template <class T>
requires(kKind<T> == Kind::kStatusOr) struct BuiltIn<T> {
  using Value = std::remove_cv_t<typename T::value_type>;
  using Parts = Types<Value>;

  static void Encode(const T& value, Encoder& encoder) {
    PutStatus(value.status(), encoder);
    if (value.ok()) EncodeValue<Value>(*value, encoder);
  }
  static T Decode(Decoder& decoder) {
    absl::Status status = GetStatus(decoder);
    if (!status.ok()) return status;
    return T(std::in_place, DecodeValue<Value>(decoder));
  }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_SUM_CODEC_H_
