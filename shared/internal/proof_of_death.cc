#include "shared/internal/proof_of_death.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace mp::internal {
namespace {

enum class Answer { kYes, kNo, kUnknown };

// Fields of /proc/.../stat, counted from 1 as in proc(5).
constexpr int kFlagsField = 9;
constexpr int kStartField = 22;
constexpr uint64_t kExiting = 4;  // PF_EXITING

std::optional<uint64_t> StatField(const std::string& path, int field) {
  std::ifstream file(path);
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  // Before it comes the name, which may hold anything.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  const std::string_view rest = std::string_view{text}.substr(name_end + 1);
  const std::vector<std::string_view> fields = absl::StrSplit(rest, ' ', absl::SkipEmpty());
  const auto index = static_cast<size_t>(field - 3);
  uint64_t value = 0;
  if (index >= fields.size() || !absl::SimpleAtoi(fields[index], &value)) return std::nullopt;
  return value;
}

std::optional<std::set<pid_t>> NumbersIn(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), &closedir);
  if (entries == nullptr) return std::nullopt;
  std::set<pid_t> numbers;
  while (const dirent* entry = readdir(entries.get())) {
    pid_t number = 0;
    if (absl::SimpleAtoi(entry->d_name, &number)) numbers.insert(number);
  }
  return numbers;
}

Answer HasEnded(pid_t pid) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) {
    // EINVAL, and ENOENT on newer kernels: it is the id of another process's thread now.
    if (errno == ESRCH || errno == EINVAL || errno == ENOENT) return Answer::kYes;
    return kill(pid, 0) != 0 && errno == ESRCH ? Answer::kYes : Answer::kUnknown;
  }
  pollfd ended = {.fd = fd, .events = POLLIN, .revents = 0};
  const Answer answer = poll(&ended, 1, 0) == 1 ? Answer::kYes : Answer::kNo;
  close(fd);
  return answer;
}

// The kernel tells it in ticks of 10 ms.
uint64_t Ticks(uint64_t nanoseconds) {
  return nanoseconds / (1'000'000'000 / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)));
}

std::optional<uint64_t> StartOf(pid_t pid) {
  return StatField(absl::StrCat("/proc/", pid, "/stat"), kStartField);
}

bool AllTasksExit(pid_t pid) {
  const std::string folder = absl::StrCat("/proc/", pid, "/task");
  const auto tasks = NumbersIn(folder);
  if (!tasks.has_value() || tasks->empty()) return false;
  for (const pid_t task : *tasks) {
    const auto flags = StatField(absl::StrCat(folder, "/", task, "/stat"), kFlagsField);
    if (!flags.has_value() || (*flags & kExiting) == 0) return false;
  }
  // One that was seen to exit may have made another before.
  return NumbersIn(folder) == tasks;
}

// Whether a list of maps, in order of addresses, has the domain at its place:
//   550000000000-560000000000 rw-s 00000000 00:01 1030 /memfd:mp-domain (deleted)
Answer IsIn(std::ifstream& maps, const DomainHeader& domain) {
  for (std::string line; std::getline(maps, line);) {
    uint64_t begin = 0;
    const auto end = std::from_chars(line.data(), line.data() + line.size(), begin, 16);
    if (end.ec != std::errc()) return Answer::kUnknown;
    if (begin < domain.base) continue;
    if (begin > domain.base) return Answer::kNo;
    const std::vector<std::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    constexpr size_t kInode = 4;
    uint64_t inode = 0;
    const bool same =
        fields.size() > kInode && absl::SimpleAtoi(fields[kInode], &inode) && inode == domain.inode;
    return same ? Answer::kYes : Answer::kNo;
  }
  return maps.bad() ? Answer::kUnknown : Answer::kNo;
}

// Whether /proc tells of the processes that this one knows by these ids. Elsewhere, as in another
// root or with that of another PID namespace, its silence says nothing, and its words are of
// others.
bool ProcIsOurs() {
  char text[16];
  const ssize_t length = readlink("/proc/self", text, sizeof(text));
  pid_t pid = 0;
  return length > 0 &&
         absl::SimpleAtoi(std::string_view(text, static_cast<size_t>(length)), &pid) &&
         pid == getpid();
}

// Whether `pid` maps the domain. A task that has ended shows no maps, the main one, too,
// when others run: so each is asked.
Answer Maps(pid_t pid, const DomainHeader& domain) {
  const std::string folder = absl::StrCat("/proc/", pid, "/task");
  errno = 0;
  const auto tasks = NumbersIn(folder);
  // It is not there, or it is not shown: who asks knows otherwise whether it has ended.
  if (!tasks.has_value()) return Answer::kUnknown;
  auto is_gone = [] { return errno == ENOENT || errno == ESRCH; };
  for (const pid_t task : *tasks) {
    errno = 0;
    std::ifstream maps(absl::StrCat(folder, "/", task, "/maps"));
    const Answer answer = maps ? IsIn(maps, domain) : is_gone() ? Answer::kNo : Answer::kUnknown;
    if (answer != Answer::kNo) return answer;
  }
  // One that has ended since may have made another before.
  return NumbersIn(folder) == tasks ? Answer::kNo : Answer::kUnknown;
}

}  // namespace

bool IsDead(pid_t pid, uint64_t started, const DomainHeader& domain, Evidence evidence) {
  const Answer ended = HasEnded(pid);
  if (ended == Answer::kYes) return true;
  if (evidence == Evidence::kQuick || !ProcIsOurs()) return false;
  const std::optional<uint64_t> start = StartOf(pid);
  if (start.has_value() && *start > Ticks(started)) return true;
  if (AllTasksExit(pid)) return true;
  return evidence == Evidence::kThorough && Maps(pid, domain) == Answer::kNo;
}

bool StartedLaterThan(uint64_t time) {
  if (!ProcIsOurs()) return false;
  const std::optional<uint64_t> start = StartOf(getpid());
  return start.has_value() && *start > Ticks(time);
}

bool CanProveDeaths() {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  if (fd >= 0) close(fd);
  return fd >= 0 || (errno != EMFILE && errno != ENFILE);
}

bool AnyUnknownMaps(const DomainHeader& domain, uint64_t since,
                    absl::FunctionRef<bool(pid_t)> is_known) {
  const auto processes = NumbersIn("/proc");
  if (!processes.has_value() || !ProcIsOurs()) return true;
  for (const pid_t pid : *processes) {
    if (is_known(pid)) continue;
    const std::optional<uint64_t> start = StartOf(pid);
    if (start.has_value() && *start < Ticks(since)) continue;
    if (Maps(pid, domain) != Answer::kNo && HasEnded(pid) != Answer::kYes) return true;
  }
  return false;
}

}  // namespace mp::internal
