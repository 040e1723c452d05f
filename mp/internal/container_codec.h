// Arrays and containers: Kind::kSequence, kAssociative, kCArray and kStdArray. Elements that are
// bytes are copied all at once where they lie side by side. Room is made for the elements that are
// there, not for those that a length promises.

#ifndef MP_MP_INTERNAL_CONTAINER_CODEC_H_
#define MP_MP_INTERNAL_CONTAINER_CODEC_H_

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <utility>

#include "mp/internal/built_in.h"
#include "mp/internal/bytes_codec.h"
#include "mp/internal/encoder_access.h"

namespace mp::internal {

// Elements that lie somewhere in a message, aligned to nothing.
template <class T>
class UnalignedIterator {
 public:
  using iterator_category = std::random_access_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = const T*;
  using reference = T;

  explicit UnalignedIterator(const char* at) : at_(at) {}
  T operator*() const {
    RawBytesOf<T> bytes;
    std::memcpy(&bytes, at_, sizeof(T));
    return std::bit_cast<T>(bytes);
  }
  UnalignedIterator& operator++() {
    at_ += sizeof(T);
    return *this;
  }
  UnalignedIterator& operator--() {
    at_ -= sizeof(T);
    return *this;
  }
  UnalignedIterator operator++(int) {
    const UnalignedIterator was = *this;
    ++*this;
    return was;
  }
  UnalignedIterator& operator+=(difference_type count) {
    at_ += count * static_cast<difference_type>(sizeof(T));
    return *this;
  }
  friend UnalignedIterator operator+(UnalignedIterator at, difference_type count) {
    return at += count;
  }
  friend difference_type operator-(UnalignedIterator a, UnalignedIterator b) {
    return (a.at_ - b.at_) / static_cast<difference_type>(sizeof(T));
  }
  friend bool operator==(UnalignedIterator, UnalignedIterator) = default;

