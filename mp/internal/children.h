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
#include "mp/internal/sentinel.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

class Child {
 public:
  // The exit code of a child whose status somebody else took: the program called wait()
  // for any child, or ignores SIGCHLD.
  static constexpr int kStatusTaken = 255;

  // `exit_code` where it is known that the child has ended.
  Child(pid_t pid, ProcessId id, std::string name, bool daemon, Sentinel sentinel,
        std::optional<int> exit_code)
      : pid_(pid),
        id_(id),
        name_(std::move(name)),
        daemon_(daemon),
        sentinel_(std::move(sentinel)),
        exit_code_(exit_code) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& name() const { return name_; }
  bool daemon() const { return daemon_; }
  const Sentinel& sentinel() const { return sentinel_; }

  // Nothing while it runs; the signal's number, negative, when one ended it.
  std::optional<int> ExitCode();
  // False: it still runs.
  [[nodiscard]] bool Join(absl::Duration timeout);
  // Gives back what a child left in the domain that is known to have ended; 0: it had no slot.
  static void Bury(ProcessId id);
  // Nothing happens when it has ended, or may not be signalled (it became another user).
  void Signal(int signal);

 private:
  const pid_t pid_;
  const ProcessId id_;
  const std::string name_;
  const bool daemon_;
  const Sentinel sentinel_;
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

// What a process does about its children when it ends: daemons get SIGTERM, and all are
// joined.
void EndChildren();

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CHILDREN_H_
