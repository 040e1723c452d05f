// StandardFiles: the descriptors of a program that is to be started, and this process's ends of its
// pipes.

#ifndef MP_MP_INTERNAL_STANDARD_FILES_H_
#define MP_MP_INTERNAL_STANDARD_FILES_H_

#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/fd.h"
#include "mp/popen_options.h"

namespace mp::internal {

class StandardFiles {
 public:
  static absl::StatusOr<StandardFiles> Open(const PopenOptions& options);

  // Their numbers here, and in the program. Those that are only the program's are closed with this.
  absl::Span<const std::pair<int, int>> descriptors() const { return descriptors_; }

  Fd stdin;
  Fd stdout;
  Fd stderr;

 private:
  StandardFiles() = default;

  absl::Status Open(const Stdio& stdio, int number, std::string_view name, bool is_open, Fd& ours);
  void Give(int fd, int number) { descriptors_.emplace_back(fd, number); }
  void Give(Fd fd, int number);

  std::vector<std::pair<int, int>> descriptors_;
  std::vector<Fd> programs_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_STANDARD_FILES_H_
