// Inspect: what is in the domain, and whether it is whole. For tests, tools and logs.
//
//   std::cerr << mp::Stats().ToString();
//   EXPECT_THAT(mp::Check(), IsOk());
//
// Both look at every block, and hold up others that allocate or free meanwhile. A process
// without a domain has an empty one.

#ifndef MP_SHARED_INSPECT_H_
#define MP_SHARED_INSPECT_H_

#include <cstddef>
#include <map>
#include <string>

#include "absl/status/status.h"

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

// The header, the heap and the owners of all blocks; names the first broken invariant.
absl::Status Check();

}  // namespace mp

#endif  // MP_SHARED_INSPECT_H_
