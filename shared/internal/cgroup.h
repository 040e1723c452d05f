// Cgroup: the control groups that this process is in, v1 and v2.

#ifndef MP_SHARED_INTERNAL_CGROUP_H_
#define MP_SHARED_INTERNAL_CGROUP_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mp::internal {

struct CgroupFolder {
  std::string path;
  bool v2;
};

// Where the files of `controller` ("memory", "cpu") are: the process's own group, then the
// ones above it, as far as they are mounted. Both versions can be there; in v2 whether or
// not the controller is turned on. `root` stands before every path that is read: tests put
// a tree of their own there.
std::vector<CgroupFolder> CgroupFolders(std::string_view controller, const std::string& root);

// Nothing where there is no such file.
std::optional<std::string> FirstLine(const std::string& path);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_CGROUP_H_
