// tests/mp/replaced.h
//
// Replaced: while it lives, a standard descriptor of this process is another.
//
//   const Replaced replaced(STDOUT_FILENO, said.writer());

#ifndef MP_TESTS_MP_REPLACED_H_
#define MP_TESTS_MP_REPLACED_H_

#include <fcntl.h>
#include <unistd.h>

namespace mp::testing {

class Replaced {
 public:
  static constexpr int kClosed = -1;

  Replaced(int standard, int by)
      : standard_(standard), saved_(fcntl(standard, F_DUPFD_CLOEXEC, 3)) {
    if (by == kClosed) {
      close(standard);
    } else {
      dup2(by, standard);
    }
  }
  ~Replaced() {
    if (saved_ >= 0) {
      dup2(saved_, standard_);
      close(saved_);
    } else {
      close(standard_);
    }
  }
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;

 private:
  const int standard_;
  const int saved_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_MP_REPLACED_H_
