// A program that is started has what was asked for, and one that cannot be started leaves nothing.

#include "mp/internal/exec.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/mp/left_behind.h"
#include "tests/mp/text_pipe.h"
#include "tests/support/child.h"
#include "tests/support/let_fail.h"
#include "tests/support/status_matchers.h"

namespace mp::internal {
namespace {

using absl::StatusCode;
using testing::Child;
using testing::Descriptors;
using testing::HasChildren;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LetFail;
using testing::StatusIs;
using testing::TextPipe;

constexpr char kProgram[] = "tests/mp/started_program";

// How a child has ended: as of Process::exitcode().
int EndOf(const Executed& child) {
  EXPECT_TRUE(child.sentinel.Wait(absl::InfiniteDuration()));
  siginfo_t info = {};
  EXPECT_EQ(waitid(static_cast<idtype_t>(3), static_cast<id_t>(child.sentinel.fd()), &info,
                   WEXITED | WNOHANG),
            0);
  EXPECT_EQ(info.si_pid, child.pid);
  return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

class Arguments {
 public:
  explicit Arguments(std::vector<std::string> words) : words_(std::move(words)) {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  char* const* get() const { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

// What started_program says. The request's own descriptors are to leave number 1 to it.
std::string Told(const std::string& what, ExecRequest request,
                 std::vector<std::pair<int, int>> descriptors = {}) {
  TextPipe said;
  const Arguments argv({"started", what});
  const char* const paths[] = {kProgram};
  descriptors.emplace_back(said.writer(), 1);
  if (request.paths.empty()) request.paths = paths;
  request.argv = argv.get();
  request.descriptors = descriptors;
  const absl::StatusOr<Executed> child = Exec(request);
  EXPECT_THAT(child, IsOk());
  if (!child.ok()) return "";
  EXPECT_EQ(EndOf(*child), 0);
  return said.ReadAll();
}

absl::Status FailureOf(const char* path, ExecRequest request = {}) {
  const Arguments argv({"none"});
  const char* const paths[] = {path};
  if (request.paths.empty()) request.paths = paths;
  request.argv = argv.get();
  const int before = Descriptors();
  const absl::Status status = Exec(request).status();
  EXPECT_EQ(Descriptors(), before);
  EXPECT_FALSE(HasChildren());
  return status;
}

TEST(ExecTest, TheProgramHasItsDescriptorsAndNoOthers) {
  const int in = open("/dev/null", O_RDONLY);  // inheritable
  const int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
  EXPECT_EQ(Told("descriptors", {}), "1w \n");
  EXPECT_EQ(Told("descriptors", {}, {{in, 0}, {out, 2}}), "0r 1w 2w \n");
  // At the same numbers, and at each other's.
  const std::string a = std::to_string(std::min(in, out));
  const std::string b = std::to_string(std::max(in, out));
  ASSERT_LT(in, out);
  EXPECT_EQ(Told("descriptors", {}, {{in, in}, {out, out}}), "1w " + a + "r " + b + "w \n");
  EXPECT_EQ(Told("descriptors", {}, {{in, out}, {out, in}}), "1w " + a + "w " + b + "r \n");
  // One at several.
  EXPECT_EQ(Told("descriptors", {}, {{in, 0}, {in, 7}, {in, in}}),
            "0r 1w " + std::string(in < 7 ? a + "r 7r \n" : "7r " + a + "r \n"));
  EXPECT_NE(fcntl(out, F_GETFD) & FD_CLOEXEC, 0);
  close(in);
  close(out);
}

TEST(ExecTest, OthersMayStayThatAreInheritable) {
  Child parent([] {
    syscall(SYS_close_range, 3U, ~0U, 0U);
    ASSERT_EQ(open("/dev/null", O_RDONLY), 3);
    ASSERT_EQ(open("/dev/null", O_RDONLY | O_CLOEXEC), 4);
    ASSERT_EQ(dup2(3, 9), 9);
    EXPECT_THAT(Told("descriptors", {.close_others = false}, {{0, 2}, {2, 0}}),
                ::testing::EndsWith(" 3r 9r \n"));
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(ExecTest, AParentWithoutStandardDescriptorsStartsPrograms) {
  for (const int last : {STDIN_FILENO, STDERR_FILENO}) {
    TextPipe said;
    Child parent([&said, last] {
      for (int fd = STDIN_FILENO; fd <= last; ++fd) close(fd);
      const Arguments argv({"started", "descriptors"});
      const char* const paths[] = {kProgram};
      const std::pair<int, int> descriptors[] = {{said.writer(), 1}};
      const absl::StatusOr<Executed> child =
          Exec({.paths = paths, .argv = argv.get(), .descriptors = descriptors});
      ASSERT_THAT(child, IsOk());
      EXPECT_GT(child->sentinel.fd(), STDERR_FILENO);
      EXPECT_EQ(EndOf(*child), 0);
    });
    EXPECT_EQ(parent.Finish(), 0);
    EXPECT_EQ(said.ReadAll(), "1w \n");
  }
}

TEST(ExecTest, SignalsAreAsByDefaultUnlessTheyAreToStay) {
  Child parent([] {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, [](int) {});
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGRTMAX);
    pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    EXPECT_EQ(Told("signals", {}), "");
    EXPECT_EQ(Told("signals", {.reset_signals = false}),
              "ignored 10\nignored 13\nblocked 15\nblocked 64\n");
    // And this process has its own as before.
    sigset_t still;
    pthread_sigmask(SIG_SETMASK, nullptr, &still);
    EXPECT_EQ(sigismember(&still, SIGTERM), 1);
    EXPECT_EQ(sigismember(&still, SIGINT), 0);
    EXPECT_NE(signal(SIGUSR2, SIG_DFL), SIG_DFL);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(ExecTest, ItRunsWhereItIsToRun) {
  char here[4096];
  ASSERT_NE(getcwd(here, sizeof(here)), nullptr);
  const std::string program = std::string(here) + "/" + kProgram;
  const char* const paths[] = {program.c_str()};
  EXPECT_EQ(Told("place", {.paths = paths}), std::string(here) + "\nno session\nno group\n");
  EXPECT_EQ(Told("place", {.paths = paths, .cwd = "/usr"}), "/usr\nno session\nno group\n");
  EXPECT_EQ(Told("place", {.paths = paths, .cwd = "/", .new_session = true}),
            "/\nsession\ngroup\n");
  EXPECT_EQ(Told("place", {.paths = paths, .cwd = "/", .process_group = 0}),
            "/\nno session\ngroup\n");
  // The path is relative to the folder.
  const char* const relative[] = {"started_program"};
  EXPECT_EQ(Told("descriptors", {.paths = relative, .cwd = "tests/mp"}), "1w \n");
}

TEST(ExecTest, ItHasItsEnvironment) {
  const Arguments argv({"sh", "-c", "test \"$A\" = 1 && test -z \"$HOME\""});
  const Arguments envp({"A=1"});
  const char* const paths[] = {"/bin/sh"};
  const absl::StatusOr<Executed> child =
      Exec({.paths = paths, .argv = argv.get(), .envp = envp.get()});
  ASSERT_THAT(child, IsOk());
  EXPECT_EQ(EndOf(*child), 0);
}

TEST(ExecTest, WhatCannotBeStartedIsAStatus) {
  EXPECT_THAT(FailureOf("/no/such/program"),
              StatusIs(StatusCode::kNotFound, HasSubstr("exec /no/such/program: No such file")));
  EXPECT_THAT(FailureOf("/etc/passwd"), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(FailureOf("/dev/null/x"), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(FailureOf("/bin/true", {.cwd = "/no/such/folder"}),
              StatusIs(StatusCode::kNotFound, HasSubstr("chdir /no/such/folder")));
  const std::pair<int, int> closed[] = {{1000, 1000}};
  EXPECT_THAT(FailureOf("/bin/true", {.descriptors = closed}),
              StatusIs(StatusCode::kFailedPrecondition));
  // A file that may be run, and is no program.
  const std::string text = ::testing::TempDir() + "no_program";
  const int fd = open(text.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0700);
  ASSERT_EQ(write(fd, "x\n", 2), 2);
  close(fd);
  EXPECT_THAT(FailureOf(text.c_str()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("Exec format")));
  unlink(text.c_str());
}

TEST(ExecTest, OfManyPathsTheFirstOneThatCanBeRunIs) {
  const char* const found[] = {"/no/such/program", "/etc/passwd", kProgram};
  EXPECT_EQ(Told("descriptors", {.paths = found}), "1w \n");
  // The one that is there and may not be run explains more than those that are not there.
  const char* const none[] = {"/no/such/program", "/etc/passwd", "/etc/passwd/x"};
  EXPECT_THAT(FailureOf("", {.paths = none}),
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("/etc/passwd: ")));
}

TEST(ExecTest, WithoutAProcessOrADescriptorItIsAStatus) {
  Child no_process([] {
    ASSERT_TRUE(LetFail(SYS_clone, EAGAIN));
    EXPECT_THAT(FailureOf("/bin/true"),
                StatusIs(StatusCode::kResourceExhausted, HasSubstr("clone")));
  });
  EXPECT_EQ(no_process.Finish(), 0);
  for (const bool standard_closed : {false, true}) {
    Child no_descriptor([=] {
      if (standard_closed) close(STDIN_FILENO);
      const rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
      ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
      while (dup(1) >= 0) {
      }
      // With its last number for a sentinel that may not have it.
      if (standard_closed) close(STDIN_FILENO);
      const Arguments argv({"sleep", "1000"});
      const char* const paths[] = {"/bin/sleep"};
      // Without a matcher: a sanitizer that looks at one needs descriptors.
      EXPECT_EQ(Exec({.paths = paths, .argv = argv.get()}).status().code(),
                StatusCode::kResourceExhausted);
      EXPECT_FALSE(HasChildren());
    });
    EXPECT_EQ(no_descriptor.Finish(), 0);
  }
}

TEST(ExecTest, ThreadsStartProgramsWhileSignalsCome) {
  Child parent([] {
    static std::atomic<bool> handled_in_child = false;
    static const pid_t self = getpid();
    setpgid(0, 0);  // the signals are for all of us
    // Nothing to a program by default. In a child that borrows memory the handler would see it.
    signal(SIGURG, [](int) {
      if (getpid() != self) handled_in_child = true;
    });
    std::atomic<bool> done = false;
    std::thread sender([&] {
      while (!done) {
        kill(0, SIGURG);
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
    });
    std::vector<std::thread> starters;
    for (int i = 0; i < 2; ++i) {
      starters.emplace_back([] {
        const Arguments argv({"none"});
        const char* const paths[] = {"/no/such/program"};
        for (int round = 0; round < 100; ++round) {
          EXPECT_THAT(Exec({.paths = paths, .argv = argv.get()}), StatusIs(StatusCode::kNotFound));
        }
      });
    }
    for (std::thread& starter : starters) starter.join();
    done = true;
    sender.join();
    EXPECT_FALSE(handled_in_child);
    EXPECT_FALSE(HasChildren());
  });
  EXPECT_EQ(parent.Finish(), 0);
}

}  // namespace
}  // namespace mp::internal
