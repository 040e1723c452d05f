// EncodeArchive and DecodeArchive: the archives that a class with cereal's conventions is given:
// serialize(), save() and load(), or minimal ones, members or not, with a version or without.
//
// cereal finds the function and calls it; what that puts into the archive comes back here, and
// each part is encoded as it would be elsewhere. So no loader of cereal's for a standard container
// ever runs, which would make room for as many elements as the bytes say.

#ifndef MP_MP_INTERNAL_ARCHIVE_H_
#define MP_MP_INTERNAL_ARCHIVE_H_

// Its table of versions is all threads'. The build defines this for whoever includes it.
#ifndef CEREAL_THREAD_SAFE
#define CEREAL_THREAD_SAFE 1
#endif
#include <cereal/cereal.hpp>
#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "mp/decoder.h"
#include "mp/encoder.h"

#if !CEREAL_THREAD_SAFE
#error "mp: build with -DCEREAL_THREAD_SAFE=1: messages are sent by any thread"
#endif

namespace mp::internal {

template <class T>
void DecodeInto(T& value, Decoder& decoder);

class EncodeArchive : public cereal::OutputArchive<EncodeArchive> {
 public:
  explicit EncodeArchive(Encoder& encoder) : OutputArchive(this), encoder_(encoder) {}

  template <class... T>
  EncodeArchive& operator()(T&&... values) {
    (Save(values), ...);
    return *this;
  }
  template <class T>
  EncodeArchive& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  EncodeArchive& operator<<(T&& value) {
    return (*this)(value);
  }

  // By the function that cereal finds for it.
  template <class T>
  void ByConvention(const T& value) {
    OutputArchive::operator()(value);
  }

 private:
  template <class T>
  void Save(const T& value) {
    EncodeValue(value, encoder_);
  }
  // cereal's own wrappers.
  template <class T>
  void Save(const cereal::NameValuePair<T>& named) {
    Save(named.value);
  }
  template <class T>
  void Save(const cereal::SizeTag<T>& tag) {
    encoder_.PutLength(static_cast<size_t>(tag.size));
  }
  template <class T>
  void Save(const cereal::BinaryData<T>& data) {
    encoder_.PutBytes(data.data, static_cast<size_t>(data.size));
  }
  template <class T>
  void Save(const cereal::base_class<T>& base) {
    Save(*base.base_ptr);
  }
  template <class T>
  void Save(const cereal::virtual_base_class<T>& base) {
    ByConvention(base);  // once for each object
  }
  template <class T>
  void Save(const cereal::DeferredData<T>& deferred) {
    ByConvention(deferred);
  }

  Encoder& encoder_;
};

class DecodeArchive : public cereal::InputArchive<DecodeArchive> {
 public:
  explicit DecodeArchive(Decoder& decoder) : InputArchive(this), decoder_(decoder) {}

  template <class... T>
  DecodeArchive& operator()(T&&... values) {
    (Load(values), ...);
    return *this;
  }
  template <class T>
  DecodeArchive& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  DecodeArchive& operator>>(T&& value) {
    return (*this)(value);
  }

  template <class T>
  void ByConvention(T& value) {
    InputArchive::operator()(value);
  }

 private:
  template <class T>
  void Load(T& value) {
    DecodeInto(value, decoder_);
  }
  template <class T>
  void Load(cereal::NameValuePair<T>& named) {
    Load(named.value);
  }
  template <class T>
  void Load(cereal::SizeTag<T>& tag) {
    // Whoever makes room for as many finds at least a byte for each.
    tag.size = static_cast<std::remove_reference_t<T>>(decoder_.GetLength());
  }
  template <class T>
  void Load(cereal::BinaryData<T>& data) {
    decoder_.GetBytes(const_cast<void*>(static_cast<const void*>(data.data)),
                      static_cast<size_t>(data.size));
  }
  template <class T>
  void Load(cereal::base_class<T>& base) {
    Load(*base.base_ptr);
  }
  template <class T>
  void Load(cereal::virtual_base_class<T>& base) {
    ByConvention(base);
  }
  template <class T>
  void Load(cereal::DeferredData<T>& deferred) {
    ByConvention(deferred);
  }

  Decoder& decoder_;
};

// What cereal itself puts into an archive: the version of a class, and what a minimal function
// returns.
template <class T>
concept Minimal = std::is_arithmetic_v<T> || std::same_as<T, std::string>;

template <Minimal T>
void CEREAL_SAVE_FUNCTION_NAME(EncodeArchive& archive, const T& value) {
  archive(value);
}
template <Minimal T>
void CEREAL_LOAD_FUNCTION_NAME(DecodeArchive& archive, T& value) {
  archive(value);
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(EncodeArchive& archive, const cereal::NameValuePair<T>& named) {
  archive(named.value);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(DecodeArchive& archive, cereal::NameValuePair<T>& named) {
  archive(named.value);
}

}  // namespace mp::internal

CEREAL_SETUP_ARCHIVE_TRAITS(mp::internal::DecodeArchive, mp::internal::EncodeArchive)

namespace mp::internal {

// Whether cereal finds how to save a T, and how to load it.
template <class T>
inline constexpr bool kCanBeSaved = cereal::traits::is_output_serializable<T, EncodeArchive>::value;
template <class T>
inline constexpr bool kCanBeLoaded = cereal::traits::is_input_serializable<T, DecodeArchive>::value;

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_ARCHIVE_H_
