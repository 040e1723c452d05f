// SignalHandlers: handlers of signals that run as ordinary code. They may lock, allocate, throw and
// use all of this library: a signal makes a descriptor readable, and its handler is run by the
// thread that the program has wait for that. Python's signal module.
//
//   mp::SignalHandlers signals;
//   bool stop = false;
//   mp::OrDie(signals.Handle(SIGTERM, [&](int) { stop = true; }));
//   while (!stop) {
//     const std::vector<size_t> ready = mp::OrDie(mp::Wait({jobs, signals}));
//     if (ready.back() == 1) signals.RunPending();
//     ...
//   }
//
// Or with a thread of its own: signals.Start(). A handler that ends the waits of other threads does
// so with a Cancellation (mp/cancellation.h).
//
// How: a handler of sigaction(2) notes which signal it was, and writes to an eventfd. Not a
// signalfd(2): that needs the signal to be blocked in every thread, also in those that a library
// starts, and in no process that is started. Whoever reads an inherited one reads its own signals.
//
// What is run: the handler, once for each signal that came since it was last run, lower numbers
// first. A signal that comes again before that is the same one, as it is for the kernel.
//
// Not to be handled: SIGKILL and SIGSTOP, and what says that a thread cannot go on: SIGSEGV,
// SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS.
//
// Fork:    in a child what Handle() has changed is as it was before, from its first instruction on,
//          or as SignalOptions have it: so Process::Terminate() ends a child. The object is inert
//          there; the child makes one of its own. One that is no fork (start_method.h), and a
//          program that is executed, start with the default, not with what was before; no signal is
//          blocked there, for none is here.
// Terminal: Ctrl-C sends SIGINT to the parent and its children. Without handlers each of them dies
//          by it, and the shell is told so. A service that is to end its children itself has them
//          ignore it: InChildren::kIgnore. One that only has something to do before it ends calls
//          EndBySignal() last.
// Threads: from any number. The signal is to be unblocked in one at least. A handler is run by who
//          calls Run() or RunPending(), by one thread for each signal that came. Of different
//          signals two threads may run two at once.
// Calls:   of the system are restarted (SA_RESTART), where the kernel does that.
// Lifetime: at its end the signals do what they did before. What came and was not run is dropped.
//          Not within a handler. One that was moved from is inert, as a child's.
// Cost:    a descriptor, which is kept for the next one. A signal costs three system calls.

#ifndef MP_MP_SIGNALS_H_
#define MP_MP_SIGNALS_H_

#include <sys/types.h>

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mp {

// What a signal that is handled does in children.
enum class InChildren {
  kAsBefore,  // as before Handle(): to end them, mostly
  kDefault,   // SIG_DFL
  kIgnore,    // SIG_IGN, however they are started; also in a program that they execute
};

struct SignalOptions {
  InChildren in_children = InChildren::kAsBefore;
};

class SignalHandlers {
 public:
  using Handler = std::function<void(int signal)>;

  // Ends the process, with a line that says why, where Create() would fail.
  SignalHandlers();
  // kResourceExhausted: no descriptors.
  static absl::StatusOr<SignalHandlers> Create();
  ~SignalHandlers();
  SignalHandlers(SignalHandlers&& other) noexcept;
  SignalHandlers& operator=(SignalHandlers&& other) noexcept;

  // From now on; in the place of the one that it has for the signal. kInvalidArgument: not a signal
  // that can be handled. kAlreadyExists: another SignalHandlers has it. kFailedPrecondition: it was
  // made in another process.
  absl::Status Handle(int signal, Handler handler, const SignalOptions& options = {}) const;
  // It does what it did before. kNotFound: it is not handled here.
  absl::Status Restore(int signal) const;

  // Readable while there is something to run. Negative: it was made in another process.
  int fileno() const;
  // Runs what there is, without waiting; how many handlers. What one throws is passed on, and the
  // rest is still there.
  int RunPending() const;
  // Waits until there is something, and runs it. Zero or less looks once. kDeadlineExceeded:
  // nothing came in time. kCancelled: see mp/cancellation.h. kFailedPrecondition: it was made in
  // another process.
  absl::Status Run(absl::Duration timeout = absl::InfiniteDuration()) const;
  // Has a thread of its own run them from now on, until the end of this object, which waits for the
  // handler that is being run. That may not throw. kResourceExhausted: no threads.
  absl::Status Start() const;

 private:
  class Own;

  explicit SignalHandlers(std::unique_ptr<Own> own);

  std::unique_ptr<Own> own_;
};

// Sends a signal to a process; 0: only asks whether it is there. kNotFound: it is not.
// kPermissionDenied. kInvalidArgument: not a signal, or not the pid of one process: of a Process
// use what that has, which cannot come to mean another one.
absl::Status Kill(pid_t pid, int signal);

// Ends this process as the signal does when nobody handles it, so that a shell sees that; but first
// its children, with SIGTERM, and waits for them, but for those of OnParentExit::kDetach. What is
// buffered for output streams is written.
// Nothing that is registered to run at exit does. The same signal once more ends it at once. For a
// handler of SignalHandlers, as the last thing that it does.
[[noreturn]] void EndBySignal(int signal);

}  // namespace mp

#endif  // MP_MP_SIGNALS_H_
