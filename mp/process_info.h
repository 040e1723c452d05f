// ProcessInfo: a process that is not necessarily a child: this one, its parent, and the
// children that run.
//
//   std::printf("%s, child of pid %d\n", mp::CurrentProcess().name().c_str(),
//               mp::ParentProcess() ? mp::ParentProcess()->pid() : 0);
//
// A value: what it says stays true of the process it was made of, also when that one's pid
// has come to be another's. It tells whether the process has ended, not how.
//
// Ordering: who learns from IsAlive() or Join() that it has ended sees in shared memory what
//           it did.
// Threads:  all of it from any number at once.
// Death:    IsAlive() and Join() notice the end of the process, whatever ended it.
// Fork:     a copy in a child tells of the same process; but what CurrentProcess()
//           returned only tells pid(), name() and daemon() there.
// Misuse:   a process that waits for itself, or asks for its own sentinel, ends with one
//           line; so does one that asks with another's CurrentProcess().
// Cost:     a string, and no descriptor of its own: it shares the Process's, or the one that
//           this process has of its parent, and keeps it open, also after Process::Close().

#ifndef MP_MP_PROCESS_INFO_H_
#define MP_MP_PROCESS_INFO_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "mp/internal/who.h"

namespace mp {

class ProcessInfo {
 public:
  explicit ProcessInfo(internal::Who who) : who_(std::move(who)) {}

  pid_t pid() const { return who_.pid; }
  const std::string& name() const { return who_.name; }
  bool daemon() const { return who_.daemon; }

  bool IsAlive() const;
  // False: it still runs. Zero or less asks once.
  [[nodiscard]] bool Join(absl::Duration timeout) const;
  // A descriptor that becomes readable when it has ended, valid as long as a copy of this.
  int sentinel() const;

 private:
  internal::Who who_;
};

// "MainProcess" is the name of one that no Process started.
ProcessInfo CurrentProcess();

// Nothing in the main process.
std::optional<ProcessInfo> ParentProcess();

// The children of this process that run, in the order of their start. Reaps the others.
std::vector<ProcessInfo> ActiveChildren();

// Every process of the family that runs, this one included: children of children too, and
// those that fork(2) made without a Process, which are called as what they are a copy of.
// Names are cut after 55 bytes. Empty where there is no domain yet; one that cannot be
// looked at, for lack of descriptors, is left out.
std::vector<ProcessInfo> AllProcesses();

}  // namespace mp

#endif  // MP_MP_PROCESS_INFO_H_
