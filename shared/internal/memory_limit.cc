#include "shared/internal/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "shared/internal/cgroup.h"

namespace mp::internal {

uint64_t MachineMemory() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::optional<uint64_t> CgroupMemoryLimit(const std::string& root) {
  std::optional<uint64_t> least;
  for (const CgroupFolder& folder : CgroupFolders("memory", root)) {
    const std::optional<std::string> text =
        FirstLine(absl::StrCat(folder.path, folder.v2 ? "/memory.max" : "/memory.limit_in_bytes"));
    uint64_t limit = 0;
    // "max", or a number; v1 says "none" by a number near 2^63.
    constexpr uint64_t kNoLimit = uint64_t{1} << 62;
    if (!text.has_value() || !absl::SimpleAtoi(*text, &limit) || limit >= kNoLimit) continue;
    least = std::min(limit, least.value_or(limit));
  }
  return least;
}

}  // namespace mp::internal
