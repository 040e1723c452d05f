// SignalHandlers: handlers that are ordinary code, here and in children.

#include "mp/signals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/cancellation.h"
#include "mp/on_parent_exit.h"
#include "mp/or_die.h"
#include "mp/pipe.h"
#include "mp/process.h"
#include "mp/queue.h"
#include "mp/wait.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/pause.h"
#include "tests/support/settings.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Alarms;
using testing::Child;
using ::testing::ElementsAre;
using testing::IsOk;
using testing::StatusIs;
using testing::Steps;

constexpr absl::Duration kAtOnce = absl::ZeroDuration();

// What the process does with a signal.
void (*Disposition(int signal))(int) {
  struct sigaction action;
  sigaction(signal, nullptr, &action);
  return action.sa_handler;
}

TEST(SignalHandlersTest, AreRunByWhoWaits) {
  const SignalHandlers signals;
  std::vector<std::string> log;
  const Lock lock;
  ASSERT_THAT(signals.Handle(SIGUSR1,
                             [&](int signal) {
                               const std::lock_guard guard(lock);
                               log.push_back("signal " + std::to_string(signal));
                             }),
              IsOk());
  EXPECT_THAT(signals.Run(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  {
    const std::lock_guard guard(lock);  // an asynchronous handler would wait for it for ever
    ASSERT_THAT(Kill(getpid(), SIGUSR1), IsOk());
    EXPECT_TRUE(log.empty());
  }
  EXPECT_THAT(signals.Run(), IsOk());
  EXPECT_THAT(log, ElementsAre("signal 10"));
  EXPECT_EQ(signals.RunPending(), 0);
}

TEST(SignalHandlersTest, ManyAreOneAndLowerOnesAreFirst) {
  const SignalHandlers signals;
  std::vector<int> ran;
  for (const int signal : {SIGUSR2, SIGUSR1, SIGHUP}) {
    ASSERT_THAT(signals.Handle(signal, [&](int it) { ran.push_back(it); }), IsOk());
  }
  for (int i = 0; i < 1000; ++i) raise(SIGUSR2);
  raise(SIGUSR1);
  raise(SIGHUP);
  EXPECT_EQ(signals.RunPending(), 3);
  EXPECT_THAT(ran, ElementsAre(SIGHUP, SIGUSR1, SIGUSR2));
  EXPECT_EQ(signals.RunPending(), 0);
}

TEST(SignalHandlersTest, OneThatComesWhileItsHandlerRunsIsRunAgain) {
  const SignalHandlers signals;
  int runs = 0;
  ASSERT_THAT(signals.Handle(SIGUSR1, [&](int signal) { ++runs < 3 ? raise(signal) : 0; }), IsOk());
  raise(SIGUSR1);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_THAT(signals.Run(kAtOnce), IsOk());
    EXPECT_EQ(runs, i);
  }
  EXPECT_THAT(signals.Run(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
}

TEST(SignalHandlersTest, CanBeWaitedForBesideOthers) {
  const SignalHandlers signals;
  const Queue<int> queue;
  const auto [mine, its] = Pipe();
  ASSERT_THAT(signals.Handle(SIGUSR1, [](int) {}), IsOk());
  EXPECT_THAT(Wait({its, queue, signals}, kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  raise(SIGUSR1);
  EXPECT_THAT(OrDie(Wait({its, queue, signals})), ElementsAre(2));
  signals.RunPending();
  ASSERT_THAT(mine.Send(1), IsOk());
  EXPECT_THAT(OrDie(Wait({its, queue, signals})), ElementsAre(0));
}

TEST(SignalHandlersTest, HaveAThreadOfTheirOwnThatCancels) {
  const SignalHandlers signals;
  const Cancellation stop;
  std::atomic<std::thread::id> ran_by;
  ASSERT_THAT(signals.Handle(SIGUSR1,
                             [&](int) {
                               ran_by = std::this_thread::get_id();
                               stop.Cancel();
                             }),
              IsOk());
  ASSERT_THAT(signals.Start(), IsOk());
  ASSERT_THAT(signals.Start(), IsOk());
  const pid_t self = getpid();
  Child sender([=] { EXPECT_THAT(Kill(self, SIGUSR1), IsOk()); });
  const CancellationScope scope(stop);
  EXPECT_THAT(Queue<int>().Get(), StatusIs(StatusCode::kCancelled));
  EXPECT_NE(ran_by.load(), std::this_thread::get_id());
  EXPECT_EQ(sender.Finish(), 0);
}

TEST(SignalHandlersTest, AWaitForOneGoesOnAfterOthers) {
  const SignalHandlers signals;
  const Alarms alarms;
  ASSERT_THAT(signals.Handle(SIGUSR1, [](int) {}), IsOk());
  const absl::Time start = absl::Now();
  EXPECT_THAT(signals.Run(absl::Milliseconds(20)), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(19));
}

TEST(SignalHandlersTest, WhatIsLeftBehindOneThatThrowsIsRunNext) {
  const SignalHandlers signals;
  bool ran = false;
  ASSERT_THAT(signals.Handle(SIGUSR1, [](int) { throw std::runtime_error("one"); }), IsOk());
  ASSERT_THAT(signals.Handle(SIGUSR2, [&](int) { ran = true; }), IsOk());
  raise(SIGUSR2);
  raise(SIGUSR1);
  EXPECT_THROW(signals.RunPending(), std::runtime_error);
  EXPECT_FALSE(ran);
  EXPECT_THAT(OrDie(Wait({signals})), ElementsAre(0));
  EXPECT_EQ(signals.RunPending(), 1);
  EXPECT_TRUE(ran);
}

TEST(SignalHandlersTest, AHandlerMayPutAnotherInItsPlace) {
  const SignalHandlers signals;
  int second = 0;
  ASSERT_THAT(signals.Handle(SIGUSR1,
                             [&](int signal) {
                               ASSERT_THAT(signals.Handle(signal, [&](int) { ++second; }), IsOk());
                               raise(signal);
                             }),
              IsOk());
  raise(SIGUSR1);
  EXPECT_EQ(signals.RunPending(), 1);
  EXPECT_EQ(second, 0);
  EXPECT_EQ(signals.RunPending(), 1);
  EXPECT_EQ(second, 1);
}

TEST(SignalHandlersTest, LeaveWhatWasThereBefore) {
  auto* const before = Disposition(SIGUSR1);
  signal(SIGUSR2, SIG_IGN);
  {
    const SignalHandlers signals;
    ASSERT_THAT(signals.Handle(SIGUSR1, [](int) {}), IsOk());
    ASSERT_THAT(signals.Handle(SIGUSR1, [](int) {}), IsOk());
    ASSERT_THAT(signals.Handle(SIGUSR2, [](int) {}), IsOk());
    EXPECT_NE(Disposition(SIGUSR1), before);
    raise(SIGUSR2);
    ASSERT_THAT(signals.Restore(SIGUSR2), IsOk());
    EXPECT_EQ(Disposition(SIGUSR2), SIG_IGN);
    EXPECT_EQ(signals.RunPending(), 0);
    EXPECT_THAT(signals.Restore(SIGUSR2), StatusIs(StatusCode::kNotFound));
    EXPECT_THAT(signals.Restore(-1), StatusIs(StatusCode::kNotFound));
    raise(SIGUSR1);  // dropped
  }
  EXPECT_EQ(Disposition(SIGUSR1), before);
  const SignalHandlers next;  // with the descriptor of the one before
  EXPECT_THAT(Wait({next}, kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(next.Run(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  signal(SIGUSR2, SIG_DFL);
}

TEST(SignalHandlersTest, ASignalIsOneObjects) {
  const SignalHandlers one;
  SignalHandlers other;
  int ones = 0;
  ASSERT_THAT(one.Handle(SIGUSR1, [&](int) { ++ones; }), IsOk());
  EXPECT_THAT(other.Handle(SIGUSR1, [](int) {}), StatusIs(StatusCode::kAlreadyExists));
  EXPECT_THAT(other.Restore(SIGUSR1), StatusIs(StatusCode::kNotFound));
  int others = 0;
  ASSERT_THAT(other.Handle(SIGUSR2, [&](int) { ++others; }), IsOk());
  raise(SIGUSR1);
  raise(SIGUSR2);
  EXPECT_EQ(one.RunPending() + other.RunPending(), 2);
  EXPECT_EQ(ones + others, 2);
  SignalHandlers moved(std::move(other));
  raise(SIGUSR2);
  EXPECT_EQ(moved.RunPending(), 1);
  EXPECT_EQ(others, 2);
}

TEST(SignalHandlersTest, SomeCannotBeHandled) {
  const SignalHandlers signals;
  for (const int signal : {SIGKILL, SIGSTOP, SIGSEGV, SIGFPE, 0, -1, 65, 1 << 20}) {
    EXPECT_THAT(signals.Handle(signal, [](int) {}), StatusIs(StatusCode::kInvalidArgument));
  }
  // Of the C library.
  EXPECT_THAT(signals.Handle(32, [](int) {}), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(signals.Handle(SIGUSR1, nullptr), StatusIs(StatusCode::kInvalidArgument));
  ASSERT_THAT(signals.Handle(SIGRTMAX, [](int) {}), IsOk());
  raise(SIGRTMAX);
  EXPECT_EQ(signals.RunPending(), 1);
}

TEST(SignalHandlersTest, ComeWhileMessagesGoToAndFro) {
  const SignalHandlers signals;
  std::atomic<int> runs{0};
  ASSERT_THAT(signals.Handle(SIGUSR1, [&](int) { ++runs; }), IsOk());
  ASSERT_THAT(signals.Start(), IsOk());
  const Queue<int> there(3), back(3);
  Child echo([&] {
    for (absl::StatusOr<int> n; (n = there.Get()).ok();) OrDie(back.Put(*n));
  });
  const pid_t self = getpid();
  std::atomic<bool> done{false};
  std::thread sender([&] {
    while (!done) {
      kill(self, SIGUSR1);
      std::this_thread::yield();
    }
  });
  const int messages = 2000 / testing::kSlowness;
  for (int i = 0; i < messages || runs < 10; ++i) {
    ASSERT_THAT(there.Put(i), IsOk());
    ASSERT_EQ(OrDie(back.Get()), i);
  }
  done = true;
  sender.join();
  there.Shutdown();
  EXPECT_EQ(echo.Finish(), 0);
}

// Children ----------------------------------------------------------------------------------------

TEST(SignalHandlersTest, AChildHasNoneOfThem) {
  const SignalHandlers signals;
  int runs = 0;
  ASSERT_THAT(signals.Handle(SIGTERM, [&](int) { ++runs; }), IsOk());
  ASSERT_THAT(signals.Start(), IsOk());
  Child child([&](Steps& step) {
    EXPECT_EQ(Disposition(SIGTERM), SIG_DFL);
    EXPECT_LT(signals.fileno(), 0);
    EXPECT_EQ(signals.RunPending(), 0);
    EXPECT_THAT(signals.Run(), StatusIs(StatusCode::kFailedPrecondition));
    EXPECT_THAT(signals.Start(), StatusIs(StatusCode::kFailedPrecondition));
    EXPECT_THAT(signals.Handle(SIGUSR1, [](int) {}), StatusIs(StatusCode::kFailedPrecondition));
    EXPECT_THAT(signals.Restore(SIGTERM), StatusIs(StatusCode::kFailedPrecondition));
    EXPECT_THAT(Wait({signals}), StatusIs(StatusCode::kInvalidArgument));
    // Its own.
    int own_runs = 0;
    const SignalHandlers own;
    EXPECT_THAT(own.Handle(SIGTERM, [&](int) { ++own_runs; }), IsOk());
    step("handles");
    EXPECT_THAT(own.Run(), IsOk());
    EXPECT_EQ(own_runs, 1);
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  ASSERT_TRUE(child.RunTo("handles"));
  ASSERT_THAT(Kill(child.pid(), SIGTERM), IsOk());
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_THAT(signals.Run(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_EQ(runs, 0);
}

TEST(SignalHandlersTest, AProcessIsTerminatedAllTheSame) {
  const SignalHandlers signals;
  ASSERT_THAT(signals.Handle(SIGTERM, [](int) {}), IsOk());
  Process process(&testing::PauseForEver);
  ASSERT_THAT(process.Start(), IsOk());
  process.Terminate();
  process.Join();
  EXPECT_EQ(process.exitcode(), -SIGTERM);
}

TEST(SignalHandlersTest, WhatChildrenDoIsUpToTheOption) {
  signal(SIGUSR2, SIG_IGN);
  const SignalHandlers signals;
  ASSERT_THAT(signals.Handle(SIGINT, [](int) {}, {.in_children = InChildren::kIgnore}), IsOk());
  ASSERT_THAT(signals.Handle(SIGUSR2, [](int) {}), IsOk());
  ASSERT_THAT(signals.Handle(SIGUSR1, [](int) {}, {.in_children = InChildren::kIgnore}), IsOk());
  ASSERT_THAT(signals.Handle(SIGUSR1, [](int) {}, {.in_children = InChildren::kDefault}), IsOk());
  Child child([] {
    EXPECT_EQ(Disposition(SIGINT), SIG_IGN);
    EXPECT_EQ(Disposition(SIGUSR2), SIG_IGN);
    EXPECT_EQ(Disposition(SIGUSR1), SIG_DFL);
    // For a program that it executes: nothing is blocked (which a shell would undo), and what is
    // ignored stays so.
    sigset_t blocked;
    EXPECT_EQ(sigprocmask(SIG_BLOCK, nullptr, &blocked), 0);
    EXPECT_TRUE(sigisemptyset(&blocked));
    FILE* const program = popen("grep ^SigIgn /proc/self/status", "r");
    uint64_t ignored = 0;
    EXPECT_EQ(fscanf(program, "SigIgn: %" SCNx64, &ignored), 1);
    EXPECT_EQ(pclose(program), 0);
    auto is_ignored = [&](int signal) { return (ignored >> (signal - 1) & 1) != 0; };
    EXPECT_TRUE(is_ignored(SIGINT));
    EXPECT_TRUE(is_ignored(SIGUSR2));
    EXPECT_FALSE(is_ignored(SIGUSR1));
  });
  EXPECT_EQ(child.Finish(), 0);
  signal(SIGUSR2, SIG_DFL);
}

TEST(SignalHandlersTest, ASignalDuringAForkIsForOneOfTheTwo) {
  const SignalHandlers signals;
  std::atomic<int> runs{0};
  ASSERT_THAT(signals.Handle(SIGUSR1, [&](int) { ++runs; }, {.in_children = InChildren::kIgnore}),
              IsOk());
  ASSERT_THAT(signals.Start(), IsOk());
  std::atomic<bool> done{false};
  // To all of its group: the child takes its own, and ignores it.
  Child group([&] {
    EXPECT_EQ(setpgid(0, 0), 0);
    const SignalHandlers own;
    std::atomic<int> own_runs{0};
    EXPECT_THAT(own.Handle(SIGUSR1, [&](int) { ++own_runs; }, {.in_children = InChildren::kIgnore}),
                IsOk());
    EXPECT_THAT(own.Start(), IsOk());
    // Some for each fork: under a storm of signals the kernel begins a fork anew for ever.
    std::atomic<int> round{0};
    std::thread sender([&] {
      for (int sent = 0; !done;) {
        round.wait(sent);
        sent = round;
        for (int i = 0; i < 5; ++i) kill(0, SIGUSR1);
      }
    });
    for (int i = 0; i < 50 / testing::kSlowness; ++i) {
      ++round;
      round.notify_one();
      const pid_t child = fork();
      if (child == 0) _exit(7);
      int status = 0;
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
    }
    done = true;
    ++round;
    round.notify_one();
    sender.join();
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(group.Finish(), 0);
  EXPECT_EQ(runs, 0);
}

// Kill --------------------------------------------------------------------------------------------

TEST(KillTest, SaysWhyNot) {
  EXPECT_THAT(Kill(getpid(), 0), IsOk());
  EXPECT_THAT(Kill(0, SIGTERM), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Kill(-1, SIGTERM), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Kill(getpid(), 1000), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Kill(getpid(), -1), StatusIs(StatusCode::kInvalidArgument));
  Child child([] {});
  const pid_t pid = child.pid();
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_THAT(Kill(pid, SIGTERM), StatusIs(StatusCode::kNotFound));
}

TEST(KillTest, IsDeniedToWhoMayNot) {
  Child child([] {
    const pid_t parent = getppid();
    if (getuid() != 0 || setuid(65534) != 0) return 0;  // it cannot become somebody else
    return absl::IsPermissionDenied(Kill(parent, SIGTERM)) ? 0 : 1;
  });
  EXPECT_EQ(child.Finish(), 0);
}

// EndBySignal -------------------------------------------------------------------------------------

TEST(EndBySignalTest, EndsTheChildrenFirst) {
  const Queue<std::string> log;
  Child parent([&] {
    const SignalHandlers signals;
    OrDie(signals.Handle(SIGINT, [](int signal) { EndBySignal(signal); },
                         {.in_children = InChildren::kIgnore}));
    const pid_t parent_pid = getpid();
    Process child([&] {
      const SignalHandlers own;
      OrDie(own.Handle(SIGTERM, [](int) {}));
      OrDie(log.Put("ready"));
      OrDie(own.Run());
      absl::SleepFor(absl::Milliseconds(50));  // its parent has time to go without it
      OrDie(log.Put(getppid() == parent_pid ? "child" : "orphan"));
    });
    Process other({.daemon = true}, &testing::PauseForEver);
    OrDie(child.Start());
    OrDie(other.Start());
    for (;;) OrDie(signals.Run());
  });
  EXPECT_EQ(OrDie(log.Get()), "ready");
  ASSERT_THAT(Kill(parent.pid(), SIGINT), IsOk());
  EXPECT_EQ(parent.Finish(), -SIGINT);
  EXPECT_EQ(OrDie(log.TryGet()), "child");
}

TEST(EndBySignalTest, LeavesTheDetached) {
  const Queue<std::string> log;
  const Event goes_on;
  Child parent([&] {
    Process detached({.on_parent_exit = OnParentExit::kDetach}, [&] {
      goes_on.Wait();
      OrDie(log.Put("detached"));
    });
    OrDie(detached.Start());
    EndBySignal(SIGTERM);
  });
  EXPECT_EQ(parent.Finish(), -SIGTERM);
  goes_on.Set();
  EXPECT_EQ(OrDie(log.Get()), "detached");
}

}  // namespace
}  // namespace mp
