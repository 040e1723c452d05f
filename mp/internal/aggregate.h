// Aggregate: the members of a struct without constructors, private members and bases, which need
// no serialize() to be sent. How many there are is found by trying how many initialisers it takes;
// structured bindings then name them.

#ifndef MP_MP_INTERNAL_AGGREGATE_H_
#define MP_MP_INTERNAL_AGGREGATE_H_

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace mp::internal {

template <class... T>
struct Types {};

// More members than that are not seen. Each element of a member that is an array takes an
// initialiser of its own.
inline constexpr size_t kMostMembers = 24;
inline constexpr size_t kMostInitializers = 64;

// An initialiser of anything but T and what it is derived from; of a base of T only. (Where nothing
// can be initialised by it, the braces of a base or an array are as if they were there.) Not of the
// tag with which a std::tuple takes allocators: with what follows it, some compilers insist.
template <class U, class T>
concept CanBeMember = !std::is_base_of_v<U, T> && !std::is_same_v<U, std::allocator_arg_t>;
template <class U, class T>
concept BaseOf = std::is_base_of_v<U, T> && !std::is_same_v<U, T>;

template <class T>
struct AnyMember {
  template <CanBeMember<T> U>
  operator U() const noexcept {  // NOLINT(google-explicit-constructor): it is to be anything
    __builtin_unreachable();     // never called
  }
};
template <class T>
struct AnyBase {
  template <BaseOf<T> U>
  operator U() const noexcept {  // NOLINT(google-explicit-constructor): the same
    __builtin_unreachable();
  }
};

template <class T>
concept HasBase = requires {
  T{AnyBase<T>{}};
};

template <class T, size_t>
using AnyMemberAt = AnyMember<T>;

// T{any * kBefore, {any * kNested}, any * kBehind}; without the middle if that is 0.
template <class T, class Before, class Nested, class Behind>
struct Initialized;
template <class T, size_t... i, size_t... j, size_t... k>
struct Initialized<T, std::index_sequence<i...>, std::index_sequence<j...>,
                   std::index_sequence<k...>> {
  static constexpr bool Compiles() {
    if constexpr (sizeof...(j) == 0) {
      return requires { T{AnyMemberAt<T, i>{}..., AnyMemberAt<T, k>{}...}; };
    } else {
      return requires {
        T{AnyMemberAt<T, i>{}..., {AnyMemberAt<T, j>{}...}, AnyMemberAt<T, k>{}...};
      };
    }
  }
};
template <class T, size_t kBefore, size_t kNested = 0, size_t kBehind = 0>
inline constexpr bool kInitialized =
    Initialized<T, std::make_index_sequence<kBefore>, std::make_index_sequence<kNested>,
                std::make_index_sequence<kBehind>>::Compiles();

// The most initialisers that T takes, kMostInitializers + 1 if that is more, or -1: any number is
// wrong. Too few are wrong, too, where what is left has no default.
template <class T, size_t kCount = 0, bool kFound = false>
constexpr int CountInitializers() {
  if constexpr (kCount > kMostInitializers) {
    return kFound ? static_cast<int>(kCount) : -1;
  } else if constexpr (kInitialized<T, kCount>) {
    return CountInitializers<T, kCount + 1, true>();
  } else if constexpr (kFound) {
    return static_cast<int>(kCount) - 1;
  } else {
    return CountInitializers<T, kCount + 1, false>();
  }
}

// How many of `kCount` initialisers the member takes that the one at `kAt` is the first for: more
// than one for an array only, whose braces then hold exactly that many.
template <class T, size_t kCount, size_t kAt, size_t kNested>
constexpr size_t InitializersAt() {
  if constexpr (kNested <= 1) {
    return 1;
  } else if constexpr (kInitialized<T, kAt, kNested, kCount - kAt - kNested> &&
                       !kInitialized<T, kAt, kNested, kCount - kAt - kNested + 1>) {
    return kNested;
  } else {
    return InitializersAt<T, kCount, kAt, kNested - 1>();
  }
}
template <class T, size_t kCount, size_t kAt = 0>
constexpr size_t CountMembersFrom() {
  if constexpr (kAt >= kCount) {
    return 0;
  } else {
    constexpr size_t kTaken = InitializersAt<T, kCount, kAt, kCount - kAt>();
    return 1 + CountMembersFrom<T, kCount, kAt + kTaken>();
  }
}

enum class Seen {
  kAll,      // its members are known
  kTooMany,  // more than kMostMembers, or an array of more than kMostInitializers
  kNot,      // no aggregate, or one with a base, or with a reference
};

template <class T>
struct AggregateOf {
  static constexpr int CountInitializersOrNone() {
    if constexpr (!std::is_class_v<T> || !std::is_aggregate_v<T>) {
      return -1;
    } else if constexpr (HasBase<T>) {
      return -1;
    } else {
      return CountInitializers<T>();
    }
  }
  static constexpr int kInitializers = CountInitializersOrNone();
  static constexpr size_t CountMembers() {
    if constexpr (kInitializers < 0 || kInitializers > static_cast<int>(kMostInitializers)) {
      return 0;
    } else {
      return CountMembersFrom<T, static_cast<size_t>(kInitializers)>();
    }
  }
  static constexpr size_t kMembers = CountMembers();
  static constexpr Seen kSeen =
      kInitializers < 0 ? Seen::kNot
      : kInitializers > static_cast<int>(kMostInitializers) || kMembers > kMostMembers
          ? Seen::kTooMany
          : Seen::kAll;
};

// Calls visit(members...); T may be const.
template <class T, class Visit>
constexpr decltype(auto) VisitMembers([[maybe_unused]] T& value, Visit&& visit) {
  constexpr size_t kMembers = AggregateOf<std::remove_cv_t<T>>::kMembers;
  // Nothing but the names can be different: a structured binding has as many as are written.
  if constexpr (kMembers == 0) {
    return visit();
  } else if constexpr (kMembers == 1) {
    auto& [m1] = value;
    return visit(m1);
  } else if constexpr (kMembers == 2) {
    auto& [m1, m2] = value;
    return visit(m1, m2);
  } else if constexpr (kMembers == 3) {
    auto& [m1, m2, m3] = value;
    return visit(m1, m2, m3);
  } else if constexpr (kMembers == 4) {
    auto& [m1, m2, m3, m4] = value;
    return visit(m1, m2, m3, m4);
  } else if constexpr (kMembers == 5) {
    auto& [m1, m2, m3, m4, m5] = value;
    return visit(m1, m2, m3, m4, m5);
  } else if constexpr (kMembers == 6) {
    auto& [m1, m2, m3, m4, m5, m6] = value;
    return visit(m1, m2, m3, m4, m5, m6);
  } else if constexpr (kMembers == 7) {
    auto& [m1, m2, m3, m4, m5, m6, m7] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7);
  } else if constexpr (kMembers == 8) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8);
  } else if constexpr (kMembers == 9) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9);
  } else if constexpr (kMembers == 10) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10);
  } else if constexpr (kMembers == 11) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11);
  } else if constexpr (kMembers == 12) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12);
  } else if constexpr (kMembers == 13) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13);
  } else if constexpr (kMembers == 14) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14);
  } else if constexpr (kMembers == 15) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15);
  } else if constexpr (kMembers == 16) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16);
  } else if constexpr (kMembers == 17) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17);
  } else if constexpr (kMembers == 18) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18);
  } else if constexpr (kMembers == 19) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19] =
        value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18,
                 m19);
  } else if constexpr (kMembers == 20) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19,
           m20] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18,
                 m19, m20);
  } else if constexpr (kMembers == 21) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19,
           m20, m21] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18,
                 m19, m20, m21);
  } else if constexpr (kMembers == 22) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19,
           m20, m21, m22] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18,
                 m19, m20, m21, m22);
  } else if constexpr (kMembers == 23) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19,
           m20, m21, m22, m23] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18,
                 m19, m20, m21, m22, m23);
  } else if constexpr (kMembers == 24) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19,
           m20, m21, m22, m23, m24] = value;
    return visit(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18,
                 m19, m20, m21, m22, m23, m24);
  }
}

// The types of the members, without const.
struct ListTypes {
  template <class... M>
  constexpr Types<std::remove_cv_t<M>...> operator()(const M&...) const {
    return {};
  }
};
template <class T>
using MembersOf = decltype(VisitMembers(std::declval<T&>(), ListTypes()));

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_AGGREGATE_H_
