// Process: runs a function in a process of its own.
//
//   mp::Process child([](const std::string& word) { std::puts(word.c_str()); }, "hello");
//   if (absl::Status s = child.Start(); !s.ok()) return s;
//   child.Join();
//   int code = *child.exitcode();   // 0; -9 when it was killed
//
// The child is a fork, unless start_method.h is told otherwise: it has a copy of everything, and
// of the starter's threads the one that called Start(). Its target is any callable with arguments
// (see internal/target.h) that returns void, an int, which becomes the exit code (its low 8 bits),
// or a Status; for a child that is no fork, a function and what can be sent.
// Exit code 1: it threw, or its Status was not OK; a line on stderr tells. Its standard
// input is the null device. A child may have children; a daemon may not.
//
// Ordering: the child sees what was done before Start(); who returns from Join() sees in
//           shared memory what the child did.
// Death:    a child may be killed at any instruction; its exit code is then the signal's
//           number, negative. What becomes of its own children: on_parent_exit.h. By default
//           they live on, but for its daemons: they die with it, whatever ended it, though not
//           with the thread that started them (one that is stopped dies when it is continued).
// Exit:     a program that returns from main() or calls exit() ends its live daemons with
//           SIGTERM, then joins all its children, also those without a Process. A child
//           does the same when its target returns, throws, or calls exit(), after what it
//           registered itself to run at exit; then it writes out its streams and ends.
//           Of the starter's at-exit handlers and static objects it runs none, only the
//           thread_local destructors of the one thread; one that was spawned has and runs its
//           own. Threads that the target leaves running do not hold the child up, unlike Python's.
//           A daemon that blocks or handles SIGTERM holds its parent's end up: end it
//           before.
// Fork:     a child's copy of a Process only has pid(), name(), daemon(), sentinel().
//           Start() writes out buffered output first, so that it does not come twice.
//           What the child shares with its parent, the parent keeps a handle to until it
//           has joined the child: Start() destroys the copies in the target.
// Threads:  const functions may be called from any number at once.
// Misuse:   Start() and Close() say kFailedPrecondition. All else ends the process that
//           calls it, with one line: after Close(), by a process that is not the parent,
//           and, where nothing is said below about the time before Start(), then too.
// Cost:     docs/start_methods.md has it beside fork(), _exit() and waitpid(); two descriptors, of
//           which one is in the child; three by a fork server.

#ifndef MP_MP_PROCESS_H_
#define MP_MP_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mp/internal/target.h"
#include "mp/on_parent_exit.h"
#include "mp/start_method.h"

namespace mp {

namespace internal {
class Child;
}

struct ProcessOptions {
  // Default: "Process-2", counting the process objects that this process has made; in
  // its second child "Process-2:1", and so on.
  std::string name = {};
  // Default: what the process is that makes this object.
  std::optional<bool> daemon = {};
  // Default: GetStartMethod(), when the object is made.
  std::optional<StartMethod> start_method = {};
  // Default: kKill for a daemon, else kWait.
  std::optional<OnParentExit> on_parent_exit = {};
  // For kSpawn: the file to be started, a copy of this program. Default: the program itself.
  std::string executable = {};
};

class Process {
 public:
  // No process, as one that was moved from.
  Process();
  template <class F, class... A>
  requires Target<F, A...>
  explicit Process(F&& f, A&&... args)
      : Process(ProcessOptions(),
                internal::StoreTarget(std::forward<F>(f), std::forward<A>(args)...)) {}
  template <class F, class... A>
  requires Target<F, A...> Process(ProcessOptions options, F&& f, A&&... args)
      : Process(std::move(options),
                internal::StoreTarget(std::forward<F>(f), std::forward<A>(args)...)) {}

  // A child that runs goes on, and is joined when this process ends.
  ~Process();
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;

  // Once, by the process that made the object, which is no daemon. Then this process's copy
  // of the target and its arguments is destroyed; the child's, when the target returns.
  // kResourceExhausted: no memory, descriptors or processes; it may be tried again.
  // kInvalidArgument: options that contradict one another; and, not by fork, what cannot be
  // sent to the child, which it names. By the fork server also kCancelled: this thread was
  // (cancellation.h), there is no child, and it may be tried again; and kUnavailable: the server
  // was killed, or its preload failed, three times.
  absl::Status Start();

  // Waits until the child has ended, or this thread is cancelled (cancellation.h): then IsAlive()
  // tells which it was.
  void Join() const;
  // False: it still runs.
  [[nodiscard]] bool Join(absl::Duration timeout) const;

  // False before Start().
  bool IsAlive() const;
  // 0 before Start().
  pid_t pid() const;
  // Nothing before Start() and while it runs. 255: somebody else took the status, by
  // waiting for any child, or by ignoring SIGCHLD.
  std::optional<int> exitcode() const;
  const std::string& name() const;
  bool daemon() const;
  // A descriptor (a pidfd) that becomes readable when the child has ended. Valid as long as
  // this object; to wait for with poll(), not to be closed.
  int sentinel() const;

  // SIGTERM, SIGKILL, SIGINT to the child, not to its children. Nothing when it has ended.
  void Terminate() const;
  void Kill() const;
  void Interrupt() const;

  // Gives the descriptor back; only name() and daemon() are left. May be called again.
  // kFailedPrecondition: the child still runs, or is another process's.
  absl::Status Close();

 private:
  struct State;

  Process(ProcessOptions options, std::unique_ptr<internal::StoredTarget> target);

  internal::Child* Any(const char* call) const;
  internal::Child& Started(const char* call) const;
  internal::Child& Own(const char* call) const;

  std::unique_ptr<State> state_;  // null: no process
};

}  // namespace mp

#endif  // MP_MP_PROCESS_H_
