// What goes to programs and comes from them.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/os_pipe.h"
#include "mp/popen.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Alarms;
using testing::Child;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

constexpr size_t kMiB = size_t{1} << 20;
constexpr absl::Duration kSoon = absl::Milliseconds(20);

const PopenOptions kAllPipes = {
    .stdin = Stdio::Pipe(), .stdout = Stdio::Pipe(), .stderr = Stdio::Pipe()};

std::string Much(size_t size) {
  std::string bytes;
  for (int i = 0; bytes.size() < size; ++i) bytes += std::to_string(i) + " ";
  return bytes;
}

TEST(PopenCommunicateTest, AnySizeGoesBothWaysAtOnce) {
  const std::string input = Much(10 * kMiB);
  Popen program({"tee", "/dev/stderr"}, kAllPipes);
  ASSERT_THAT(program.Start(), IsOk());
  const Alarms alarms;
  const absl::StatusOr<PopenOutput> output = program.Communicate(input);
  ASSERT_THAT(output, IsOk());
  EXPECT_TRUE(output->out == input);
  EXPECT_TRUE(output->err == input);
  EXPECT_EQ(program.returncode(), 0);
  EXPECT_FALSE(program.stdin().has_value() || program.stdout().has_value());
  // All was said.
  EXPECT_EQ(program.Communicate()->out, "");
}

TEST(PopenCommunicateTest, WithoutPipesItWaits) {
  Popen program({"sh", "-c", "exit 3"});
  ASSERT_THAT(program.Start(), IsOk());
  EXPECT_THAT(program.Communicate("input"), StatusIs(StatusCode::kInvalidArgument));
  const absl::StatusOr<PopenOutput> output = program.Communicate();
  ASSERT_THAT(output, IsOk());
  EXPECT_EQ(output->out + output->err, "");
  EXPECT_EQ(program.returncode(), 3);
}

TEST(PopenCommunicateTest, AProgramNeedNotReadItsInput) {
  Child parent([] {
    signal(SIGPIPE, SIG_DFL);
    Popen program({"sh", "-c", "exec <&-; echo done"}, kAllPipes);
    ASSERT_THAT(program.Start(), IsOk());
    const absl::StatusOr<PopenOutput> output = program.Communicate(Much(kMiB));
    ASSERT_THAT(output, IsOk());
    EXPECT_EQ(output->out, "done\n");
    EXPECT_EQ(program.returncode(), 0);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(PopenCommunicateTest, AProgramThatIsKilledComesToItsEnd) {
  const auto [reading, writing] = *OsPipe();
  PopenOptions options = kAllPipes;
  options.pass_fds = {writing.get()};
  Popen program({"sh", "-c",
                 "echo begun; echo ready >&" + std::to_string(writing.get()) + "; exec sleep 1000"},
                options);
  ASSERT_THAT(program.Start(), IsOk());
  std::thread killer([&program, &reading = reading] {
    EXPECT_EQ(*reading.Read(), "ready\n");
    program.Kill();
  });
  const absl::StatusOr<PopenOutput> output = program.Communicate(Much(kMiB));
  killer.join();
  ASSERT_THAT(output, IsOk());
  EXPECT_EQ(output->out, "begun\n");
  EXPECT_EQ(program.returncode(), -SIGKILL);
}

// A program that copies once it is told to, after a word.
class Copier {
 public:
  Copier() : pipe_(*OsPipe()), program_(Args(), Options()) {
    EXPECT_THAT(program_.Start(), IsOk());
    pipe_.first.Close();
  }
  Popen& program() { return program_; }
  void LetGo() { pipe_.second.Close(); }

 private:
  std::vector<std::string> Args() const {
    return {"sh", "-c", "echo begun; read line <&" + std::to_string(pipe_.first.get()) + "; cat"};
  }
  PopenOptions Options() const {
    PopenOptions options = kAllPipes;
    options.pass_fds = {pipe_.first.get()};
    return options;
  }

  std::pair<Fd, Fd> pipe_;
  Popen program_;
};

TEST(PopenCommunicateTest, AfterATimeoutItGoesOnAndNothingIsLost) {
  Copier copier;
  const std::string input = Much(kMiB);
  const absl::Time begin = absl::Now();
  EXPECT_THAT(copier.program().Communicate(input, kSoon), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_GE(absl::Now() - begin, kSoon);
  EXPECT_THAT(copier.program().Communicate({}, absl::ZeroDuration()),
              StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(copier.program().Communicate({}, kSoon), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(copier.program().Communicate("more"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("called before")));
  copier.LetGo();
  const absl::StatusOr<PopenOutput> output = copier.program().Communicate();
  ASSERT_THAT(output, IsOk());
  EXPECT_TRUE(output->out == "begun\n" + input);
  EXPECT_EQ(copier.program().returncode(), 0);
}

TEST(PopenCommunicateTest, AfterATimeoutAKilledProgramHasItsOutput) {
  Copier copier;
  EXPECT_THAT(copier.program().Communicate({}, kSoon), StatusIs(StatusCode::kDeadlineExceeded));
  copier.program().Kill();
  copier.LetGo();
  EXPECT_THAT(copier.program().Communicate(), IsOk());
  EXPECT_EQ(copier.program().returncode(), -SIGKILL);
}

TEST(PopenCommunicateTest, ATimeoutEndsItAlsoWhenThereIsAlwaysMore) {
  Popen program({"yes"}, {.stdout = Stdio::Pipe()});
  ASSERT_THAT(program.Start(), IsOk());
  EXPECT_THAT(program.Communicate({}, kSoon), StatusIs(StatusCode::kDeadlineExceeded));
  program.Kill();
  const absl::StatusOr<PopenOutput> output = program.Communicate();
  ASSERT_THAT(output, IsOk());
  EXPECT_EQ(output->out.substr(0, 4), "y\ny\n");
}

TEST(PopenCommunicateTest, ATimeoutIsAlsoForAProgramThatHasClosedItsPipes) {
  const auto [reading, writing] = *OsPipe();
  Popen program({"sh", "-c", "echo last; exec >&-; read line; exit 4"},
                {.stdin = Stdio::Use(reading), .stdout = Stdio::Pipe()});
  ASSERT_THAT(program.Start(), IsOk());
  // The output is there when the program is not yet at its end.
  EXPECT_THAT(program.Communicate({}, kSoon), StatusIs(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(writing.WriteAll("\n"), IsOk());
  const absl::StatusOr<PopenOutput> output = program.Communicate();
  ASSERT_THAT(output, IsOk());
  EXPECT_EQ(output->out, "last\n");
  EXPECT_EQ(program.returncode(), 4);
}

TEST(PopenCommunicateTest, ProgramsOfManyThreadsDoNotHoldOneAnothersPipes) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([thread] {
      for (int round = 0; round < 10; ++round) {
        const std::string text = std::to_string(100 * thread + round);
        Popen program({"cat"}, kAllPipes);
        ASSERT_THAT(program.Start(), IsOk());
        const absl::StatusOr<PopenOutput> output = program.Communicate(text);
        ASSERT_THAT(output, IsOk());
        EXPECT_EQ(output->out, text);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace mp
