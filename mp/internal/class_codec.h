// Kind::kCustom, kConvention and kProtobuf: a class that says itself how it is encoded.

#ifndef MP_MP_INTERNAL_CLASS_CODEC_H_
#define MP_MP_INTERNAL_CLASS_CODEC_H_

#include <concepts>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/internal/archive.h"
#include "mp/internal/built_in.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/encoder_access.h"

namespace mp::internal {

// A user's Encode() returns nothing or a status, Decode() a T or a StatusOr.
template <class T>
requires(kKind<T> == Kind::kCustom) struct BuiltIn<T> {
  using Parts = Types<>;

  static void Encode(const T& value, Encoder& encoder) {
    const EncoderAccess::UserCode user(encoder);
    if constexpr (std::is_void_v<decltype(Codec<T>::Encode(value, encoder))>) {
      Codec<T>::Encode(value, encoder);
    } else {
      const absl::Status status = Codec<T>::Encode(value, encoder);
      if (!status.ok()) encoder.Fail(status);
    }
  }
  static T Decode(Decoder& decoder) {
    if constexpr (std::same_as<decltype(Codec<T>::Decode(decoder)), T>) {
      return Codec<T>::Decode(decoder);
    } else {
      absl::StatusOr<T> value = Codec<T>::Decode(decoder);
      if (!value.ok()) decoder.Fail(value.status());
      return *std::move(value);
    }
  }
};

template <class T>
requires(kKind<T> == Kind::kConvention) struct BuiltIn<T> {
  using Parts = Types<>;

  static void Encode(const T& value, Encoder& encoder) {
    static_assert(kCanBeSaved<T>,
                  "mp: can be loaded, but not saved: it has a load() without a "
                  "save(), or more than one way");
    const EncoderAccess::UserCode user(encoder);
    EncoderAccess::ArchiveOf<EncodeArchive>(encoder).ByConvention(value);
  }
  static void DecodeTo(T& value, Decoder& decoder) {
    static_assert(kCanBeLoaded<T>,
                  "mp: can be saved, but not loaded: it has a save() without a "
                  "load(), or more than one way");
    DecoderAccess::ArchiveOf<DecodeArchive>(decoder).ByConvention(value);
  }
  static T Decode(Decoder& decoder) {
    if constexpr (std::default_initializable<T>) {
      T value{};
      DecodeTo(value, decoder);
      return value;
    } else {
      // A constructor that is private, but cereal's to call.
      const std::unique_ptr<T> value(cereal::access::construct<T>());
      DecodeTo(*value, decoder);
      return std::move(*value);
    }
  }
};

template <class T>
requires(kKind<T> == Kind::kProtobuf) struct BuiltIn<T> {
  using Parts = Types<>;

  static void Encode(const T& value, Encoder& encoder) {
    std::string bytes;
    if (!value.SerializeToString(&bytes) || bytes.size() > kMost) {
      encoder.Fail("SerializeToString() failed, or made more than 2 GiB");
    }
    encoder.PutLength(bytes.size());
    encoder.PutBytes(bytes.data(), bytes.size());
  }
  static T Decode(Decoder& decoder) {
    const std::string_view bytes = decoder.View(decoder.GetLength());
    T value;
    if (bytes.size() > kMost ||
        !value.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      decoder.Fail("ParseFromArray() failed");
    }
    return value;
  }

 private:
  static constexpr size_t kMost = std::numeric_limits<int>::max();
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CLASS_CODEC_H_
