// How many processors there are, and how many of them are for this process.
//
//   const int workers = mp::UsableCpuCount();
//
// Threads:  from any number at once; nothing is kept, each call asks anew.
// Errors:   none: what cannot be read limits nothing.
// Cost:     system calls; UsableCpuCount() reads files of /proc and of the cgroups. Ask
//           once, not in a loop.

#ifndef MP_MP_CPU_COUNT_H_
#define MP_MP_CPU_COUNT_H_

#include <string>

namespace mp {

// The processors of the machine that are switched on; at least 1.
int CpuCount();

// How many processes can run here at once: the processors that this process may use, and no
// more than the quota of its cgroups (v1 and v2) pays for, rounded up. At least 1. What a
// pool takes where it is not told a number.
int UsableCpuCount();

namespace internal {

// `root` stands before the paths of cgroup files: tests put a tree of their own there.
int UsableCpuCount(int allowed, const std::string& root);

}  // namespace internal
}  // namespace mp

#endif  // MP_MP_CPU_COUNT_H_
