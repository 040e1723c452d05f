// OsPipe: the two ends of a pipe of the system's, through which bytes go one way. Python's os.pipe.
//
//   auto [reading, writing] = mp::OrDie(mp::OsPipe());
//   mp::Popen child({"ls"}, {.stdout = mp::Stdio::Use(writing)});
//   mp::OrDie(child.Start());
//   writing.Close();                              // or it never ends
//   std::string names = mp::OrDie(reading.ReadAll());
//
// For programs that know nothing of mp; between processes of a family there is mp/pipe.h.
//
// Ordering: what was done before a write is visible to who reads it. Of several writers, up to
//           PIPE_BUF (4,096) bytes of one WriteAll() stay together.
// Death:    the kernel closes what a process had. When all writers are gone, what is left is read,
//           and then comes the end; when all readers are gone, a write is kUnavailable.
// Fork:     a child has both ends, and closes what it does not use, or nobody learns of the end.
// Cost:     two descriptors.

#ifndef MP_MP_OS_PIPE_H_
#define MP_MP_OS_PIPE_H_

#include <utility>

#include "absl/status/statusor.h"
#include "mp/fd.h"  // IWYU pragma: export

namespace mp {

struct OsPipeOptions {
  // Whether a program that is executed has them, too. One that is started with Popen has its
  // `pass_fds`, inheritable or not.
  bool inheritable = false;
};

// To read from, and to write to; none of the standard descriptors, also where those are closed.
// kResourceExhausted: no descriptors, or no memory.
absl::StatusOr<std::pair<Fd, Fd>> OsPipe(const OsPipeOptions& options = {});

}  // namespace mp

#endif  // MP_MP_OS_PIPE_H_
