#include "shared/internal/domain_of.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace mp::internal {
namespace {

// How the kernel shows what memfd_create("mp-domain") made.
constexpr std::string_view kFileName = "/memfd:mp-domain (deleted)";

struct Mapped {
  std::string range;  // "550000000000-560000000000"
  uint64_t inode;
};

absl::Status Refused(pid_t pid, int error) {
  if (error == EACCES || error == EPERM) {
    return absl::PermissionDeniedError(
        absl::StrCat("pid ", pid, ": not permitted: another user's process, or a protected one"));
  }
  if (kill(pid, 0) != 0 && errno == ESRCH) {
    return absl::NotFoundError(absl::StrCat("pid ", pid, ": no such process"));
  }
  return absl::NotFoundError(
      absl::StrCat("pid ", pid, ": cannot be looked at: ", std::strerror(error)));
}

// The domain that `pid` maps.
absl::StatusOr<Mapped> FindMapped(pid_t pid) {
  errno = 0;
  std::ifstream maps(absl::StrCat("/proc/", pid, "/maps"));
  if (!maps) return Refused(pid, errno);
  // `550000000000-560000000000 rw-s 00000000 00:01 1030    /memfd:mp-domain (deleted)`
  for (std::string line; std::getline(maps, line);) {
    if (!absl::EndsWith(line, kFileName)) continue;
    const std::vector<std::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    constexpr size_t kInode = 4;
    uint64_t inode = 0;
    if (fields.size() <= kInode + 1 || !absl::StartsWith(fields[kInode + 1], "/memfd:") ||
        !absl::SimpleAtoi(fields[kInode], &inode)) {
      continue;
    }
    return Mapped{std::string(fields[0]), inode};
  }
  return absl::NotFoundError(
      absl::StrCat("pid ", pid,
                   ": has no domain of mp: it is none of its programs, has not "
                   "yet made a shared object, or has ended"));
}

// A descriptor of the file at `path` of /proc, if it is the one with that inode.
std::optional<int> OpenIf(const std::string& path, uint64_t inode) {
  // Not opened before: to open a pipe or a device would be felt by the process.
  struct stat file;
  if (stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode) || file.st_ino != inode) {
    return std::nullopt;
  }
  char name[kFileName.size() + 1];
  const ssize_t length = readlink(path.c_str(), name, sizeof(name));
  if (length < 0 || std::string_view(name, static_cast<size_t>(length)) != kFileName) {
    return std::nullopt;
  }
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  if (fstat(fd, &file) == 0 && file.st_ino == inode) return fd;
  close(fd);
  return std::nullopt;
}

}  // namespace

absl::StatusOr<int> OpenDomainOf(pid_t pid) {
  const absl::StatusOr<Mapped> mapped = FindMapped(pid);
  if (!mapped.ok()) return mapped.status();
  const std::string folder = absl::StrCat("/proc/", pid, "/fd/");
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), &closedir);
  if (entries == nullptr) return Refused(pid, errno);
  while (const dirent* entry = readdir(entries.get())) {
    if (const auto fd = OpenIf(folder + entry->d_name, mapped->inode); fd.has_value()) return *fd;
  }
  const auto fd = OpenIf(absl::StrCat("/proc/", pid, "/map_files/", mapped->range), mapped->inode);
  if (fd.has_value()) return *fd;
  return absl::PermissionDeniedError(
      absl::StrCat("pid ", pid,
                   ": has closed the descriptor of its domain, and what it maps may be opened only "
                   "by root; name another process of the family"));
}

}  // namespace mp::internal
