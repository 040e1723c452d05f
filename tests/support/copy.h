// tests/support/copy.h
//
// A copy of this process that fork(2) did not make, and of which its handlers do not know: as by
// _Fork(2) of newer C libraries, or clone(2).
//
//   EXPECT_DEATH(EndAsACopy([] { lock.Acquire(); }), "nobody knows of it");

#ifndef MP_TESTS_SUPPORT_COPY_H_
#define MP_TESTS_SUPPORT_COPY_H_

#include <sys/types.h>

#include <functional>

namespace mp::testing {

// A copy does `use`, and this process then ends as it: with its signal, or well.
[[noreturn]] void EndAsACopy(const std::function<void()>& use);

// Waits for a child of this process; if a signal has ended that, it ends this one, too.
void EndByTheSignalOf(pid_t pid);

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_COPY_H_
