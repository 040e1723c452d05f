// Programs: what they are started with, and how they end.

#include "mp/popen.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/os_pipe.h"
#include "mp/wait.h"
#include "tests/support/child.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Child;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

constexpr char kTeller[] = "tests/mp/started_program";

// What a program writes to its standard output. It ends well.
std::string Told(std::vector<std::string> args, PopenOptions options = {}) {
  options.stdout = Stdio::Pipe();
  Popen program(std::move(args), std::move(options));
  EXPECT_THAT(program.Start(), IsOk());
  const absl::StatusOr<PopenOutput> output = program.Communicate();
  EXPECT_THAT(output, IsOk());
  EXPECT_EQ(program.returncode(), 0);
  return output.ok() ? output->out : "";
}

std::string ToldByShell(const std::string& script, PopenOptions options = {}) {
  return Told(std::vector<std::string>{"sh", "-c", script}, std::move(options));
}

class Folder {
 public:
  Folder() : path_(::testing::TempDir() + "popen_XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~Folder() { Told({"rm", "-r", path_}); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const { return absl::StrCat(path_, "/", name); }
  std::string Read(std::string_view name) const {
    return *Fd(open(File(name).c_str(), O_RDONLY | O_CLOEXEC)).ReadAll();
  }
  void Write(std::string_view name, std::string_view text, mode_t mode = 0600) const {
    EXPECT_THAT(Fd(open(File(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, mode)).WriteAll(text),
                IsOk());
  }

 private:
  std::string path_;
};

TEST(PopenTest, RunsAProgramToItsEnd) {
  Popen program({"sh", "-c", "read line; exit 7"}, {.stdin = Stdio::Pipe()});
  EXPECT_EQ(program.pid(), 0);
  EXPECT_EQ(program.Poll(), std::nullopt);
  EXPECT_FALSE(program.stdin().has_value());
  ASSERT_THAT(program.Start(), IsOk());
  EXPECT_GT(program.pid(), 0);
  EXPECT_EQ(program.args()[2], "read line; exit 7");
  EXPECT_EQ(program.Poll(), std::nullopt);
  EXPECT_EQ(program.Wait(absl::ZeroDuration()), std::nullopt);
  EXPECT_EQ(program.Wait(absl::Milliseconds(1)), std::nullopt);
  EXPECT_EQ(program.returncode(), std::nullopt);
  EXPECT_THAT(Wait({program}, absl::ZeroDuration()), StatusIs(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(program.stdin().WriteAll("\n"), IsOk());
  EXPECT_EQ(Wait({program})->front(), 0);
  EXPECT_EQ(program.Wait(), 7);
  EXPECT_EQ(program.Wait(absl::InfiniteDuration()), 7);
  EXPECT_EQ(program.Poll(), 7);
  EXPECT_EQ(program.returncode(), 7);
  EXPECT_THAT(program.Start(), StatusIs(StatusCode::kFailedPrecondition, HasSubstr("before")));
}

TEST(PopenTest, ASignalThatEndsItIsItsReturnCode) {
  for (const int number : {SIGKILL, SIGTERM, SIGINT, SIGUSR1}) {
    Popen program({"sleep", "1000"});
    ASSERT_THAT(program.Start(), IsOk());
    EXPECT_THAT(program.SendSignal(SIGRTMAX + 1), StatusIs(StatusCode::kInvalidArgument));
    EXPECT_THAT(program.SendSignal(0), IsOk());
    if (number == SIGKILL) {
      program.Kill();
    } else if (number == SIGTERM) {
      program.Terminate();
    } else if (number == SIGINT) {
      program.Interrupt();
    } else {
      EXPECT_THAT(program.SendSignal(number), IsOk());
    }
    EXPECT_EQ(program.Wait(), -number);
    // Nobody is there any more.
    EXPECT_THAT(program.SendSignal(SIGKILL), IsOk());
    program.Kill();
  }
}

TEST(PopenTest, TheEnvironmentIsReplacedOrAddedTo) {
  setenv("POPEN_A", "ours", 1);
  setenv("POPEN_B", "ours", 1);
  const std::string script = "echo \"$POPEN_A,$POPEN_B,$POPEN_C\"";
  EXPECT_EQ(ToldByShell(script), "ours,ours,\n");
  EXPECT_EQ(ToldByShell(script, {.add_env = {{"POPEN_B", "b"}, {"POPEN_C", "x=y z"}}}),
            "ours,b,x=y z\n");
  EXPECT_EQ(ToldByShell(script, {.env = {{{"POPEN_B", "b"}}}}), ",b,\n");
  EXPECT_EQ(ToldByShell(script, {.env = {{{"POPEN_B", "b"}}}, .add_env = {{"POPEN_C", "c"}}}),
            ",b,c\n");
  EXPECT_EQ(ToldByShell("env", {.env = {{{"PATH", "/usr/bin:/bin"}}}}).find("POPEN"),
            std::string::npos);
  // Also if it is empty.
  Popen none({"sh", "-c", "test -z \"$POPEN_A\""}, {.env = std::map<std::string, std::string>()});
  ASSERT_THAT(none.Start(), IsOk());
  EXPECT_EQ(none.Wait(), 0);
}

TEST(PopenTest, AProgramIsLookedForInPath) {
  const Folder folder;
  folder.Write("popen_tool", "#!/bin/sh\necho \"$0 here\"\n", 0700);
  const std::string here = folder.File("popen_tool") + " here\n";
  EXPECT_EQ(Told({"popen_tool"}, {.add_env = {{"PATH", "/no/such:" + folder.path()}}}), here);
  EXPECT_EQ(Told({folder.File("popen_tool")}), here);
  // Not by another name for it, and with a folder of the program's own.
  EXPECT_EQ(Told({"./popen_tool"}, {.cwd = folder.path()}), "./popen_tool here\n");
  EXPECT_EQ(Told({"popen_tool"}, {.add_env = {{"PATH", ""}}, .cwd = folder.path()}),
            "./popen_tool here\n");
  EXPECT_EQ(Told({"name", "-c", "echo $0 $1", "a", "b c"}, {.executable = "sh"}), "a b c\n");
  EXPECT_EQ(Told({"pwd"}, {.cwd = "/usr"}), "/usr\n");
}

TEST(PopenTest, StandardFilesAreWhatIsAskedFor) {
  const Folder folder;
  folder.Write("in", "input\n");
  folder.Write("out", "something longer that is not to stay\n");
  folder.Write("log", "before\n");
  Popen files({"sh", "-c", "cat; echo error >&2"}, {.stdin = Stdio::File(folder.File("in")),
                                                    .stdout = Stdio::File(folder.File("out")),
                                                    .stderr = Stdio::Append(folder.File("log"))});
  ASSERT_THAT(files.Start(), IsOk());
  EXPECT_EQ(files.Wait(), 0);
  EXPECT_FALSE(files.stdin().has_value() || files.stdout().has_value());
  EXPECT_EQ(folder.Read("out"), "input\n");
  EXPECT_EQ(folder.Read("log"), "before\nerror\n");

  EXPECT_EQ(ToldByShell("cat; echo error >&2", {.stdin = Stdio::Null(), .stderr = Stdio::Stdout()}),
            "error\n");

  auto [reading, writing] = *OsPipe();
  Popen used({"sh", "-c", "echo out; echo error >&2"},
             {.stdout = Stdio::Use(writing), .stderr = Stdio::Use(writing)});
  ASSERT_THAT(used.Start(), IsOk());
  writing.Close();
  EXPECT_EQ(*reading.ReadAll(), "out\nerror\n");
}

TEST(PopenTest, StandardFilesAreInheritedAndThoseThatAreClosedAreNull) {
  const Folder folder;
  Child parent([&] {
    dup2(open(folder.File("out").c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    close(STDIN_FILENO);
    Popen program({kTeller, "descriptors"});
    ASSERT_THAT(program.Start(), IsOk());
    EXPECT_EQ(program.Wait(), 0);
  });
  EXPECT_EQ(parent.Finish(), 0);
  EXPECT_EQ(folder.Read("out"), "0w 1w 2w \n");
  // With pipes, too, where all three are closed.
  const std::string text(100'000, 'x');
  Child closed([&] {
    for (const int fd : {0, 1, 2}) close(fd);
    Popen program({"cat"}, {.stdin = Stdio::Pipe(), .stdout = Stdio::Pipe()});
    if (!program.Start().ok()) return 1;
    const absl::StatusOr<PopenOutput> output = program.Communicate(text);
    if (!output.ok() || output->out != text) return 2;
    // The library has not taken their places.
    return fcntl(0, F_GETFD) == -1 && fcntl(1, F_GETFD) == -1 && fcntl(2, F_GETFD) == -1 ? 0 : 3;
  });
  EXPECT_EQ(closed.Finish(), 0);
}

TEST(PopenTest, ItHasDescriptorsThatArePassedAndNoOthers) {
  const auto [reading, writing] = *OsPipe();
  const Fd others(open("/dev/null", O_RDONLY));  // inheritable
  const std::string out = std::to_string(writing.get());
  EXPECT_EQ(Told({kTeller, "descriptors"}, {.stdin = Stdio::Pipe(), .stderr = Stdio::Null()}),
            "0r 1w 2w \n");
  EXPECT_EQ(Told({kTeller, "descriptors"}, {.stdin = Stdio::Null(),
                                            .stderr = Stdio::Null(),
                                            .pass_fds = {writing.get(), writing.get(), 0, 2}}),
            "0w 1w 2w " + out + "w \n");
  EXPECT_THAT(Told({kTeller, "descriptors"}, {.close_fds = false}),
              HasSubstr(absl::StrCat(" ", others.get(), "r ")));
  // It is the same file.
  ToldByShell("echo hello >&" + out, {.pass_fds = {writing.get()}});
  EXPECT_EQ(*reading.Read(), "hello\n");
  EXPECT_EQ(fcntl(writing.get(), F_GETFD), FD_CLOEXEC);
}

TEST(PopenTest, SignalsAreAsByDefault) {
  Child parent([] {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, nullptr);
    EXPECT_EQ(Told({kTeller, "signals"}), "");
    EXPECT_EQ(Told({kTeller, "signals"}, {.restore_signals = false}),
              "ignored 1\nignored 13\nblocked 15\n");
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(PopenTest, ItMayLeadASessionOrAGroup) {
  const std::string here = Told({"pwd"});
  EXPECT_EQ(Told({kTeller, "place"}), here + "no session\nno group\n");
  EXPECT_EQ(Told({kTeller, "place"}, {.start_new_session = true}), here + "session\ngroup\n");
  EXPECT_EQ(Told({kTeller, "place"}, {.process_group = 0}), here + "no session\ngroup\n");
}

TEST(PopenTest, WithoutAProgramAllIsStill) {
  Popen none;
  EXPECT_THAT(none.Start(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_EQ(none.pid(), 0);
  EXPECT_EQ(none.Poll(), std::nullopt);
  EXPECT_TRUE(none.args().empty());
  EXPECT_FALSE(none.stdout().has_value());
  Popen program({"true"});
  ASSERT_THAT(program.Start(), IsOk());
  none = std::move(program);
  EXPECT_EQ(none.Wait(), 0);
}

bool IsChild(pid_t pid) {
  siginfo_t info;
  return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

TEST(PopenTest, OneThatNobodyHasGoesOnAndIsReapedLater) {
  pid_t pid = 0;
  Fd stdin;
  Fd ended;
  {
    Popen program({"cat"}, {.stdin = Stdio::Pipe()});
    ASSERT_THAT(program.Start(), IsOk());
    pid = program.pid();
    stdin = std::move(program.stdin());
    ended = Fd(dup(program.sentinel()));
  }
  Popen other({"true"});
  ASSERT_THAT(other.Start(), IsOk());
  EXPECT_TRUE(IsChild(pid));
  EXPECT_THAT(Wait({ended.get()}, absl::ZeroDuration()), StatusIs(StatusCode::kDeadlineExceeded));
  stdin.Close();
  ASSERT_THAT(Wait({ended.get()}), IsOk());
  EXPECT_TRUE(IsChild(pid));  // a zombie
  Popen({"true"}).Start().IgnoreError();
  EXPECT_FALSE(IsChild(pid));
  EXPECT_EQ(other.Wait(), 0);
}

TEST(PopenTest, AStatusThatSomebodyTookIs255) {
  Child parent([] {
    Popen program({"true"});
    ASSERT_THAT(program.Start(), IsOk());
    ASSERT_EQ(waitpid(program.pid(), nullptr, 0), program.pid());
    EXPECT_EQ(program.Wait(), 255);
    signal(SIGCHLD, SIG_IGN);
    Popen ignored({"true"});
    ASSERT_THAT(ignored.Start(), IsOk());
    EXPECT_EQ(ignored.Wait(), 255);
    EXPECT_THAT(Popen({"/no/such"}).Start(), StatusIs(StatusCode::kNotFound));
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(PopenTest, ACopyOfAForkOnlyTells) {
  Popen program({"cat"}, {.stdin = Stdio::Pipe()});
  ASSERT_THAT(program.Start(), IsOk());
  Child fork([&] {
    EXPECT_GT(program.pid(), 0);
    EXPECT_THAT(Wait({program}, absl::ZeroDuration()), StatusIs(StatusCode::kDeadlineExceeded));
    EXPECT_DEATH((void)program.Poll(), "Popen \"cat\" .* is a child of pid");
    EXPECT_DEATH(program.Kill(), "Popen \"cat\" .* is a child of pid");
    EXPECT_DEATH((void)program.Communicate(), "Popen \"cat\" .* is a child of pid");
    program = Popen();
  });
  EXPECT_EQ(fork.Finish(), 0);
  EXPECT_EQ(program.Poll(), std::nullopt);
  program.stdin().Close();
  EXPECT_EQ(program.Wait(), 0);
}

TEST(PopenDeathTest, BeforeTheStartThereIsNothingToWaitFor) {
  const Popen program({"true"});
  EXPECT_DEATH(program.Wait(), "Popen \"true\", in pid .*: Wait\\(\\) before Start\\(\\)");
  EXPECT_DEATH((void)program.SendSignal(SIGTERM), "SendSignal\\(\\) before Start\\(\\)");
  EXPECT_DEATH(program.Kill(), "Kill\\(\\) before Start\\(\\)");
  EXPECT_DEATH((void)program.sentinel(), "sentinel\\(\\) before Start\\(\\)");
  EXPECT_DEATH(Popen().Wait(), "Popen, in pid .*: Wait\\(\\) before Start\\(\\)");
}

}  // namespace
}  // namespace mp
