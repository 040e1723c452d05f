// Programs that cannot be started, and those that are started by the thousand: nothing stays
// behind.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "mp/popen.h"
#include "tests/mp/left_behind.h"
#include "tests/support/child.h"
#include "tests/support/let_fail.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using ::testing::AllOf;
using testing::Child;
using testing::Descriptors;
using testing::HasChildren;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LetFail;
using testing::StatusIs;

const PopenOptions kAllPipes = {
    .stdin = Stdio::Pipe(), .stdout = Stdio::Pipe(), .stderr = Stdio::Pipe()};

constexpr pid_t kNoGroup = std::numeric_limits<pid_t>::max();

// It leaves nothing, and fails in the same way when it is tried again.
absl::Status FailureOf(std::vector<std::string> args, PopenOptions options = kAllPipes) {
  const int before = Descriptors();
  Popen program(std::move(args), std::move(options));
  const absl::Status status = program.Start();
  EXPECT_EQ(program.Start(), status);
  EXPECT_EQ(program.pid(), 0);
  EXPECT_FALSE(program.stdin().has_value());
  EXPECT_EQ(Descriptors(), before);
  EXPECT_FALSE(HasChildren());
  return status;
}

TEST(PopenLimitsTest, AProgramThatCannotBeRunIsAStatus) {
  EXPECT_THAT(FailureOf({"no_such_program"}),
              StatusIs(StatusCode::kNotFound,
                       AllOf(HasSubstr("Popen \"no_such_program\": exec "), HasSubstr("No such"))));
  EXPECT_THAT(FailureOf({"/no/such/program"}),
              StatusIs(StatusCode::kNotFound, HasSubstr("exec /no/such/program: No such")));
  EXPECT_THAT(FailureOf({"/etc/passwd"}), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(FailureOf({"/tmp"}), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(FailureOf({"/etc/passwd/x"}), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(
      FailureOf({"true"}, {.cwd = "/no/such/folder"}),
      StatusIs(StatusCode::kNotFound, HasSubstr("Popen \"true\": chdir /no/such/folder: No such")));
  EXPECT_THAT(FailureOf({"true"}, {.cwd = "/etc/passwd"}),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("chdir /etc/passwd")));
  EXPECT_THAT(FailureOf({"true", std::string(size_t{8} << 20, 'x')}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(FailureOf({"true"}, {.process_group = kNoGroup}),
              StatusIs(StatusCode::kPermissionDenied));
}

TEST(PopenLimitsTest, WhatNoProgramCanHaveIsAStatus) {
  EXPECT_THAT(FailureOf({}), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(FailureOf({""}), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(FailureOf({"true", std::string("a\0b", 3)}), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(FailureOf({"true"}, {.add_env = {{"A=B", "c"}}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("A=B")));
  EXPECT_THAT(FailureOf({"true"}, {.add_env = {{"A", std::string("\0", 1)}}}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(FailureOf({"true"}, {.pass_fds = {-1}}), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(FailureOf({"true"}, {.stdin = Stdio::Pipe(), .pass_fds = {77}}),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("pass_fds: descriptor 77")));
  EXPECT_THAT(FailureOf({"true"}, {.stdin = Stdio::Pipe(), .stdout = Stdio::Use(77)}),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("stdout: descriptor 77")));
  EXPECT_THAT(FailureOf({"true"}, {.stdin = Stdio::File("/no/such/file")}),
              StatusIs(StatusCode::kNotFound, HasSubstr("stdin: open /no/such/file")));
  EXPECT_THAT(FailureOf({"true"}, {.stdin = Stdio::Append("x")}),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(FailureOf({"true"}, {.stdin = Stdio::Stdout()}),
              StatusIs(StatusCode::kInvalidArgument));
}

TEST(PopenLimitsTest, WithoutProcessesItIsAStatus) {
  for (const int error : {EAGAIN, ENOMEM}) {
    Child parent([error] {
      ASSERT_TRUE(LetFail(SYS_clone, error));
      EXPECT_THAT(FailureOf({"true"}),
                  StatusIs(StatusCode::kResourceExhausted, HasSubstr("Popen \"true\": clone")));
    });
    EXPECT_EQ(parent.Finish(), 0);
  }
}

TEST(PopenLimitsTest, WithoutDescriptorsItIsAStatusAndWithEnoughItRuns) {
  Child parent([] {
    constexpr int kNeeded = 7;  // three pipes and a sentinel
    const rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    std::vector<int> taken;
    for (int fd = dup(1); fd >= 0; fd = dup(1)) taken.push_back(fd);
    for (int left = 0; left < kNeeded; ++left) {
      Popen program({"true"}, kAllPipes);
      // Without a matcher: a sanitizer that looks at one needs descriptors.
      EXPECT_EQ(program.Start().code(), StatusCode::kResourceExhausted) << left;
      EXPECT_FALSE(HasChildren());
      // As many are left as before, and there is room for one more.
      std::vector<int> still;
      for (int fd = dup(1); fd >= 0; fd = dup(1)) still.push_back(fd);
      EXPECT_EQ(still.size(), left);
      for (const int fd : still) close(fd);
      close(taken.back());
      taken.pop_back();
    }
    Popen program({"true"}, kAllPipes);
    ASSERT_TRUE(program.Start().ok());
    EXPECT_TRUE(program.Communicate().ok());
    EXPECT_EQ(program.returncode(), 0);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(PopenLimitsTest, AThousandStartsLeaveNothing) {
  const int before = Descriptors();
  for (int i = 0; i < 100; ++i) {
    Popen joined({"/bin/true"}, kAllPipes);
    ASSERT_THAT(joined.Start(), IsOk());
    EXPECT_EQ(joined.Wait(), 0);
    Popen abandoned({"/bin/true"}, kAllPipes);
    ASSERT_THAT(abandoned.Start(), IsOk());
    for (int j = 0; j < 4; ++j) {
      EXPECT_FALSE(Popen({"/no/such/program"}, kAllPipes).Start().ok());
      EXPECT_FALSE(Popen({"/etc/passwd"}, kAllPipes).Start().ok());
    }
  }
  // The last ones end, and whoever starts next reaps them.
  siginfo_t info;
  while (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0) {
    EXPECT_FALSE(Popen({"/no/such/program"}).Start().ok());
  }
  EXPECT_EQ(errno, ECHILD);
  EXPECT_EQ(Descriptors(), before);
}

}  // namespace
}  // namespace mp
