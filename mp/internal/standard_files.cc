#include "mp/internal/standard_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/os_pipe.h"

namespace mp::internal {
namespace {

constexpr char kNullDevice[] = "/dev/null";
constexpr mode_t kForAll = 0666;  // but for the umask

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) != -1; }

absl::Status NotOpen(std::string_view name, int fd) {
  const std::string message =
      absl::StrCat(name, ": descriptor ", fd, " is not open in this process");
  return fd < 0 ? absl::InvalidArgumentError(message) : absl::FailedPreconditionError(message);
}

absl::StatusOr<Fd> OpenFile(std::string_view name, const std::string& path, int flags) {
  Fd fd(open(path.c_str(), flags | O_CLOEXEC, kForAll));
  if (fd.has_value()) return fd;
  return absl::ErrnoToStatus(errno,
                             absl::StrCat(name, ": open ", path, ": ", std::strerror(errno)));
}

}  // namespace

void StandardFiles::Give(Fd fd, int number) {
  Give(fd.get(), number);
  programs_.push_back(std::move(fd));
}

absl::Status StandardFiles::Open(const Stdio& stdio, int number, std::string_view name,
                                 bool is_open, Fd& ours) {
  const bool is_input = number == STDIN_FILENO;
  absl::StatusOr<Fd> file;
  switch (stdio.kind_) {
    case Stdio::Kind::kPipe: {
      absl::StatusOr<std::pair<Fd, Fd>> ends = OsPipe();
      if (!ends.ok()) return ends.status();
      Give(std::move(is_input ? ends->first : ends->second), number);
      ours = std::move(is_input ? ends->second : ends->first);
      return absl::OkStatus();
    }
    case Stdio::Kind::kDescriptor:
      Give(stdio.fd_, number);
      return absl::OkStatus();
    case Stdio::Kind::kInherit:
      if (is_open) {
        Give(number, number);
        return absl::OkStatus();
      }
      // It would take the next file that it opens for this one.
      [[fallthrough]];
    case Stdio::Kind::kNull:
      file = OpenFile(name, kNullDevice, O_RDWR);
      break;
    case Stdio::Kind::kFile:
      file = OpenFile(name, stdio.path_, is_input ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC);
      break;
    case Stdio::Kind::kAppend:
      if (is_input) return absl::InvalidArgumentError("stdin: Stdio::Append() is for output");
      file = OpenFile(name, stdio.path_, O_WRONLY | O_CREAT | O_APPEND);
      break;
    case Stdio::Kind::kStdout: {
      if (number != STDERR_FILENO) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": Stdio::Stdout() is for stderr"));
      }
      const auto out = std::find_if(descriptors_.begin(), descriptors_.end(),
                                    [](const auto& pair) { return pair.second == STDOUT_FILENO; });
      Give(out->first, number);
      return absl::OkStatus();
    }
  }
  if (!file.ok()) return file.status();
  Give(*std::move(file), number);
  return absl::OkStatus();
}

absl::StatusOr<StandardFiles> StandardFiles::Open(const PopenOptions& options) {
  struct Standard {
    const Stdio& stdio;
    std::string_view name;
    Fd StandardFiles::*ours;
    bool is_open;
  };
  Standard standard[] = {{options.stdin, "stdin", &StandardFiles::stdin, false},
                         {options.stdout, "stdout", &StandardFiles::stdout, false},
                         {options.stderr, "stderr", &StandardFiles::stderr, false}};
  // All of it before anything is opened, which could get the number of one that is not.
  for (int number = 0; Standard & each : standard) {
    each.is_open = IsOpen(number++);
    if (each.stdio.kind_ == Stdio::Kind::kDescriptor && !IsOpen(each.stdio.fd_)) {
      return NotOpen(each.name, each.stdio.fd_);
    }
  }
  StandardFiles files;
  for (const int fd : std::set<int>(options.pass_fds.begin(), options.pass_fds.end())) {
    if (!IsOpen(fd)) return NotOpen("pass_fds", fd);
    // The standard ones are what the other options say.
    if (fd > STDERR_FILENO) files.Give(fd, fd);
  }
  for (int number = 0; const Standard& each : standard) {
    const absl::Status status =
        files.Open(each.stdio, number++, each.name, each.is_open, files.*each.ours);
    if (!status.ok()) return status;
  }
  return files;
}

}  // namespace mp::internal
