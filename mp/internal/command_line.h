// CommandLine: a program, its arguments and its environment, as exec(2) takes them.

#ifndef MP_MP_INTERNAL_COMMAND_LINE_H_
#define MP_MP_INTERNAL_COMMAND_LINE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/popen_options.h"

namespace mp::internal {

class CommandLine {
 public:
  // kInvalidArgument: what exec(2) cannot take.
  static absl::StatusOr<CommandLine> Of(const std::vector<std::string>& args,
                                        const PopenOptions& options);

  CommandLine(CommandLine&&) = default;
  CommandLine& operator=(CommandLine&&) = default;

  // Where the program may be.
  absl::Span<const char* const> paths() const { return path_pointers_; }
  char* const* argv() const { return arg_pointers_.data(); }
  // nullptr: this process's.
  char* const* envp() const { return env_pointers_.empty() ? nullptr : env_pointers_.data(); }

 private:
  CommandLine() = default;

  std::vector<std::string> paths_;
  std::vector<std::string> args_;
  std::vector<std::string> env_;
  std::vector<const char*> path_pointers_;
  std::vector<char*> arg_pointers_;
  std::vector<char*> env_pointers_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_COMMAND_LINE_H_
