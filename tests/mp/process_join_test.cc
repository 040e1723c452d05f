// Waiting for a process: from many threads, interrupted, and when somebody else has taken
// what it waits for.

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "tests/mp/text_pipe.h"
#include "tests/support/alarms.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

using testing::Alarms;
using testing::Gate;
using testing::Inherited;
using testing::PauseForEver;
using testing::TextPipe;

// Of the clock that timeouts go by.
absl::Duration Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

TEST(ProcessJoinTest, GivesUpAfterItsTimeoutAndNotBefore) {
  Process child(&PauseForEver);
  ASSERT_TRUE(child.Start().ok());
  const absl::Duration start = Now();
  EXPECT_FALSE(child.Join(absl::Milliseconds(30)));
  EXPECT_GE(Now() - start, absl::Milliseconds(30));
  EXPECT_TRUE(child.IsAlive());
  child.Kill();
  EXPECT_TRUE(child.Join(absl::InfiniteDuration()));
}

TEST(ProcessJoinTest, ComesBackBeforeItsTimeoutWhenTheChildEnds) {
  for (const absl::Duration timeout :
       {absl::InfiniteDuration(), absl::Hours(1'000'000), absl::Hours(100)}) {
    Inherited<Gate> gate;
    Process child([&] { gate->Wait(); });
    ASSERT_TRUE(child.Start().ok());
    std::thread opener([&] { gate->Open(); });
    EXPECT_TRUE(child.Join(timeout));
    opener.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
}

TEST(ProcessJoinTest, AnyNumberOfThreadsMayWaitAndAllSeeTheExitCode) {
  Inherited<Gate> gate;
  Process child([&] {
    gate->Wait();
    return 5;
  });
  ASSERT_TRUE(child.Start().ok());
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  std::vector<std::atomic<pid_t>> joining(4);
  for (std::atomic<pid_t>& tid : joining) {
    threads.emplace_back([&] {
      tid = gettid();
      child.Join();
      if (child.exitcode() == 5) ++right;
    });
    threads.emplace_back([&] {
      if (child.Join(absl::Hours(1)) && child.exitcode() == 5) ++right;
    });
    threads.emplace_back([&] {
      while (child.IsAlive()) std::this_thread::yield();
      if (child.exitcode() == 5) ++right;
    });
    threads.emplace_back([&] {
      while (!ActiveChildren().empty()) std::this_thread::yield();
      if (child.exitcode() == 5) ++right;
    });
  }
  for (const std::atomic<pid_t>& tid : joining) {
    while (tid == 0) std::this_thread::yield();
    ASSERT_TRUE(testing::WaitUntilAsleep(tid, {SYS_waitid}));
  }
  gate->Open();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, static_cast<int>(threads.size()));
}

// Signals that interrupt ------------------------------------------------------------------

constinit std::atomic<int> signals = 0;
constinit std::atomic<int> say_at_signal = 0;
constinit int say_to = -1;

void OnAlarm(int) {
  if (++signals == say_at_signal) [[maybe_unused]]
    const ssize_t n = write(say_to, "!", 1);
}

TEST(ProcessJoinTest, SignalsDoNotShortenATimeout) {
  Process child(&PauseForEver);
  ASSERT_TRUE(child.Start().ok());
  signals = 0;
  {
    const Alarms alarms(Alarms::kEachMillisecond, &OnAlarm);
    const absl::Duration start = Now();
    EXPECT_FALSE(child.Join(absl::Milliseconds(50)));
    EXPECT_GE(Now() - start, absl::Milliseconds(50));
    EXPECT_GT(signals, 0);
  }
  child.Kill();
  child.Join();
}

TEST(ProcessJoinTest, SignalsDoNotEndAnUntimedWait) {
  TextPipe go_on;
  Process child([&] { go_on.Read(1); });
  ASSERT_TRUE(child.Start().ok());
  say_to = go_on.writer();
  signals = 0;
  say_at_signal = 5;
  const Alarms alarms(Alarms::kEachMillisecond, &OnAlarm);
  child.Join();
  EXPECT_GE(signals, 5);
  say_at_signal = 0;
  EXPECT_EQ(child.exitcode(), 0);
}

// Statuses that somebody else takes -------------------------------------------------------

TEST(ProcessJoinTest, AStatusThatTheProgramTookIs255) {
  Process child([] { return 3; });
  ASSERT_TRUE(child.Start().ok());
  int status = 0;
  ASSERT_EQ(waitpid(child.pid(), &status, 0), child.pid());
  ASSERT_EQ(WEXITSTATUS(status), 3);
  child.Join();
  EXPECT_EQ(child.exitcode(), 255);
  EXPECT_FALSE(child.IsAlive());
  child.Kill();  // nobody
  EXPECT_TRUE(child.Close().ok());
}

