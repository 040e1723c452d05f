// What a program does wrong with a process ends it with a line that says what.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

using testing::PauseForEver;

TEST(ProcessDeathTest, BeforeTheStartThereIsNobodyToWaitForOrToSignal) {
  const Process child({.name = "early"}, [] {});
  EXPECT_DEATH(child.Join(), "mp: Process \"early\", in pid [0-9]+: Join\\(\\) before Start");
  EXPECT_DEATH((void)child.Join(absl::ZeroDuration()), "early.*Join\\(\\) before Start");
  EXPECT_DEATH(child.sentinel(), "early.*sentinel\\(\\) before Start");
  EXPECT_DEATH(child.Terminate(), "early.*Terminate\\(\\) before Start");
  EXPECT_DEATH(child.Kill(), "early.*Kill\\(\\) before Start");
  EXPECT_DEATH(child.Interrupt(), "early.*Interrupt\\(\\) before Start");
}

TEST(ProcessDeathTest, AnEmptyProcessIsNobody) {
  EXPECT_DEATH(Process().Join(), "Join\\(\\) before Start");
}

TEST(ProcessDeathTest, AfterCloseOnlyTheNameIsLeft) {
  Process child({.name = "late"}, [] {});
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  ASSERT_TRUE(child.Close().ok());
  EXPECT_DEATH(child.Join(), "late.*Join\\(\\) after Close");
  EXPECT_DEATH((void)child.Join(absl::ZeroDuration()), "late.*Join\\(\\) after Close");
  EXPECT_DEATH(child.IsAlive(), "late.*IsAlive\\(\\) after Close");
  EXPECT_DEATH(child.pid(), "late.*pid\\(\\) after Close");
  EXPECT_DEATH(child.exitcode(), "late.*exitcode\\(\\) after Close");
  EXPECT_DEATH(child.sentinel(), "late.*sentinel\\(\\) after Close");
  EXPECT_DEATH(child.Terminate(), "late.*Terminate\\(\\) after Close");
}

// A death test runs its statement in a fork: another process.
TEST(ProcessDeathTest, AnotherProcessMayNotWaitForItOrSignalIt) {
  Process child({.name = "mine"}, &PauseForEver);
  ASSERT_TRUE(child.Start().ok());
  EXPECT_DEATH(child.Join(), "mine.*Join\\(\\) in pid [0-9]+, but it is a child of pid [0-9]+");
  EXPECT_DEATH((void)child.Join(absl::ZeroDuration()), "mine.*Join\\(\\) in pid");
  EXPECT_DEATH(child.IsAlive(), "mine.*IsAlive\\(\\) in pid");
  EXPECT_DEATH(child.exitcode(), "mine.*exitcode\\(\\) in pid");
  EXPECT_DEATH(child.Terminate(), "mine.*Terminate\\(\\) in pid");
  EXPECT_DEATH(child.Kill(), "mine.*Kill\\(\\) in pid");
  EXPECT_DEATH(child.Interrupt(), "mine.*Interrupt\\(\\) in pid");
  EXPECT_TRUE(child.IsAlive());
  child.Kill();
  child.Join();
}

TEST(ProcessDeathTest, AnotherProcessMayAskWhoItIs) {
  Process child({.name = "mine", .daemon = true}, &PauseForEver);
  ASSERT_TRUE(child.Start().ok());
  const pid_t pid = child.pid();
  const int sentinel = child.sentinel();
  EXPECT_EXIT(_exit(child.name() == "mine" && child.pid() == pid && child.daemon() &&
                            child.sentinel() == sentinel
                        ? 0
                        : 1),
              ::testing::ExitedWithCode(0), "");
  child.Kill();
  child.Join();
}

TEST(ProcessDeathTest, AProcessCannotWaitForItself) {
  EXPECT_DEATH((void)CurrentProcess().Join(absl::ZeroDuration()), "MainProcess.*itself");
  EXPECT_DEATH(CurrentProcess().sentinel(), "MainProcess.*itself");
}

TEST(ProcessDeathTest, WhoAnotherProcessIsByItsOwnWordsCannotBeWaitedFor) {
  const ProcessInfo self = CurrentProcess();
  EXPECT_DEATH((void)self.IsAlive(), "use ParentProcess");
  EXPECT_DEATH((void)self.Join(absl::ZeroDuration()), "use ParentProcess");
}

TEST(ProcessDeathTest, AWaitThatTheKernelRefusesSaysWhatItNeeds) {
  Process child(&PauseForEver);
  ASSERT_TRUE(child.Start().ok());
  const ProcessInfo info = ActiveChildren().at(0);
  EXPECT_DEATH(
      {
        const rlimit none = {};
        setrlimit(RLIMIT_NOFILE, &none);
        (void)info.IsAlive();
      },
      "mp: pid [0-9]+: cannot wait for a process: ppoll: .*RLIMIT_NOFILE of 1");
  child.Kill();
  child.Join();
}

TEST(ProcessDeathTest, ASentinelThatTheProgramClosedIsTold) {
  Process child(&PauseForEver);
  ASSERT_TRUE(child.Start().ok());
  const ProcessInfo info = ActiveChildren().at(0);
  EXPECT_DEATH(
      {
        close(info.sentinel());
        (void)info.IsAlive();
      },
      "closed descriptor [0-9]+, which is the sentinel");
  Process program({.name = "program"}, [] {
    Process grand(&PauseForEver);
    if (!grand.Start().ok()) return;
    close(grand.sentinel());
    grand.Kill();
  });
  ASSERT_TRUE(program.Start().ok());
  program.Join();
  EXPECT_EQ(program.exitcode(), -SIGABRT);
  child.Kill();
  child.Join();
}

TEST(OrDieDeathTest, SaysWhereAndWhat) {
  EXPECT_DEATH(OrDie(absl::NotFoundError("no tea")),
               "mp: .*process_death_test.cc:[0-9]+: NOT_FOUND: no tea");
  EXPECT_DEATH(OrDie(absl::StatusOr<int>(absl::AbortedError("spilt"))), "ABORTED: spilt");
}

TEST(OrDieDeathTest, PassesOnWhatIsThere) {
  OrDie(absl::OkStatus());
  EXPECT_EQ(*OrDie(absl::StatusOr<std::unique_ptr<int>>(std::make_unique<int>(3))), 3);
}

}  // namespace
}  // namespace mp