 private:
  const char* at_;
};

// A vector, a string: what its elements are is at data(), in a row.
template <class T>
concept InOneBlock = kKind<typename T::value_type>
== Kind::kBytes&& requires(T& container, const char* at) {
  { container.data() } -> std::convertible_to<const typename T::value_type*>;
  container.assign(at, at);
};
// std::vector<bool>: its elements are bits.
template <class T>
concept OfBits =
    std::same_as<typename T::value_type, bool> && !std::same_as<typename T::reference, bool&>;

template <class T>
requires(kKind<T> == Kind::kSequence) struct BuiltIn<T> {
  using Element = typename T::value_type;
  using Parts = Types<Element>;

  static void Encode(const T& value, Encoder& encoder) {
    const auto length = static_cast<size_t>(std::distance(value.begin(), value.end()));
    encoder.PutLength(length);
    if constexpr (OfBits<T>) {
      EncodeBits(value, length, encoder);
    } else if constexpr (InOneBlock<T>) {
      EncoderAccess::PutLong(encoder, value.data(), length * sizeof(Element));
    } else {
      for (const Element& element : value) EncodeValue(element, encoder);
    }
  }

  static T Decode(Decoder& decoder) {
    if constexpr (OfBits<T>) {
      return DecodeBits(decoder);
    } else {
      const size_t length = decoder.GetLength(LeastSize<Element>());
      T value;
      if constexpr (InOneBlock<T>) {
        const char* const at = decoder.View(length * sizeof(Element)).data();
        CheckElements(at, length, decoder);
        Assign(value, at, length);
      } else if constexpr (PushesBack<T>) {
        if constexpr (requires { value.reserve(length); }) {
          value.reserve(std::min(length, decoder.left() / sizeof(Element) + 1));
        }
        for (size_t i = 0; i < length; ++i) value.push_back(DecodeValue<Element>(decoder));
      } else {
        auto last = value.before_begin();
        for (size_t i = 0; i < length; ++i) {
          last = value.insert_after(last, DecodeValue<Element>(decoder));
        }
      }
      return value;
    }
  }

 private:
  static void CheckElements(const char* at, size_t length, Decoder& decoder) {
    if constexpr (HasWrongBytes<Element>()) {
      for (size_t i = 0; i < length; ++i) {
        RawBytesOf<Element> bytes;
        std::memcpy(&bytes, at + i * sizeof(Element), sizeof(Element));
        if (!IsRight(*reinterpret_cast<const Element*>(&bytes))) {
          decoder.Fail("an element of bytes that are no value: a bool is 0 or 1");
        }
      }
    }
  }
  static void Assign(T& value, const char* at, size_t length) {
    if constexpr (std::same_as<Element, char>) {
      value.assign(at, at + length);
    } else {
      const UnalignedIterator<Element> begin(at);
      value.assign(begin, begin + static_cast<std::ptrdiff_t>(length));
    }
  }

  static void EncodeBits(const T& value, size_t length, Encoder& encoder) {
    for (size_t i = 0; i < length; i += 8) {
      unsigned byte = 0;
      for (size_t j = i; j < std::min(i + 8, length); ++j) {
        byte |= static_cast<unsigned>(value[j]) << (j - i);
      }
      encoder.Put(static_cast<unsigned char>(byte));
    }
  }
  static T DecodeBits(Decoder& decoder) {
    const uint64_t length = decoder.GetNumber();
    if (length / 8 > decoder.left()) decoder.Fail("more bits than are left");
    const std::string_view bytes = decoder.View((length + 7) / 8);
    if (length % 8 != 0 && static_cast<unsigned char>(bytes.back()) >> length % 8 != 0) {
      decoder.Fail("bits past the last one");
    }
    T value(length);
    for (size_t i = 0; i < length; ++i) {
      value[i] = (static_cast<unsigned char>(bytes[i / 8]) >> i % 8 & 1) != 0;
    }
    return value;
  }
};

// The element of a map has a const key, and so is decoded as another pair.
template <class T>
struct WithoutConst {
  using Type = T;
};
template <class K, class V>
struct WithoutConst<std::pair<const K, V>> {
  using Type = std::pair<K, V>;
};

template <class T>
requires(kKind<T> == Kind::kAssociative) struct BuiltIn<T> {
  using Element = typename WithoutConst<typename T::value_type>::Type;
  using Parts = Types<Element>;

  static void Encode(const T& value, Encoder& encoder) {
    encoder.PutLength(value.size());
    for (const auto& element : value) {
      if constexpr (std::same_as<typename T::value_type, Element>) {
        EncodeValue(element, encoder);
      } else {
        EncodeValue(element.first, encoder);
        EncodeValue(element.second, encoder);
      }
    }
  }
  static T Decode(Decoder& decoder) {
    const size_t length = decoder.GetLength(LeastSize<Element>());
    T value;
    for (size_t i = 0; i < length; ++i) {
      value.emplace_hint(value.end(), DecodeElement(decoder));
      if (value.size() != i + 1) decoder.Fail("a key that was there before");
    }
    return value;
  }

 private:
  static Element DecodeElement(Decoder& decoder) {
    if constexpr (std::same_as<typename T::value_type, Element>) {
      return DecodeValue<Element>(decoder);
    } else {
      return {DecodeValue<typename Element::first_type>(decoder),
              DecodeValue<typename Element::second_type>(decoder)};
    }
  }
};

// Only ever decoded where it is.
template <class T>
requires(kKind<T> == Kind::kCArray) struct BuiltIn<T> {
  using Parts = Types<std::remove_cv_t<std::remove_extent_t<T>>>;

  static void Encode(const T& value, Encoder& encoder) {
    for (const auto& element : value) EncodeValue(element, encoder);
  }
};

template <class T>
requires(kKind<T> == Kind::kStdArray) struct BuiltIn<T> {
  using Element = typename T::value_type;
  using Parts = Types<std::remove_cv_t<Element>>;

  static void Encode(const T& value, Encoder& encoder) {
    for (const Element& element : value) EncodeValue(element, encoder);
  }
  static T Decode(Decoder& decoder) {
    if constexpr (kKind<Element> == Kind::kHandle || !std::default_initializable<Element>) {
      return Make(decoder, std::make_index_sequence<std::tuple_size_v<T>>());
    } else {
      T value;
      for (Element& element : value) DecodeInto(element, decoder);
      return value;
    }
  }

 private:
  template <size_t... i>
  static T Make(Decoder& decoder, std::index_sequence<i...>) {
    return {((void)i, DecodeValue<Element>(decoder))...};
  }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CONTAINER_CODEC_H_
