// OrDie: the value, or the end of this process. For small programs and tests, where there is
// nothing better to do about an error.
//
//   mp::OrDie(child.Start());
//   const mp::Lock lock = mp::OrDie(mp::Lock::Create({.name = "jobs"}));
//
// Errors:   what is not OK ends this process with one line on stderr, where and the status,
//           and with abort(): no destructor or at-exit handler runs, its exit code is -6.
// Death:    to the others that end is one like any: they get what it held.
// Threads:  from any number at once.

#ifndef MP_MP_OR_DIE_H_
#define MP_MP_OR_DIE_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/internal/fatal.h"

namespace mp {

// The last two are where the call is; clang 14 has no std::source_location.
inline void OrDie(const absl::Status& status, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  if (!status.ok()) internal::Fatal(absl::StrCat(file, ":", line, ": ", status.ToString()));
}

template <class T>
T OrDie(absl::StatusOr<T> value, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  OrDie(value.status(), file, line);
  return *std::move(value);
}

}  // namespace mp

#endif  // MP_MP_OR_DIE_H_
