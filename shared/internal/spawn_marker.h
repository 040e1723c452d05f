// SpawnMarker: what tells a program that begins that it was spawned as a member of a family: a
// variable of its environment.
//
//   std::string variable = SpawnMarker{fd, id, payload, family}.ToVariable();   // for its envp
//   std::optional<SpawnMarker> marker = SpawnMarker::FromEnvironment();         // in the child
//
// It may be stale: a program in between that is none of ours hands its environment on. So it says
// which process it is for, by its pid and a time at which it ran, which the child writes down
// itself, before it is another program; to all others it says nothing, also to one that has the
// same pid later.

#ifndef MP_SHARED_INTERNAL_SPAWN_MARKER_H_
#define MP_SHARED_INTERNAL_SPAWN_MARKER_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shared/internal/process_table.h"

namespace mp::internal {

struct SpawnMarker {
  int fd;            // the domain's
  ProcessId id;      // the slot that is the process's
  uint64_t payload;  // the address of what it is to do, in the domain
  uint64_t family;   // as the domain's header has it

  // "NAME=value". SetProcess() completes it, which is async-signal-safe; `now` is of
  // CLOCK_BOOTTIME, in nanoseconds.
  std::string ToVariable() const;
  static void SetProcess(char* variable, pid_t pid, uint64_t now);
  // Whether an entry of an environment is one.
  static bool IsVariable(std::string_view entry);

  // Nothing: there is none that is for this process, or it is none that a process has written.
  static std::optional<SpawnMarker> FromEnvironment();
  static void RemoveFromEnvironment();
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_SPAWN_MARKER_H_
