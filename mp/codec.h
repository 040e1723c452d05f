// Codec: how a value travels in a message. What queues, pipes and pools send goes through it.
//
//   std::map<std::string, std::vector<int>> words = ...;
//   absl::StatusOr<std::string> bytes = mp::EncodeToString(words);
//   absl::StatusOr<Words> again = mp::DecodeFromString<Words>(*bytes);
//
// What can be sent, the first that applies:
//   - a type for which there is a Codec of yours;
//   - a handle of this library (Lock, Value<int>, Shared<T>, ...): it arrives as a handle to the
//     same object, which lives as long as the message and whoever has received it;
//   - what is trivially copyable and has no pointers, as far as its members are to be seen: its
//     bytes;
//   - std::string, the standard containers and what works like them; pair, tuple, array, optional,
//     variant, chrono, complex, bitset; absl::Status, absl::StatusOr, absl::Time, absl::Duration;
//   - unique_ptr and shared_ptr: what they point to, or nothing. What two shared_ptrs of one
//     message share is shared when it arrives, in circles, too;
//   - a protobuf message: SerializeToString() and ParseFromArray();
//   - a class with cereal's conventions: serialize(), save() and load(), save_minimal() and
//     load_minimal(), members or free functions, with a version or without;
//   - a struct of up to 24 such members, without constructors, bases and private members.
// Anything else is an error of the compiler that says what to write instead: pointers and
// references, string_view, span, functions and lambdas, atomics, mutexes. Encodable<T> asks first.
//
//   class Color {                                // a class that says what it consists of
//    public:
//     template <class Archive>
//     void serialize(Archive& archive) { archive(red_, green_, blue_); }
//     ...
//   };
//
//   template <>                                  // and one that is another's
//   struct mp::Codec<Ratio> {
//     static void Encode(const Ratio& ratio, mp::Encoder& encoder) {
//       encoder.Put(ratio.numerator());
//       encoder.Put(ratio.denominator());
//     }
//     static Ratio Decode(mp::Decoder& decoder) {
//       const int numerator = decoder.Get<int>();  // does not return where the bytes are bad
//       return Ratio(numerator, decoder.Get<int>());
//     }
//   };
//
// Errors:   what cannot be sent is kInvalidArgument: nesting of more than 500 values, or what your
//           code says; what your code throws while it encodes, kInternal. Bytes that are no T are
//           kDataLoss, with the type and where it was, as is what is thrown while they are decoded.
//           No exception comes out of these.
// Bad bytes: never a crash, and never more memory than a multiple of the bytes that are there.
//           What is not checked: that an enum is one of its enumerators; what classes whose members
//           are not to be seen have to say of their own bytes.
// Handles:  only in messages, which have a stake in each object: see Encoder and Cargo. In bytes
//           that came another way, or from another family of processes, they are kDataLoss.
// Format:   of one program, or programs built alike, on one machine; not to be kept in files.
// Ordering: none of its own. Nobody may change the value, or the bytes, meanwhile.
// Threads:  from any number.
// Cost:     a copy for long strings and vectors of plain values; figures in docs/benchmarks.md.

#ifndef MP_MP_CODEC_H_
#define MP_MP_CODEC_H_

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/decoder.h"           // IWYU pragma: export
#include "mp/encoder.h"           // IWYU pragma: export
#include "mp/internal/refusal.h"  // IWYU pragma: export
#include "mp/internal/value_codec.h"
#include "mp/internal/via.h"
#include "mp/type_name.h"  // IWYU pragma: export

namespace mp {

// To be specialised, for a T or by a partial specialisation:
//
//   static void Encode(const T& value, Encoder& encoder);  // or absl::Status
//   static T Decode(Decoder& decoder);                     // or absl::StatusOr<T>
//
// Decode() reads what Encode() has put, all of it. Both call Put() and Get() for what T consists
// of.
template <class T>
struct Codec {
  using IsBuiltIn = void;  // a specialisation has none

  static void Encode(const T& value, Encoder& encoder) { encoder.Put(value); }
  static T Decode(Decoder& decoder) { return decoder.template Get<T>(); }
};

// What any message can hold; what a Connection can send (see TravelsOnlyThroughConnection).
template <class T>
concept Encodable = std::is_object_v<T> && internal::IsEncodable<Via::kMessage, T>();
template <class T>
concept EncodableThroughConnection = std::is_object_v<T> &&
    internal::IsEncodable<Via::kConnection, T>();

// Stands in the body of what needs an Encodable T, where a `requires` would only say no:
//   static_assert(MustBeEncodable<T>());
template <class T, Via kVia = Via::kMessage>
constexpr bool MustBeEncodable() {
  return internal::MustBeEncodable<kVia, T>();
}

// sizeof(T) if it travels as its bytes, so that a ring can copy it by itself; 0: by Encode().
// What it then reads is a T only if BytesAreValue().
template <class T>
inline constexpr size_t kFixedSize = internal::kKind<T> == internal::Kind::kBytes ? sizeof(T)
                                                                                  : size_t{0};

// Whether those of `value`, which were copied into it, are such as a T has.
template <class T>
requires(kFixedSize<T> != 0) bool BytesAreValue(const T& value) { return internal::IsRight(value); }

// Appends to a fresh encoder. See Encoder for what then makes it a message.
template <class T>
absl::Status Encode(const T& value, Encoder& encoder) {
  static_assert(MustBeEncodable<T, Via::kConnection>());
  return internal::EncodeMessage(value, encoder);
}
// All that the decoder has.
template <class T>
absl::StatusOr<T> Decode(Decoder& decoder) {
  static_assert(MustBeEncodable<T, Via::kConnection>());
  return internal::DecodeMessage<T>(decoder);
}

// The bytes alone: handles in them are lost to who decodes them.
template <class T>
absl::StatusOr<std::string> EncodeToString(const T& value) {
  static_assert(MustBeEncodable<T>());
  Encoder encoder;
  const absl::Status status = Encode(value, encoder);
  if (!status.ok()) return status;
  return encoder.ToString();
}
template <class T>
absl::StatusOr<T> DecodeFromString(std::string_view bytes) {
  static_assert(MustBeEncodable<T>());
  Decoder decoder(bytes);
  return Decode<T>(decoder);
}

}  // namespace mp

#endif  // MP_MP_CODEC_H_
