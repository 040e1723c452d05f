#include "shared/internal/cgroup.h"

#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace mp::internal {
namespace {

// Where a hierarchy of cgroups is mounted, and what part of it.
struct Mount {
  std::string point;
  std::string part;  // the cgroup that the mount point shows
};

bool HasController(std::string_view list, std::string_view controller) {
  for (const std::string_view item : absl::StrSplit(list, ',')) {
    if (item == controller) return true;
  }
  return false;
}

// Of the v2 hierarchy, or of the v1 hierarchy of the controller.
std::optional<Mount> FindMount(const std::string& root, bool v2, std::string_view controller) {
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // "30 23 0:26 PART POINT options ... - TYPE source super-options"
    const std::vector<std::string> sides = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (sides.size() != 2) continue;
    const std::vector<std::string> left = absl::StrSplit(sides[0], ' ');
    const std::vector<std::string> right = absl::StrSplit(sides[1], ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    const bool wanted =
        v2 ? right[0] == "cgroup2" : right[0] == "cgroup" && HasController(right[2], controller);
    if (wanted) return Mount{left[4], left[3]};
  }
  return std::nullopt;
}

// The cgroup at `path` and those above it.
void AppendFolders(const std::string& root, const Mount& mount, std::string path, bool v2,
                   std::vector<CgroupFolder>& folders) {
  // A process outside the part that is mounted (a container's view) sees the top of it.
  if (mount.part != "/") {
    const bool inside = path == mount.part || absl::StartsWith(path, mount.part + "/");
    path = inside ? path.substr(mount.part.size()) : "";
  }
  for (;;) {
    if (path == "/") path.clear();
    folders.push_back({absl::StrCat(root, mount.point, path), v2});
    if (path.empty()) return;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

}  // namespace

std::vector<CgroupFolder> CgroupFolders(std::string_view controller, const std::string& root) {
  std::vector<CgroupFolder> folders;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    // "4:memory:/path" in v1, "0::/path" in v2
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const bool v2 = fields[0] == "0" && fields[1].empty();
    if (!v2 && !HasController(fields[1], controller)) continue;
    const std::optional<Mount> mount = FindMount(root, v2, controller);
    if (mount.has_value()) AppendFolders(root, *mount, fields[2], v2, folders);
  }
  return folders;
}

std::optional<std::string> FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

}  // namespace mp::internal
