// Refusal: what cannot be sent, and why, so that the compiler can say what to write instead.

#ifndef MP_MP_INTERNAL_REFUSAL_H_
#define MP_MP_INTERNAL_REFUSAL_H_

#include <cstddef>
#include <string_view>
#include <type_traits>

#include "mp/type_name.h"

namespace mp {

// True for what no message can hold, but that a Connection can hand over: one with a descriptor.
// Specialised beside such a type,
//
//   template <>
//   struct TravelsOnlyThroughConnection<Connection> : std::true_type {};
//
// whose Codec looks at via(). What contains it, as far as types tell, is no Encodable either.
template <class T>
struct TravelsOnlyThroughConnection : std::false_type {};

namespace internal {

enum class Refusal {
  kNone,
  kPointer,
  kFunction,
  kView,
  kReferenceWrapper,
  kAtomic,
  kMutex,
  kCondition,
  kSemaphore,
  kThread,
  kIterator,
};

struct RefusedName {
  std::string_view begins;
  Refusal refusal;
};

// By their names: to include what declares them all would take longer than the rest.
inline constexpr RefusedName kRefusedNames[] = {
    {"std::basic_string_view<", Refusal::kView},
    {"std::span<", Refusal::kView},
    {"std::initializer_list<", Refusal::kView},
    {"std::ranges::", Refusal::kView},
    {"std::reference_wrapper<", Refusal::kReferenceWrapper},
    {"std::function<", Refusal::kFunction},
    {"std::move_only_function<", Refusal::kFunction},
    {"std::_Bind", Refusal::kFunction},
    {"std::atomic", Refusal::kAtomic},
    {"std::mutex", Refusal::kMutex},
    {"std::timed_mutex", Refusal::kMutex},
    {"std::recursive_", Refusal::kMutex},
    {"std::shared_mutex", Refusal::kMutex},
    {"std::shared_timed_mutex", Refusal::kMutex},
    {"pthread_mutex_t", Refusal::kMutex},
    {"pthread_rwlock_t", Refusal::kMutex},
    {"pthread_spinlock_t", Refusal::kMutex},
    {"pthread_cond_t", Refusal::kCondition},
    {"pthread_barrier_t", Refusal::kCondition},
    {"std::condition_variable", Refusal::kCondition},
    {"sem_t", Refusal::kSemaphore},
    {"std::counting_semaphore<", Refusal::kSemaphore},
    {"std::thread", Refusal::kThread},
    {"std::jthread", Refusal::kThread},
    {"std::future<", Refusal::kThread},
    {"std::promise<", Refusal::kThread},
    {"__gnu_cxx::__normal_iterator<", Refusal::kIterator},
    {"std::reverse_iterator<", Refusal::kIterator},
    {"std::move_iterator<", Refusal::kIterator},
};

// "absl::Span<" and "absl::lts_20220623::Span<" are one.
constexpr bool IsAbslName(std::string_view name, std::string_view is) {
  if (!name.starts_with("absl::")) return false;
  name.remove_prefix(6);
  if (name.starts_with("lts_")) name.remove_prefix(name.find("::") + 2);
  return name.starts_with(is);
}

// Whether the name is that of a closure, not of what only has one in its template arguments.
constexpr bool IsLambdaName(std::string_view name) {
  int depth = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    const std::string_view rest = name.substr(i);
    if (depth == 0 && (rest.starts_with("<lambda") || rest.starts_with("(lambda at"))) return true;
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
  }
  return false;
}

template <class T>
constexpr Refusal RefusalOf() {
  if constexpr (std::is_function_v<T> || std::is_function_v<std::remove_pointer_t<T>> ||
                std::is_member_pointer_v<T>) {
    return Refusal::kFunction;
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return Refusal::kPointer;
  } else if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
    constexpr std::string_view kName = TypeName<T>();
    for (const RefusedName& refused : kRefusedNames) {
      if (kName.starts_with(refused.begins)) return refused.refusal;
    }
    if (IsAbslName(kName, "Span<") || IsAbslName(kName, "FunctionRef<")) return Refusal::kView;
    if (IsAbslName(kName, "Mutex") || IsAbslName(kName, "CondVar")) return Refusal::kMutex;
    if (IsAbslName(kName, "AnyInvocable<")) return Refusal::kFunction;
    if (std::is_class_v<T> && IsLambdaName(kName)) return Refusal::kFunction;
    return Refusal::kNone;
  } else {
    return Refusal::kNone;
  }
}

}  // namespace internal
}  // namespace mp

#endif  // MP_MP_INTERNAL_REFUSAL_H_
