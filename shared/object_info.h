// ObjectInfo: what the directory of a domain (ListObjects() in inspect.h) tells of one
// shared object. A value: what was so when it was read.

#ifndef MP_SHARED_OBJECT_INFO_H_
#define MP_SHARED_OBJECT_INFO_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mp {

struct ObjectInfo {
  std::string type;       // "Lock"
  std::string name;       // its first 255 bytes; "": it has none
  uintptr_t address = 0;  // of its cell: the same in all processes of the family
  pid_t maker_pid = 0;    // of the process that made it; 0: that one is gone
  uint64_t maker = 0;     // the id of that process, which no other one ever has
  size_t bytes = 0;       // of its cell and of all blocks that it owns, as rounded up
  uint64_t stakes = 0;    // what keeps it alive: handles in the domain, and one if the maker has
                          // handles of its own; 0: it waits for heirs, or its end
  uint64_t handles = 0;   // those of its maker's own

  // Who has handles of its own, but those that were inherited: pids.
  std::vector<pid_t> holders = {};
  // Of a lock: the thread that has acquired it, by its id; 0: none.
  pid_t acquired_by = 0;
  // Threads that sleep until it changes, by their ids. That of a process's first thread is its pid.
  std::vector<pid_t> sleepers = {};
};

}  // namespace mp

#endif  // MP_SHARED_OBJECT_INFO_H_
