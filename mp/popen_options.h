// PopenOptions: what a program is started with, beside its arguments. See mp/popen.h.
//
//   mp::PopenOptions options = {.stdin = mp::Stdio::Null(),
//                               .stdout = mp::Stdio::File("log"),
//                               .stderr = mp::Stdio::Stdout(),
//                               .add_env = {{"LC_ALL", "C"}},
//                               .cwd = "/srv"};

#ifndef MP_MP_POPEN_OPTIONS_H_
#define MP_MP_POPEN_OPTIONS_H_

#include <stdio.h>  // whose macros `stdin` and the like are these very names
#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mp/fd.h"

namespace mp {

namespace internal {
class StandardFiles;
}

// What one of the three standard descriptors of a program is.
class Stdio {
 public:
  // This process's; the null device where that is closed.
  static Stdio Inherit() { return Stdio(Kind::kInherit); }
  // A pipe to this process.
  static Stdio Pipe() { return Stdio(Kind::kPipe); }
  static Stdio Null() { return Stdio(Kind::kNull); }
  // To be read; for output it is made, or emptied.
  static Stdio File(std::string path) { return Stdio(Kind::kFile, std::move(path)); }
  // For output: it is made, or added to.
  static Stdio Append(std::string path) { return Stdio(Kind::kAppend, std::move(path)); }
  // A descriptor of this process's, which has to be open until Start() has returned.
  static Stdio Use(int fd) { return Stdio(Kind::kDescriptor, {}, fd); }
  static Stdio Use(const Fd& fd) { return Use(fd.get()); }
  static Stdio Use(Fd&& fd) = delete;  // it would be closed before
  // For stderr: what stdout is.
  static Stdio Stdout() { return Stdio(Kind::kStdout); }

 private:
  friend class internal::StandardFiles;

  enum class Kind { kInherit, kPipe, kNull, kFile, kAppend, kDescriptor, kStdout };

  explicit Stdio(Kind kind, std::string path = {}, int fd = -1)
      : kind_(kind), path_(std::move(path)), fd_(fd) {}

  Kind kind_;
  std::string path_;
  int fd_;
};

struct PopenOptions {
  Stdio stdin = Stdio::Inherit();
  Stdio stdout = Stdio::Inherit();
  Stdio stderr = Stdio::Inherit();
  // All of its environment. Default: this process's.
  std::optional<std::map<std::string, std::string>> env = {};
  // Set in that.
  std::map<std::string, std::string> add_env = {};
  // Default: this process's. The path of the program, if it is relative, is so to this.
  std::string cwd = {};
  // The program, where it is not to be args[0], which it sees as its name.
  std::string executable = {};
  // Descriptors of this process's that the program has at the same numbers.
  std::vector<int> pass_fds = {};
  // Whether it has no others. Else it also has those of this process that are not close-on-exec.
  bool close_fds = true;
  // Whether it starts with no signal blocked, and all as by default. Else those that the caller
  // blocks or ignores it does, too: so does a program that nohup(1) is to have effect on. Either
  // way it ignores those of InChildren::kIgnore (mp/signals.h).
  bool restore_signals = true;
  bool start_new_session = false;
  // 0: a new one of its own.
  std::optional<pid_t> process_group = {};
};

}  // namespace mp

#endif  // MP_MP_POPEN_OPTIONS_H_
