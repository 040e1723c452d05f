#include "mp/cpu_count.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "shared/internal/cgroup.h"

namespace mp {
namespace {

// Processors that this process may run on.
int AllowedCpuCount() {
  // The kernel refuses a set with less room than it has processors.
  for (int room = CPU_SETSIZE; room <= 1 << 20; room *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(
        CPU_ALLOC(room), [](cpu_set_t* allocated) { CPU_FREE(allocated); });
    const size_t size = CPU_ALLOC_SIZE(room);
    if (sched_getaffinity(0, size, set.get()) == 0) return CPU_COUNT_S(size, set.get());
    if (errno != EINVAL) break;
  }
  return CpuCount();
}

// Microseconds of processor time in a period, by the files of one cgroup.
struct Quota {
  int64_t time = 0;
  int64_t period = 0;
};

std::optional<Quota> ReadQuota(const internal::CgroupFolder& folder) {
  // v2 has one line, "200000 100000" or "max 100000"; v1 two files, with -1 for "max".
  std::string line;
  if (folder.v2) {
    line = internal::FirstLine(folder.path + "/cpu.max").value_or("");
  } else {
    line = absl::StrCat(internal::FirstLine(folder.path + "/cpu.cfs_quota_us").value_or(""), " ",
                        internal::FirstLine(folder.path + "/cpu.cfs_period_us").value_or(""));
  }
  const std::vector<std::string_view> words = absl::StrSplit(line, ' ');
  Quota quota;
  if (words.size() != 2 || !absl::SimpleAtoi(words[0], &quota.time) ||
      !absl::SimpleAtoi(words[1], &quota.period) || quota.time <= 0 || quota.period <= 0) {
    return std::nullopt;
  }
  return quota;
}

}  // namespace

int CpuCount() { return static_cast<int>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L)); }

int UsableCpuCount() { return internal::UsableCpuCount(AllowedCpuCount(), ""); }

int internal::UsableCpuCount(int allowed, const std::string& root) {
  int64_t usable = allowed;
  for (const CgroupFolder& folder : CgroupFolders("cpu", root)) {
    if (const std::optional<Quota> quota = ReadQuota(folder); quota.has_value()) {
      usable = std::min(usable, (quota->time - 1) / quota->period + 1);  // rounded up
    }
  }
  return static_cast<int>(std::max(usable, int64_t{1}));
}

}  // namespace mp
