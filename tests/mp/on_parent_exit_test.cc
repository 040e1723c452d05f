// What becomes of a child when its parent returns, or is killed, whatever started it.

#include "mp/on_parent_exit.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mp/fd.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "mp/queue.h"
#include "mp/start_method.h"
#include "sync/event.h"
#include "tests/mp/start_methods.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

void Stay(const Queue<pid_t>& here, const Event& end) {
  OrDie(here.Put(getpid()));
  end.Wait();
}

bool HasEnded(const Fd& pidfd, int timeout) {
  pollfd ended = {.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return poll(&ended, 1, timeout) == 1;
}

// A parent between this process and the child.
class OnParentExitTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  void Begin(OnParentExit policy, bool parent_returns) {
    parent_ =
        Process(ProcessOptions{.start_method = StartMethod::kFork}, [this, policy, parent_returns] {
          Process child({.start_method = GetParam(), .on_parent_exit = policy}, &Stay, here_, end_);
          OrDie(child.Start());
          started_.Set();
          if (!parent_returns) testing::PauseForEver();
          return_now_.Wait();
        });
    ASSERT_TRUE(parent_.Start().ok());
    const pid_t pid = OrDie(here_.Get());
    child_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    ASSERT_TRUE(child_.has_value());
    started_.Wait();
    EXPECT_FALSE(HasEnded(child_, 0));
  }
  void KillParent() {
    parent_.Kill();
    parent_.Join();
    EXPECT_EQ(parent_.exitcode(), -SIGKILL);
  }

  const Queue<pid_t> here_;
  const Event started_;
  const Event return_now_;
  const Event end_;
  Process parent_;
  Fd child_;
};

INSTANTIATE_TEST_SUITE_P(All, OnParentExitTest, testing::AllStartMethods(),
                         testing::StartMethodName);

// The watchdog ends what waits for ever.
constexpr int kForEver = -1;

TEST_P(OnParentExitTest, KillDiesWithAParentThatIsKilled) {
  Begin(OnParentExit::kKill, /*parent_returns=*/false);
  KillParent();
  EXPECT_TRUE(HasEnded(child_, kForEver));
}

TEST_P(OnParentExitTest, KillIsEndedByAParentThatReturns) {
  Begin(OnParentExit::kKill, /*parent_returns=*/true);
  return_now_.Set();
  parent_.Join();
  EXPECT_EQ(parent_.exitcode(), 0);
  EXPECT_TRUE(HasEnded(child_, 0));
}

TEST_P(OnParentExitTest, WaitOutlivesAParentThatIsKilled) {
  Begin(OnParentExit::kWait, /*parent_returns=*/false);
  KillParent();
  EXPECT_FALSE(HasEnded(child_, 0));
  end_.Set();
  EXPECT_TRUE(HasEnded(child_, kForEver));
}

TEST_P(OnParentExitTest, WaitHoldsUpAParentThatReturns) {
  Begin(OnParentExit::kWait, /*parent_returns=*/true);
  return_now_.Set();
  EXPECT_FALSE(parent_.Join(absl::Milliseconds(50)));
  end_.Set();
  parent_.Join();
  EXPECT_EQ(parent_.exitcode(), 0);
  EXPECT_TRUE(HasEnded(child_, 0));
}

TEST_P(OnParentExitTest, DetachOutlivesAParentThatReturns) {
  Begin(OnParentExit::kDetach, /*parent_returns=*/true);
  return_now_.Set();
  parent_.Join();
  EXPECT_EQ(parent_.exitcode(), 0);
  EXPECT_FALSE(HasEnded(child_, 0));
  end_.Set();
  EXPECT_TRUE(HasEnded(child_, kForEver));
}

TEST_P(OnParentExitTest, DetachOutlivesAParentThatIsKilled) {
  Begin(OnParentExit::kDetach, /*parent_returns=*/false);
  KillParent();
  EXPECT_FALSE(HasEnded(child_, 0));
  end_.Set();
  EXPECT_TRUE(HasEnded(child_, kForEver));
}

TEST_P(OnParentExitTest, ADaemonIsNotDetached) {
  Process daemon(
      {.daemon = true, .start_method = GetParam(), .on_parent_exit = OnParentExit::kDetach}, [] {});
  EXPECT_TRUE(absl::IsInvalidArgument(daemon.Start()));
}

}  // namespace
}  // namespace mp
