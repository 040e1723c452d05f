// Popen: runs any program. Python's subprocess.Popen.
//
//   mp::Popen sort({"sort", "-n"}, {.stdin = mp::Stdio::Pipe(), .stdout = mp::Stdio::Pipe()});
//   if (absl::Status s = sort.Start(); !s.ok()) return s;          // no such program, say
//   absl::StatusOr<mp::PopenOutput> output = sort.Communicate("3\n1\n2\n");
//   if (output.ok() && sort.returncode() == 0) std::cout << output->out;
//
// The program is looked for in PATH (of its own environment) unless its name has a slash. It has
// the arguments, environment, working directory and descriptors of mp/popen_options.h, no others,
// and starts with signals as by default, but for those that mp/signals.h is to have it ignore. It
// is no member of the family: of shared objects it knows nothing, and CurrentProcess() and its like
// do not know it.
//
// Ordering: the program sees in files what was done before Start(); who returns from Wait() sees
//           what it did.
// Death:    a program may be killed at any instruction: its return code is then the signal's
//           number, negative, and its pipes come to their end. When this process dies, programs go
//           on, and find their pipes closed.
// Exit:     the same: a program that runs goes on, also where the Popen is destroyed. It is reaped
//           when another one is started, or another Popen destroyed.
// Fork:     Start() runs no fork handlers, and costs the same whatever the size of this process. A
//           child of this process has copies of its Popens, which only have pid(), args(),
//           sentinel() and the pipes. It holds those open until it ends, so start it before, or
//           close them in it.
// Threads:  const functions may be called from any number at once.
// Signals:  a wait goes on after one. A program that does not read its input is no SIGPIPE.
// Misuse:   Start() says kFailedPrecondition. All else ends the process that calls it, with one
//           line: before Start(), where nothing is said below about that, and by a process that is
//           not the parent.
// Cost:     docs/start_methods.md has it beside posix_spawn(). A descriptor, and one for each pipe.

#ifndef MP_MP_POPEN_H_
#define MP_MP_POPEN_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/fd.h"
#include "mp/popen_options.h"  // IWYU pragma: export

namespace mp {

// What a program has written to its pipes.
struct PopenOutput {
  std::string out;
  std::string err;
};

class Popen {
 public:
  // No program, as one that was moved from.
  Popen();
  // `args`: its name, then its arguments.
  explicit Popen(std::vector<std::string> args, PopenOptions options = {});
  ~Popen();
  Popen(Popen&&) noexcept;
  Popen& operator=(Popen&&) noexcept;

  // Once. When it has returned OK, the program runs. Else nothing does, nothing is left, it may be
  // tried again, and the status names what failed. kNotFound: no such program, interpreter, folder
  // or file. kPermissionDenied: not to be run, or read. kInvalidArgument: no program for this
  // machine; arguments too long, or with a zero byte. kFailedPrecondition: a descriptor that is not
  // open; a file that is no folder. kResourceExhausted: no processes, descriptors or memory.
  absl::Status Start();

  // This process's ends of the pipes, to be read from, written to and closed; empty where none was
  // asked for, and before Start().
  Fd& stdin();
  Fd& stdout();
  Fd& stderr();

  // Writes `input` and closes stdin, reads stdout and stderr to their ends, all at once, whatever
  // their size, then waits for the program. A program that does not read all is no error. The ends
  // come when nobody has those pipes any more, the program's own children among them.
  // kDeadlineExceeded: not in time; all goes on, nothing is lost, and when it is called again, then
  // without input, it has the whole output. kCancelled (cancellation.h): the same.
  // kInvalidArgument: input, and no pipe for it.
  absl::StatusOr<PopenOutput> Communicate(std::string_view input = {},
                                          absl::Duration timeout = absl::InfiniteDuration());

  // Until the program has ended, cancelled or not: its return code. (One that writes to a pipe
  // which nobody reads does not end: see Communicate().)
  int Wait() const;
  // Nothing: it still runs; also where this thread is cancelled.
  [[nodiscard]] std::optional<int> Wait(absl::Duration timeout) const;
  // Whether it has ended: its return code. Nothing before Start().
  std::optional<int> Poll() const;
  // The same. 255, too, where somebody else took the status, by waiting for any child, or by
  // ignoring SIGCHLD.
  std::optional<int> returncode() const { return Poll(); }

  // To the program, not to its children. Nothing when it has ended. kInvalidArgument: no such
  // signal. kPermissionDenied: it has become another user's.
  absl::Status SendSignal(int signal) const;
  // SIGTERM, SIGKILL, SIGINT; nothing where SendSignal() would fail.
  void Terminate() const;
  void Kill() const;
  void Interrupt() const;

  // 0 before Start().
  pid_t pid() const;
  const std::vector<std::string>& args() const;
  // A descriptor (a pidfd) that becomes readable when the program has ended. Valid as long as this
  // object; to wait for, also with mp::Wait(), not to be closed.
  int sentinel() const;

 private:
  struct State;

  State& Started(const char* call) const;
  State& Own(const char* call) const;

  std::unique_ptr<State> state_;  // null: no program
};

}  // namespace mp

#endif  // MP_MP_POPEN_H_
