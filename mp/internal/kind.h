// Kind: how a type is encoded, chosen in one place. kKind<T> has the order.

#ifndef MP_MP_INTERNAL_KIND_H_
#define MP_MP_INTERNAL_KIND_H_

#include <array>
#include <bitset>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/internal/aggregate.h"
#include "mp/internal/archive.h"
#include "mp/internal/refusal.h"
#include "mp/type_name.h"
#include "shared/internal/handle_access.h"

namespace mp {

template <class T>
struct Codec;
template <class T>
struct TravelsOnlyThroughConnection;

namespace internal {

enum class Kind {
  kRefused,      // see refusal.h
  kCustom,       // a Codec<T> of the user's
  kHandle,       // a Lock, a Value<int>, ...
  kProtobuf,     // SerializeToString() and ParseFromArray()
  kBytes,        // its bytes
  kConvention,   // cereal's serialize(), save() and load()
  kCArray,       // T[n]
  kSequence,     // push_back(), or insert_after()
  kAssociative,  // key_type
  kStdArray,
  kTuple,  // and pair
  kOptional,
  kVariant,
  kUniquePtr,
  kSharedPtr,
  kWeakPtr,
  kStatus,
  kStatusOr,
  kAggregate,  // member by member
  kUnknown,
};

template <class T, template <class...> class Template>
inline constexpr bool kIs = false;
template <class... A, template <class...> class Template>
inline constexpr bool kIs<Template<A...>, Template> = true;
template <class T>
inline constexpr bool kIsStdArray = false;
template <class T, size_t n>
inline constexpr bool kIsStdArray<std::array<T, n>> = true;
template <class T>
inline constexpr bool kIsBitset = false;
template <size_t n>
inline constexpr bool kIsBitset<std::bitset<n>> = true;

// Its functions are the library's to know, not to be looked for.
template <class T>
constexpr bool IsOfLibrary() {
  return TypeName<T>().starts_with("std::") || TypeName<T>().starts_with("absl::");
}

template <class T>
concept HasBuiltInCodec = requires {
  typename Codec<T>::IsBuiltIn;
};
template <class T>
constexpr bool IsCustom() {
  if constexpr (std::is_class_v<T> || std::is_union_v<T> || std::is_enum_v<T>) {
    return !HasBuiltInCodec<T>;
  } else {
    return false;
  }
}

template <class T>
concept Protobuf = requires(const T& message, T& parsed, std::string* bytes) {
  { message.SerializeToString(bytes) } -> std::convertible_to<bool>;
  { parsed.ParseFromArray(std::declval<const void*>(), int{}) } -> std::convertible_to<bool>;
};

template <class T>
concept Associative = requires(T& container, typename T::value_type value) {
  typename T::key_type;
  container.size();
  container.begin();
  container.emplace_hint(container.end(), std::move(value));
};
template <class T>
concept PushesBack = requires(T& container, typename T::value_type value) {
  container.size();
  container.begin();
  container.push_back(std::move(value));
};
template <class T>
concept InsertsAfter = requires(T& container, typename T::value_type value) {
  container.begin();
  container.insert_after(container.before_begin(), std::move(value));
};

template <class T>
constexpr bool IsBytes();

template <class... T>
constexpr bool AreBytes(Types<T...>) {
  return (IsBytes<T>() && ...);
}

// Whether T travels as its bytes: it can be copied so, and has no pointers as far as can be told.
template <class T>
constexpr bool IsBytes() {
  if constexpr (std::is_array_v<T>) {
    return IsBytes<std::remove_cv_t<std::remove_extent_t<T>>>();
  } else if constexpr (std::is_arithmetic_v<T>) {
    return true;
  } else if constexpr (!std::is_trivially_copyable_v<T> || !std::is_move_constructible_v<T> ||
                       !(std::is_class_v<T> || std::is_union_v<T> || std::is_enum_v<T>)) {
    return false;
  } else if constexpr (IsCustom<T>() || TravelsOnlyThroughConnection<T>::value ||
                       RefusalOf<T>() != Refusal::kNone) {
    return false;
  } else if constexpr (!std::is_class_v<T>) {
    return true;
  } else if constexpr (kIsStdArray<T>) {
    return IsBytes<typename T::value_type>();
  } else if constexpr (IsOfLibrary<T>()) {
    // What an optional or a variant says of itself is to be checked.
    return kIsBitset<T> || std::is_same_v<T, std::monostate> ||
           TypeName<T>().starts_with("std::chrono::") ||
           TypeName<T>().starts_with("std::complex<") || TypeName<T>().starts_with("absl::");
  } else if constexpr (AggregateOf<T>::kSeen == Seen::kAll) {
    return AreBytes(MembersOf<T>());
  } else if constexpr (std::is_aggregate_v<T> && AggregateOf<T>::kInitializers < 0 && !HasBase<T>) {
    return false;  // a member is a reference
  } else {
    // Its members are not to be seen; whoever wrote down how it is saved knows them.
    return !kCanBeSaved<T>;
  }
}

// A smart pointer, not to an array or to what has no type.
template <class T>
concept PointsToOne = requires(const T& pointer) {
  { *pointer } -> std::same_as<typename T::element_type&>;
};

template <class T>
constexpr Kind KindOf() {
  if constexpr (std::is_reference_v<T>) {
    return Kind::kRefused;
  } else if constexpr (IsCustom<T>()) {
    return Kind::kCustom;
  } else if constexpr (RefusalOf<T>() != Refusal::kNone) {
    return Kind::kRefused;
  } else if constexpr (std::is_abstract_v<T>) {
    return Kind::kUnknown;
  } else if constexpr (std::is_bounded_array_v<T>) {
    return Kind::kCArray;
  } else if constexpr (HandleAccess::IsHandle<T>()) {
    return Kind::kHandle;
  } else if constexpr (IsBytes<T>()) {
    return Kind::kBytes;
  } else if constexpr (std::same_as<T, absl::Status>) {
    return Kind::kStatus;
  } else if constexpr (kIs<T, absl::StatusOr>) {
    return Kind::kStatusOr;
  } else if constexpr (kIsStdArray<T>) {
    return Kind::kStdArray;
  } else if constexpr (kIs<T, std::pair> || kIs<T, std::tuple>) {
    return Kind::kTuple;
  } else if constexpr (kIs<T, std::optional>) {
    return Kind::kOptional;
  } else if constexpr (kIs<T, std::variant>) {
    return Kind::kVariant;
  } else if constexpr (kIs<T, std::unique_ptr>) {
    return PointsToOne<T> && std::same_as<typename T::deleter_type,
                                          std::default_delete<typename T::element_type>>
               ? Kind::kUniquePtr
               : Kind::kUnknown;
  } else if constexpr (kIs<T, std::shared_ptr>) {
    return PointsToOne<T> ? Kind::kSharedPtr : Kind::kUnknown;
  } else if constexpr (kIs<T, std::weak_ptr>) {
    return Kind::kWeakPtr;
  } else if constexpr (Protobuf<T>) {
    return Kind::kProtobuf;
  } else if constexpr (!IsOfLibrary<T>() && (kCanBeSaved<T> || kCanBeLoaded<T>)) {
    return Kind::kConvention;
  } else if constexpr (Associative<T>) {
    return Kind::kAssociative;
  } else if constexpr (PushesBack<T> || InsertsAfter<T>) {
    return Kind::kSequence;
  } else if constexpr (AggregateOf<T>::kSeen == Seen::kAll) {
    return Kind::kAggregate;
  } else if constexpr (kCanBeSaved<T> || kCanBeLoaded<T>) {
    return Kind::kConvention;  // by a header of cereal's for it
  } else {
    return Kind::kUnknown;
  }
}
template <class T>
inline constexpr Kind kKind = KindOf<T>();

}  // namespace internal
}  // namespace mp

#endif  // MP_MP_INTERNAL_KIND_H_
