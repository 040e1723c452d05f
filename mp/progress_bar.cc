#include "mp/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "mp/pool_options.h"

namespace mp {
namespace {

size_t ColumnsOf(int fd) {
  constexpr size_t kUsual = 80;
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsual;
  return size.ws_col;
}

// "1:05", "2:00:07"
std::string Clock(double seconds) {
  const auto all = static_cast<uint64_t>(seconds);
  const uint64_t hours = all / 3600;
  const uint64_t minutes = all / 60 % 60;
  return hours == 0 ? absl::StrFormat("%d:%02d", minutes, all % 60)
                    : absl::StrFormat("%d:%02d:%02d", hours, minutes, all % 60);
}

}  // namespace

namespace internal {

std::string ProgressLine(const std::string& label, const PoolProgress& progress, size_t columns) {
  constexpr size_t kWidth = 20;
  std::string line = label.empty() ? "" : absl::StrCat(label, " ");
  if (progress.total == 0) {
    absl::StrAppend(&line, progress.done, " done");
  } else {
    const double part = static_cast<double>(progress.done) / static_cast<double>(progress.total);
    const auto filled = std::min(kWidth, static_cast<size_t>(part * kWidth));
    absl::StrAppend(&line,
                    absl::StrFormat("[%s%s] %3d%% %d/%d", std::string(filled, '#'),
                                    std::string(kWidth - filled, ' '), static_cast<int>(part * 100),
                                    progress.done, progress.total));
  }
  if (progress.failed != 0) absl::StrAppend(&line, ", ", progress.failed, " failed");
  if (progress.rate > 0) {
    absl::StrAppend(&line, absl::StrFormat(", %.*f/s", progress.rate < 10 ? 1 : 0, progress.rate));
    if (progress.done < progress.total) {
      const auto left = static_cast<double>(progress.total - progress.done);
      absl::StrAppend(&line, ", ", Clock(left / progress.rate), " left");
    }
  }
  if (line.size() > columns) line.resize(columns);
  return line;
}

}  // namespace internal

ProgressBar::ProgressBar(std::string label, int fd)
    : label_(std::move(label)), fd_(fd), is_terminal_(isatty(fd) == 1) {}

void ProgressBar::operator()(const PoolProgress& progress) const {
  const bool last = progress.done == progress.total;
  if (!is_terminal_ && !last) return;
  std::string line;
  if (is_terminal_) {
    // Over the last one, of which nothing stays. The last column would begin another line.
    line = absl::StrCat("\r", internal::ProgressLine(label_, progress, ColumnsOf(fd_) - 1),
                        "\x1b[K", last ? "\n" : "");
  } else {
    line = absl::StrCat(internal::ProgressLine(label_, progress, std::string::npos), "\n");
  }
  [[maybe_unused]] const ssize_t written = write(fd_, line.data(), line.size());
}

}  // namespace mp
