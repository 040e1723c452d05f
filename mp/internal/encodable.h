// Whether a type can be sent, with all that it consists of; and, where it cannot, a line that says
// what to write instead. The compiler names the type beside it.

#ifndef MP_MP_INTERNAL_ENCODABLE_H_
#define MP_MP_INTERNAL_ENCODABLE_H_

#include <concepts>
#include <memory>
#include <type_traits>

#include "mp/internal/bytes_codec.h"
#include "mp/internal/class_codec.h"
#include "mp/internal/container_codec.h"
#include "mp/internal/handle_codec.h"
#include "mp/internal/kind.h"
#include "mp/internal/member_codec.h"
#include "mp/internal/pointer_codec.h"
#include "mp/internal/refusal.h"
#include "mp/internal/sum_codec.h"
#include "mp/internal/via.h"

namespace mp::internal {

// Of what goes by cereal's conventions. (Whether it has a constructor without arguments, which may
// be cereal's friend, cannot be asked.)
template <class T>
constexpr bool HasBothWays() {
  if constexpr (kKind<T> == Kind::kConvention) {
    return kCanBeSaved<T> && kCanBeLoaded<T>;
  } else {
    return true;
  }
}

template <Via kVia, class T, class... Outer>
constexpr bool IsEncodable();
template <Via kVia, class... Outer, class... T>
constexpr bool AreEncodable(Types<T...>) {
  return (IsEncodable<kVia, T, Outer...>() && ...);
}

// `Outer`: what T is part of, and is looked at already.
template <Via kVia, class T, class... Outer>
constexpr bool IsEncodable() {
  if constexpr ((std::same_as<T, Outer> || ...)) {
    return true;
  } else if constexpr (TravelsOnlyThroughConnection<T>::value && kVia != Via::kConnection) {
    return false;
  } else if constexpr (kKind<T> == Kind::kRefused || kKind<T> == Kind::kUnknown) {
    return false;
  } else if constexpr (kKind<T> == Kind::kConvention) {
    return HasBothWays<T>();
  } else {
    return AreEncodable<kVia, Outer..., T>(PartsOf<T>());
  }
}

// To look at one is an error for what is refused.
template <class T>
struct Refused {
  static constexpr Refusal kWhy = RefusalOf<std::remove_reference_t<T>>();

  static_assert(!std::is_reference_v<T>, "mp: a reference cannot be sent: send a value");
  static_assert(kWhy != Refusal::kPointer,
                "mp: a pointer means nothing to who receives it: send what it points to, a "
                "std::string for text, a std::unique_ptr or std::optional for what may be missing, "
                "a std::vector for many, or a handle, such as an mp::Shared");
  static_assert(kWhy != Refusal::kFunction,
                "mp: a function, lambda or std::function cannot be a part of a message: hand it to "
                "a Process or a Pool, or send what says which function is meant");
  static_assert(kWhy != Refusal::kView,
                "mp: a view cannot be sent, it does not own what it shows: send a std::string "
                "instead of a string_view, a std::vector instead of a span");
  static_assert(kWhy != Refusal::kReferenceWrapper,
                "mp: a std::reference_wrapper cannot be sent: send the value, or an mp::Shared");
  static_assert(kWhy != Refusal::kAtomic,
                "mp: an atomic cannot be sent: send what it holds, or an mp::Shared of it");
  static_assert(kWhy != Refusal::kMutex,
                "mp: a mutex cannot be sent: send an mp::Lock, mp::RLock or mp::RWLock");
  static_assert(kWhy != Refusal::kCondition,
                "mp: a condition variable or barrier cannot be sent: send an mp::Condition, "
                "mp::Event or mp::Barrier");
  static_assert(kWhy != Refusal::kSemaphore,
                "mp: a semaphore cannot be sent: send an mp::Semaphore");
  static_assert(kWhy != Refusal::kThread,
                "mp: threads, futures and promises belong to their process: send a result");
  static_assert(kWhy != Refusal::kIterator,
                "mp: an iterator cannot be sent: send an index, a key or the element");
};

// The same for all that T is itself, whatever its parts are.
template <class T>
struct Sendable {
  static_assert(kKind<T> != Kind::kUnknown || !std::is_abstract_v<T>,
                "mp: an abstract class cannot be sent: send a std::variant of what is derived "
                "from it, or specialise mp::Codec for the pointer");
  static_assert(kKind<T> != Kind::kUnknown || !kIs<T, std::unique_ptr>,
                "mp: a std::unique_ptr cannot be sent if it has an array or a deleter of its own: "
                "send a std::vector, or specialise mp::Codec");
  static_assert(kKind<T> != Kind::kUnknown || !kIs<T, std::shared_ptr>,
                "mp: a std::shared_ptr of an array or void cannot be sent: send one of a "
                "std::vector");
  static_assert(kKind<T> != Kind::kUnknown || std::is_abstract_v<T> || kIs<T, std::unique_ptr> ||
                    kIs<T, std::shared_ptr>,
                "mp: it is not known how to send this type: give it a "
                "`template <class A> void serialize(A& archive) { archive(its, members); }`, or "
                "specialise mp::Codec. A struct of at most 24 members, without constructors, "
                "bases, references and private members, needs neither");
  static_assert(
      HasBothWays<T>(),
      "mp: it can be saved but not loaded, or loaded but not saved: it needs serialize(), "
      "or both of save() and load(), and no other one beside");
};
template <class T>
constexpr bool MustBeSendable() {
  if constexpr (kKind<T> == Kind::kRefused) {
    return sizeof(Refused<T>) != 0;
  } else {
    return sizeof(Sendable<T>) != 0;
  }
}

template <class T, Via kVia>
struct Travels {
  static_assert(kVia == Via::kConnection || !TravelsOnlyThroughConnection<T>::value,
                "mp: a Connection travels only through a Connection: Send() it over one, or let "
                "the process inherit it");
};

// True, or an error in the part of T that cannot be sent.
template <Via kVia, class T, class... Outer>
constexpr bool MustBeEncodable();
template <Via kVia, class... Outer, class... T>
constexpr bool PartsMustBeEncodable(Types<T...>) {
  return (MustBeEncodable<kVia, T, Outer...>() && ...);
}
template <Via kVia, class T, class... Outer>
constexpr bool MustBeEncodable() {
  if constexpr (IsEncodable<kVia, T, Outer...>()) {
    return true;
  } else if constexpr (kKind<T> == Kind::kRefused) {
    return MustBeSendable<T>();
  } else {
    return sizeof(Travels<T, kVia>) != 0 && MustBeSendable<T>() &&
           PartsMustBeEncodable<kVia, Outer..., T>(PartsOf<T>());
  }
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_ENCODABLE_H_
