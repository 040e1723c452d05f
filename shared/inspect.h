// Inspect: what is in the domain, and whether it is whole. For tests, tools and logs.
//
//   std::cerr << mp::Stats().ToString();
//   EXPECT_THAT(mp::Check(), IsOk());
//   for (const mp::ObjectInfo& object : mp::ListObjects()) std::cerr << object.name << '\n';
//
// From outside, without a change to the program: bazel run //mp:mpls -- PID.
//
// A process without a domain has an empty one, and does not make one by asking.
//
// Ordering: none: what others do meanwhile is in it or not. The numbers need not add up
//           then; Check() finds nothing wrong with it.
// Threads:  from any number, and any process, at once.
// Death:    a process that is killed in here holds nobody up.
// Signals:  not in a signal handler.
// Errors:   Check() returns kInternal, which names the first broken invariant; after that no
//           object of the domain is to be relied on.
// Cost:     a look at every block. Check() and Stats() hold up others that allocate or free;
//           ListObjects() takes no lock and holds up nobody.

#ifndef MP_SHARED_INSPECT_H_
#define MP_SHARED_INSPECT_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "shared/object_info.h"  // IWYU pragma: export

namespace mp {

struct DomainStats {
  // Objects and the blocks that they own, or blocks of others.
  struct Usage {
    size_t count = 0;  // objects of a type; blocks of others
    size_t bytes = 0;  // with all blocks that are theirs
  };

  size_t reserved = 0;      // bytes of address space
  size_t committed = 0;     // bytes of memory taken from the kernel, at most
  size_t commit_limit = 0;  // bytes that `committed` may reach
  size_t in_use = 0;        // bytes of blocks in use, as rounded up
  // By name of the type ("Lock"); "process" and "message" are blocks that no object owns.
  std::map<std::string, Usage> by_type;

  std::string ToString() const;
};

DomainStats Stats();

// The header, the heap and the owners of all blocks.
absl::Status Check();

// The directory: the objects of all processes, in order of address. One that is there all
// the time is in it, whatever others do meanwhile. Does not wait for a lock, so it also
// answers when everybody hangs.
std::vector<ObjectInfo> ListObjects();

}  // namespace mp

#endif  // MP_SHARED_INSPECT_H_
