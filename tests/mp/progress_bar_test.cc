// What a ProgressBar writes, on a terminal and elsewhere.

#include "mp/progress_bar.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

#include "mp/pool_options.h"

namespace mp {
namespace {

using internal::ProgressLine;

std::string Written(int fd) {
  char buffer[4096];
  const ssize_t size = read(fd, buffer, sizeof(buffer));
  return size < 0 ? "" : std::string(buffer, static_cast<size_t>(size));
}

TEST(ProgressBarTest, SaysWhatIsKnown) {
  EXPECT_EQ(ProgressLine("", {.done = 0, .total = 10}, 80), "[                    ]   0% 0/10");
  EXPECT_EQ(ProgressLine("counting", {.done = 45, .total = 100, .failed = 3, .rate = 11.0}, 80),
            "counting [#########           ]  45% 45/100, 3 failed, 11/s, 0:05 left");
  EXPECT_EQ(ProgressLine("", {.done = 10, .total = 10, .rate = 2.5}, 80),
            "[####################] 100% 10/10, 2.5/s");
  EXPECT_EQ(ProgressLine("", {.done = 7}, 80), "7 done");
  EXPECT_EQ(ProgressLine("", {.done = 1, .total = 7202, .rate = 1.0}, 80),
            "[                    ]   0% 1/7202, 1.0/s, 2:00:01 left");
  EXPECT_EQ(ProgressLine("counting", {.done = 45, .total = 100}, 12), "counting [##");
}

TEST(ProgressBarTest, WritesTheLastLineWhereThereIsNoTerminal) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const ProgressBar bar("all", ends[1]);
  bar({.done = 1, .total = 2});
  bar({.done = 2, .total = 2});
  EXPECT_EQ(Written(ends[0]), "all [####################] 100% 2/2\n");
  close(ends[0]);
  close(ends[1]);
}

TEST(ProgressBarTest, WritesOneLineOverTheOtherOnATerminal) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  const int bars = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(bars, 0);
  const winsize size = {.ws_row = 25, .ws_col = 20, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(ioctl(terminal, TIOCSWINSZ, &size), 0);
  const ProgressBar bar("", bars);
  bar({.done = 1, .total = 2});
  EXPECT_EQ(Written(terminal), "\r[##########        \x1b[K");
  bar({.done = 2, .total = 2});
  EXPECT_EQ(Written(terminal), "\r[##################\x1b[K\r\n");
  close(bars);
  close(terminal);
}

}  // namespace
}  // namespace mp
