// Exec: starts a program with exactly the descriptors that it is to have.
//
//   const char* const paths[] = {"/proc/self/exe"};
//   const std::pair<int, int> descriptors[] = {{0, 0}, {1, 1}, {2, 2}, {fd, 3}};
//   absl::StatusOr<Executed> child = Exec({.paths = paths, .argv = argv, .descriptors =
//   descriptors});
//
// The child borrows this process's memory until it is another program (as vfork(2) and the C
// library's posix_spawn(3) do), while the thread that started it waits. So it costs the same
// whatever the size of this process, runs no fork handlers (to the domain it is nobody), and tells
// by its errno what went wrong.
//
// Death:    a child that is killed before it is another program was started, and ended.
// Threads:  any number at once. What a descriptor is when Exec() is called, and what it has come to
//           be a moment later, is for the caller to keep apart.
// Signals:  the program starts with none blocked and all as by default, unless it is told not to;
//           what is to be ignored is from its first instruction on.
//           No handler of this process runs in the child.

#ifndef MP_MP_INTERNAL_EXEC_H_
#define MP_MP_INTERNAL_EXEC_H_

#include <sys/types.h>

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/internal/sentinel.h"

namespace mp::internal {

inline constexpr pid_t kSameGroup = -1;

struct ExecRequest {
  // Tried in turn, as execvp(3) does: the first one that is there. Relative to `cwd`.
  absl::Span<const char* const> paths = {};
  char* const* argv = nullptr;
  // nullptr: this process's.
  char* const* envp = nullptr;
  // nullptr: this process's.
  const char* cwd = nullptr;
  // The number in this process, and the number in the child; no two at one number there. Without
  // regard to close-on-exec.
  absl::Span<const std::pair<int, int>> descriptors = {};
  // All others are closed; else those that are close-on-exec.
  bool close_others = true;
  bool reset_signals = true;  // else blocked and ignored ones stay so
  // A bit for each that is ignored in the program nevertheless: 1 << (signal - 1).
  uint64_t ignored_signals = 0;
  bool new_session = false;
  // 0: a new one of the child's own.
  pid_t process_group = kSameGroup;
  // Called in the child with `before_argument`, on this process's memory, when there is nothing
  // more that could fail but the program itself; only system calls are safe there. nullptr: none.
  void (*before)(void* argument) = nullptr;
  void* before_argument = nullptr;
};

struct Executed {
  pid_t pid;
  Sentinel sentinel;
};

// When it returns, the child runs the program, and has to be reaped (with waitid(2) and P_PIDFD).
// What is not OK leaves nothing behind. It names the call that failed, and what with: kNotFound,
// kPermissionDenied, kFailedPrecondition (not a directory; a descriptor that is not open),
// kInvalidArgument (no program that this machine can run; arguments too long), kResourceExhausted.
absl::StatusOr<Executed> Exec(const ExecRequest& request);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_EXEC_H_
