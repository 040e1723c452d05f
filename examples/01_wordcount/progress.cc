#include "examples/01_wordcount/progress.h"

#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

namespace wordcount {
namespace {

constexpr size_t kWidth = 30;

}  // namespace

ProgressBar::ProgressBar(size_t total) : total_(total), visible_(isatty(STDERR_FILENO) == 1) {
  Update(0);
}

ProgressBar::~ProgressBar() {
  // Back to the start of the line, and clears it.
  if (visible_) std::fputs("\r\x1b[K", stderr);
}

void ProgressBar::Update(size_t done) {
  if (!visible_) return;
  std::string line = ProgressLine(done, total_);
  if (line == shown_) return;
  std::fprintf(stderr, "\r%s", line.c_str());
  shown_ = std::move(line);
}

std::string ProgressLine(size_t done, size_t total) {
  const size_t filled = total == 0 ? kWidth : done * kWidth / total;
  const size_t percent = total == 0 ? 100 : done * 100 / total;
  return absl::StrFormat("[%s%s] %3d%% %d/%d files", std::string(filled, '#'),
                         std::string(kWidth - filled, ' '), percent, done, total);
}

}  // namespace wordcount
