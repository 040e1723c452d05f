// Communication: what is written to a program, and what it writes, all at once: neither waits for
// the other with a full pipe before it.

#ifndef MP_MP_INTERNAL_COMMUNICATION_H_
#define MP_MP_INTERNAL_COMMUNICATION_H_

#include <time.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "mp/fd.h"

namespace mp::internal {

class Communication {
 public:
  // This process's ends of its pipes; empty ones do not take part.
  struct Pipes {
    Fd& in;
    Fd& out;
    Fd& err;
  };

  // Writes `input` and closes the pipe for it, and reads the others to their ends, and closes them.
  // kDeadlineExceeded: not all of it; Continue() does the rest. nullptr: no deadline.
  absl::Status Begin(const Pipes& pipes, std::string_view input, const timespec* deadline);
  absl::Status Continue(const Pipes& pipes, const timespec* deadline);

  bool has_begun() const { return has_begun_; }
  // What was read.
  std::string out;
  std::string err;

 private:
  absl::Status Run(const Pipes& pipes, std::string_view& input, const timespec* deadline);

  bool has_begun_ = false;
  std::string input_;  // what is left to write, between the calls
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_COMMUNICATION_H_
