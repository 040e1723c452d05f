// A value of any type that can be sent: what built_in.h promises.

#ifndef MP_MP_INTERNAL_VALUE_CODEC_H_
#define MP_MP_INTERNAL_VALUE_CODEC_H_

#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/internal/built_in.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/encodable.h"
#include "mp/internal/encoder_access.h"
#include "mp/type_name.h"

namespace mp::internal {

// Whether it says of itself how it is encoded, and may do so with nothing.
template <class T>
constexpr bool MayBeNothing() {
  if constexpr (kKind<T> == Kind::kCustom || kKind<T> == Kind::kConvention ||
                kKind<T> == Kind::kCArray || kKind<T> == Kind::kStdArray) {
    return true;
  } else if constexpr (kKind<T> == Kind::kTuple || kKind<T> == Kind::kAggregate) {
    return std::is_same_v<PartsOf<T>, Types<>>;
  } else {
    return false;
  }
}

template <class T>
void EncodeValue(const T& value, Encoder& encoder) {
  static_assert(MustBeSendable<T>());
  if constexpr (kKind<T> == Kind::kBytes) {
    BuiltIn<T>::Encode(value, encoder);
  } else {
    const EncoderAccess::Level level(encoder);
    const size_t before = encoder.size();
    BuiltIn<T>::Encode(value, encoder);
    if constexpr (MayBeNothing<T>()) {
      if (encoder.size() == before) encoder.PutNumber(0);
    }
  }
}

template <class T>
void FinishDecoding(Decoder& decoder, size_t before) {
  if constexpr (MayBeNothing<T>()) {
    if (decoder.offset() == before && decoder.GetNumber() != 0) {
      decoder.Fail("something where an empty value was to be");
    }
  }
}

template <class T>
T DecodeValue(Decoder& decoder) {
  static_assert(MustBeSendable<T>());
  if constexpr (kKind<T> == Kind::kBytes) {
    return BuiltIn<T>::Decode(decoder);
  } else {
    const DecoderAccess::Level level(decoder);
    if constexpr (MayBeNothing<T>()) {
      const size_t before = decoder.offset();
      T value = BuiltIn<T>::Decode(decoder);
      FinishDecoding<T>(decoder, before);
      return value;
    } else {
      return BuiltIn<T>::Decode(decoder);
    }
  }
}

template <class T>
void DecodeInto(T& value, Decoder& decoder) {
  if constexpr (kKind<T> == Kind::kCArray) {
    const DecoderAccess::Level level(decoder);
    const size_t before = decoder.offset();
    for (auto& element : value) DecodeInto(element, decoder);
    FinishDecoding<T>(decoder, before);
  } else if constexpr (kKind<T> == Kind::kConvention) {
    const DecoderAccess::Level level(decoder);
    const size_t before = decoder.offset();
    BuiltIn<T>::DecodeTo(value, decoder);
    FinishDecoding<T>(decoder, before);
  } else {
    value = DecodeValue<T>(decoder);
  }
}

template <class T>
absl::Status EncodeMessage(const T& value, Encoder& encoder) {
  absl::Status status =
      Guarded(absl::StatusCode::kInternal, [&value, &encoder] { EncodeValue(value, encoder); });
  if (status.ok()) status = EncoderAccess::Failure(encoder);
  if (status.ok()) return status;
  return EncoderAccess::Describe(status, TypeName<T>());
}

template <class T>
absl::StatusOr<T> DecodeMessage(Decoder& decoder) {
  std::optional<T> value;
  absl::Status status = Guarded(absl::StatusCode::kDataLoss, [&value, &decoder] {
    value.emplace(DecodeValue<T>(decoder));
    if (decoder.left() != 0) decoder.Fail("more bytes than the value has");
  });
  if (status.ok()) status = DecoderAccess::Failure(decoder);
  if (status.ok()) return *std::move(value);
  value.reset();
  DecoderAccess::ClearShared(decoder);
  return DecoderAccess::Describe(decoder, status, TypeName<T>());
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_VALUE_CODEC_H_
