// Children: the processes that this one started and has not yet reaped.
//
// Whatever asks how a child ended goes through its one ExitCode(), so any number of
// threads may; the first one to find it ended reaps it, and it leaves the list.

#ifndef MP_MP_INTERNAL_CHILDREN_H_
#define MP_MP_INTERNAL_CHILDREN_H_

#include <sys/types.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/self.h"
#include "mp/internal/sentinel.h"
#include "mp/on_parent_exit.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

class Child {
 public:
  // The exit code of a child whose status somebody else took: the program called wait()
  // for any child, or ignores SIGCHLD; or nobody: its fork server was killed.
  static constexpr int kStatusTaken = 255;

  // What it is, beside its own.
  struct Traits {
    std::string name;
    bool daemon = false;
    OnParentExit on_parent_exit = OnParentExit::kWait;
  };

  static Traits TraitsOf(const Self& self) {
    return {.name = self.name, .daemon = self.daemon, .on_parent_exit = self.on_parent_exit};
  }

  // `exit_code` where it is known that the child has ended.
  Child(pid_t pid, ProcessId id, Traits traits, Sentinel sentinel,
        std::optional<int> exit_code = std::nullopt)
      : pid_(pid),
        id_(id),
        traits_(std::move(traits)),
        sentinel_(std::move(sentinel)),
        exit_code_(exit_code) {}
  // One that is the fork server's child, which tells how it has ended through `server`.
  Child(pid_t pid, ProcessId id, Traits traits, Sentinel sentinel, Descriptor server)
      : pid_(pid),
        id_(id),
        traits_(std::move(traits)),
        sentinel_(std::move(sentinel)),
        server_(std::move(server)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& name() const { return traits_.name; }
  bool daemon() const { return traits_.daemon; }
  OnParentExit on_parent_exit() const { return traits_.on_parent_exit; }
  const Sentinel& sentinel() const { return sentinel_; }

  // Nothing while it runs; the signal's number, negative, when one ended it.
  std::optional<int> ExitCode();
  // False: it still runs; also when the thread is cancelled (shared/internal/cancel_scope.h).
  [[nodiscard]] bool Join(absl::Duration timeout);
  // Cancelled or not.
  void JoinToTheEnd();
  // Gives back what a child left in the domain that is known to have ended; 0: it had no slot.
  static void Bury(ProcessId id);
  // Nothing happens when it has ended, or may not be signalled (it became another user).
  void Signal(int signal);

 private:
  std::optional<int> ReapLocked();
  void AwaitTold(const timespec& deadline) const;

  const pid_t pid_;
  const ProcessId id_;
  const Traits traits_;
  const Sentinel sentinel_;
  const Descriptor server_;  // none: it is this process's own child
  std::mutex mutex_;
  std::optional<int> exit_code_;  // under mutex_; once set, constant
};

// Makes this process ready to have children: at its exit it will end them, as EndChildren()
// does. At most once in a process; to be called before the fork.
void PrepareForChildren();

void AddChild(std::shared_ptr<Child> child);

// In the order of their start. Reaps those that have ended.
std::vector<std::shared_ptr<Child>> LiveChildren();

// Reaps those that have ended and to which nobody but this list refers.
void ReapAbandonedChildren();

// What a process does about its children when it ends: what is to end with it gets SIGTERM, and
// all are joined, but for those that are detached.
void EndChildren();
// The same when it has been told to end: all get SIGTERM, but for those.
void TerminateChildren();

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CHILDREN_H_
