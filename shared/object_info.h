// ObjectInfo: what the directory of a domain (ListObjects() in inspect.h) tells of one
// shared object. A value: what was so when it was read.

#ifndef MP_SHARED_OBJECT_INFO_H_
#define MP_SHARED_OBJECT_INFO_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace mp {

struct ObjectInfo {
  std::string type;       // "Lock"
  std::string name;       // its first 255 bytes; "": it has none
  uintptr_t address = 0;  // of its cell: the same in all processes of the family
  pid_t maker_pid = 0;    // of the process that made it; 0: that one is gone
  uint64_t maker = 0;     // the id of that process, which no other one ever has
  size_t bytes = 0;       // of its cell and of all blocks that it owns, as rounded up
  uint64_t handles = 0;   // those of its maker, which keep it alive
};

}  // namespace mp

#endif  // MP_SHARED_OBJECT_INFO_H_
