// tests/support/fork.h
//
// ForkMortal: fork(2) for tests. The child cannot outlive its parent and cannot
// come back into the test that forked it.

#ifndef MP_TESTS_SUPPORT_FORK_H_
#define MP_TESTS_SUPPORT_FORK_H_

#include <sys/types.h>

#include <functional>

namespace mp::testing {

// Exit status of a child whose body threw an exception.
inline constexpr int kThrew = 113;

// Forks a child that runs `body` and then ends with _exit(0): no exit handlers,
// no static destructors, nothing of the caller's buffers written twice. If the
// body throws, its words go to stderr and the status is kThrew.
//
// The kernel kills the child when the *thread* that called this ends, so call
// it from a thread that stays. Returns the child's pid; the caller reaps it.
// Ends this process if there can be no child.
pid_t ForkMortal(const std::function<void()>& body);

// SIGKILL, and reaped when this returns. `pid` is a child of the caller, not
// yet reaped. Returns what waitpid(2) told.
int KillAndReap(pid_t pid);

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_FORK_H_
