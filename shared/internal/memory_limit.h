// MemoryLimit: how much memory the processes of this machine or container may use.
//
// Past a memory cgroup's limit an allocation does not fail: the kernel kills. So a
// domain has to know the limit and stay below it.

#ifndef MP_SHARED_INTERNAL_MEMORY_LIMIT_H_
#define MP_SHARED_INTERNAL_MEMORY_LIMIT_H_

#include <cstdint>
#include <optional>
#include <string>

namespace mp::internal {

// Bytes of memory of this machine.
uint64_t MachineMemory();

// The least limit, in bytes, of the memory cgroups (v1 and v2) that this process is in;
// nothing where there is none. `root` stands before every path that is read: tests put
// a tree of their own there.
std::optional<uint64_t> CgroupMemoryLimit(const std::string& root = "");

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_MEMORY_LIMIT_H_
