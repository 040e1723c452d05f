// A fork server that is slow to tell, and a starter whose descriptors others take meanwhile.

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mp/process.h"
#include "mp/start_method.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "sync/event.h"
#include "tests/mp/footprint.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Child;
using testing::OwnDescendants;

ProcessOptions ByServer() { return {.start_method = StartMethod::kForkserver}; }

int ReturnSevenAfter(const Event& event) {
  event.Wait();
  return 7;
}

// As long as it lives the server is stopped.
class StoppedServer {
 public:
  StoppedServer() : pid_(OwnDescendants().front()) {
    kill(pid_, SIGSTOP);
    int status;
    while (waitpid(pid_, &status, WUNTRACED) != pid_ || !WIFSTOPPED(status)) {
    }
  }
  ~StoppedServer() { kill(pid_, SIGCONT); }

 private:
  const pid_t pid_;
};

TEST(ForkserverBusyTest, NoQuestionWaitsForAServerThatIsStopped) {
  Child parent([] {
    const Event go;
    Process child(ByServer(), &ReturnSevenAfter, go);
    ASSERT_TRUE(child.Start().ok());
    {
      const StoppedServer server;
      go.Set();
      pollfd ended = {.fd = child.sentinel(), .events = POLLIN, .revents = 0};
      ASSERT_EQ(poll(&ended, 1, -1), 1);
      // How, only the server knows.
      EXPECT_TRUE(child.IsAlive());
      EXPECT_FALSE(child.exitcode().has_value());
      EXPECT_FALSE(child.Join(absl::Milliseconds(1)));
      child.Terminate();
    }
    child.Join();
    EXPECT_EQ(child.exitcode(), 7);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

// The number that becomes free while the answer is awaited, for which the answer has none.
TEST(ForkserverBusyTest, WhoseStartHasFailedDoesNotRun) {
  Child parent([] {
    const Event go;
    const RawValue<int> runs(0);
    auto run = [](const Event& event, const RawValue<int>& count) {
      event.Wait();
      __atomic_fetch_add(&*count, 1, __ATOMIC_RELAXED);
    };
    {
      Process first(ByServer(), [] {});
      ASSERT_TRUE(first.Start().ok());
      first.Join();
    }
    const rlimit limit = {.rlim_cur = 60, .rlim_max = 60};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int started = 0;
    int failed = 0;
    for (int i = 0; i < 200 / testing::kSlowness; ++i) {
      std::atomic<bool> done = false;
      std::vector<int> taken;
      std::thread taker([&] {
        while (!done) {
          if (const int fd = dup(STDOUT_FILENO); fd >= 0) taken.push_back(fd);
        }
      });
      for (int turns = i % 10; turns > 0; --turns) sched_yield();
      Process child(ByServer(), run, go, runs);
      const absl::Status status = child.Start();
      done = true;
      taker.join();
      for (const int fd : taken) close(fd);
      if (status.ok()) {
        ++started;
        go.Set();
        child.Join();
        go.Clear();
      } else {
        ++failed;
        EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      }
    }
    go.Set();
    // What there is of them has ended.
    while (OwnDescendants().size() > 1) sched_yield();
    EXPECT_EQ(*runs, started);
    EXPECT_GT(failed, 0);
    testing::Settle();
    EXPECT_EQ(Check(), absl::OkStatus());
    EXPECT_EQ(testing::AllIds().size(), 2U);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(ForkserverBusyTest, WhatEndsAGroupDoesNotEndTheServer) {
  Child parent([] {
    const Event go;
    Process stays(ByServer(), &ReturnSevenAfter, go);
    Process ends(ByServer(), &ReturnSevenAfter, go);
    ASSERT_TRUE(stays.Start().ok());
    const pid_t server = OwnDescendants().front();
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) kill(server, number);
    ASSERT_TRUE(ends.Start().ok());
    EXPECT_EQ(OwnDescendants().front(), server);
    // To its children they are what they are to any.
    ends.Terminate();
    ends.Join();
    EXPECT_EQ(ends.exitcode(), -SIGTERM);
    go.Set();
    stays.Join();
    EXPECT_EQ(stays.exitcode(), 7);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

// Both take what forks hold, and one of them holds more.
TEST(ForkserverBusyTest, OneThreadForksWhileAnotherStartsTheServer) {
  Child parent([] {
    std::atomic<bool> done = false;
    std::thread forks([&] {
      while (!done) {
        Process child({.start_method = StartMethod::kFork}, [] {});
        if (child.Start().ok()) child.Join();
      }
    });
    for (int i = 0; i < 20; ++i) {
      Process child(ByServer(), [] { return 7; });
      const absl::Status status = child.Start();
      if (!status.ok()) continue;  // killed meanwhile
      child.Join();
      for (const pid_t pid : OwnDescendants()) kill(pid, SIGKILL);
    }
    done = true;
    forks.join();
  });
  EXPECT_EQ(parent.Finish(), 0);
}

}  // namespace
}  // namespace mp