TEST(ProcessJoinTest, AStatusThatIsTakenDuringAJoinIs255) {
  Process child(&PauseForEver);
  ASSERT_TRUE(child.Start().ok());
  const pid_t pid = child.pid();
  std::atomic<pid_t> tid = 0;
  std::thread joiner([&] {
    tid = gettid();
    child.Join();
  });
  while (tid == 0) std::this_thread::yield();
  ASSERT_TRUE(testing::WaitUntilAsleep(tid, {SYS_waitid}));
  std::thread thief([pid] { waitpid(pid, nullptr, 0); });
  kill(pid, SIGKILL);
  joiner.join();
  thief.join();
  // Either may have been first.
  EXPECT_TRUE(child.exitcode() == 255 || child.exitcode() == -SIGKILL);
}

TEST(ProcessJoinTest, WhereSigchldIsIgnoredTheCodeIs255AndNothingHangs) {
  Process program([] {
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 10; ++i) {
      Inherited<Gate> gate;
      Process child([&] {
        gate->Wait();
        return 3;
      });
      if (!child.Start().ok() || !child.IsAlive()) return 1;
      if (child.Join(absl::ZeroDuration())) return 2;
      gate->Open();
      child.Join();
      if (child.exitcode() != 255) return 3;
    }
    return 0;
  });
  ASSERT_TRUE(program.Start().ok());
  program.Join();
  EXPECT_EQ(program.exitcode(), 0);
}

TEST(ProcessJoinTest, AChildThatIsGoneBeforeItsSentinelIsMadeHasEnded) {
  Process program([] {
    signal(SIGCHLD, SIG_IGN);
    // In the parent, before fork() returns: waits until there are no children at all.
    pthread_atfork(
        nullptr, [] { wait(nullptr); }, nullptr);
    Process child([] { return 3; });
    if (!child.Start().ok()) return 1;
    if (child.IsAlive() || child.exitcode() != 255) return 2;
    pollfd ended = {.fd = child.sentinel(), .events = POLLIN, .revents = 0};
    if (poll(&ended, 1, 0) != 1) return 3;
    child.Terminate();
    child.Join();
    return child.Join(absl::Seconds(1)) && child.Close().ok() && ActiveChildren().empty() ? 0 : 4;
  });
  ASSERT_TRUE(program.Start().ok());
  program.Join();
  EXPECT_EQ(program.exitcode(), 0);
}

TEST(ProcessJoinTest, AChildThatADebuggerHoldsHasNotEndedYet) {
  Inherited<Gate> attached;
  Inherited<Gate> let_go;
  Process child(&PauseForEver);
  ASSERT_TRUE(child.Start().ok());
  const pid_t pid = child.pid();
  Process debugger([&, pid] {
    if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0) return 1;
    kill(pid, SIGKILL);
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
    attached->Open();
    let_go->Wait();
    return waitpid(pid, nullptr, 0) == pid ? 0 : 2;
  });
  ASSERT_TRUE(debugger.Start().ok());
  attached->Wait();
  const absl::Duration start = Now();
  EXPECT_FALSE(child.Join(absl::Milliseconds(20)));
  EXPECT_GE(Now() - start, absl::Milliseconds(20));
  EXPECT_EQ(child.exitcode(), std::nullopt);
  let_go->Open();
  EXPECT_TRUE(child.Join(absl::InfiniteDuration()));
  EXPECT_EQ(child.exitcode(), -SIGKILL);
  debugger.Join();
  EXPECT_EQ(debugger.exitcode(), 0);
}

TEST(ProcessJoinTest, WhatAChildLeavesComesBackWhenItIsJoined) {
  const RawValue<int> first;  // this process has used the heap
  const size_t before = Stats().in_use;
  auto take = [] {
    for (const size_t size : {1, 100, 10'000, 1'000'000}) {
      if (!Domain::Current()->Allocate(size).ok()) _exit(1);
    }
  };
  Process ends(take);
  ASSERT_TRUE(ends.Start().ok());
  ends.Join();
  EXPECT_EQ(ends.exitcode(), 0);
  EXPECT_EQ(Stats().in_use, before);

  Process killed([&] {
    take();
    raise(SIGKILL);
  });
  ASSERT_TRUE(killed.Start().ok());
  killed.Join();
  EXPECT_EQ(killed.exitcode(), -SIGKILL);
  EXPECT_EQ(Stats().in_use, before);

  // Who asks whether it has ended waits for it too.
  Process asked(take);
  ASSERT_TRUE(asked.Start().ok());
  while (asked.IsAlive()) sched_yield();
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
