// CallBack: calls what the program wants to be told by. What it throws is said on standard error:
// the thread is one that others wait for.

#ifndef MP_MP_INTERNAL_CALLBACK_H_
#define MP_MP_INTERNAL_CALLBACK_H_

#include <unistd.h>

#include <exception>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {

inline void CallBack(absl::FunctionRef<void()> callback) {
  std::string line;
  try {
    callback();
    return;
  } catch (const std::exception& exception) {
    line = absl::StrCat("mp: a callback threw: ", exception.what(), "\n");
  }
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CALLBACK_H_
