// Ctrl-C in a terminal: parent and children end, once, and say nothing; the fork server does not
// end before them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mp/joinable_queue.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "mp/queue.h"
#include "mp/signals.h"
#include "mp/start_method.h"
#include "sync/semaphore.h"
#include "sync/value.h"
#include "tests/mp/start_methods.h"
#include "tests/support/pause.h"
#include "tests/support/watchdog.h"

namespace mp {
namespace {

// A program whose terminal the test holds.
class Program {
 public:
  explicit Program(const std::function<void()>& main) {
    fflush(stdout);  // or it comes there, too
    pid_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      main();
      exit(0);
    }
  }
  ~Program() { close(terminal_); }

  void Type(const std::string& keys) const {
    EXPECT_EQ(write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  // What it prints, until that ends so.
  std::string ReadTo(const std::string& end) {
    std::string text;
    char c;
    while (!text.ends_with(end) && read(terminal_, &c, 1) == 1) text.push_back(c);
    return text;
  }
  // The same, until nobody has the terminal any more.
  std::string ReadAll() {
    std::string text;
    for (char c; read(terminal_, &c, 1) == 1 || errno == EINTR;) text.push_back(c);
    return text;
  }
  // As waitpid(2) has it.
  int Status() const {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    return status;
  }

 private:
  int terminal_ = -1;
  pid_t pid_;
};

void Say(const char* what) {
  puts(what);
  fflush(stdout);
}

class TerminalTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  static ProcessOptions Options() { return {.start_method = GetParam()}; }

  // Three of them, in the pauses of which nothing is to happen.
  static std::vector<Process> StartThree() {
    const Semaphore up(0);
    std::vector<Process> children;
    for (int i = 0; i < 3; ++i) {
      children.emplace_back(
          Options(),
          [](const Semaphore& it) {
            it.Release();
            testing::PauseForEver();
          },
          up);
      OrDie(children.back().Start());
    }
    for (int i = 0; i < 3; ++i) up.Acquire();
    return children;
  }
};

INSTANTIATE_TEST_SUITE_P(All, TerminalTest, testing::AllStartMethods(), testing::StartMethodName);

TEST_P(TerminalTest, CtrlCEndsAProgramThatDoesNothingAboutIt) {
  Program program([] {
    const std::vector<Process> children = StartThree();
    Say("ready");
    testing::PauseForEver();
  });
  EXPECT_EQ(program.ReadTo("ready\r\n"), "ready\r\n");
  program.Type("\x03");
  // The end of what is read: nobody is left that has the terminal.
  EXPECT_EQ(program.ReadAll(), "^C");
  const int status = program.Status();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << status;
}

TEST_P(TerminalTest, CtrlCEndsOneThatJoins) {
  Program program([] {
    std::vector<Process> children = StartThree();
    Say("ready");
    for (Process& child : children) child.Join();
    Say("never");
  });
  EXPECT_EQ(program.ReadTo("ready\r\n"), "ready\r\n");
  program.Type("\x03");
  EXPECT_EQ(program.ReadAll(), "^C");
  const int status = program.Status();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << status;
}

TEST_P(TerminalTest, ChildrenOfOneThatHandlesItDieOfIt) {
  Program program([] {
    const SignalHandlers signals;
    OrDie(signals.Handle(SIGINT, [](int) { Say("handled"); }));
    std::vector<Process> children = StartThree();
    Say("ready");
    OrDie(signals.Run());
    for (Process& child : children) {
      child.Join();
      printf("%d ", *child.exitcode());
    }
    Say("");
  });
  EXPECT_EQ(program.ReadTo("ready\r\n"), "ready\r\n");
  program.Type("\x03");
  EXPECT_EQ(program.ReadAll(), "^Chandled\r\n-2 -2 -2 \r\n");
  EXPECT_EQ(program.Status(), 0);
}

// The server forks after it, too.
TEST_P(TerminalTest, AChildIsStartedAfterIt) {
  Program program([] {
    const SignalHandlers signals;
    OrDie(
        signals.Handle(SIGINT, [](int) { Say("handled"); }, {.in_children = InChildren::kIgnore}));
    auto start_one = [] {
      Process child(Options(), [] { return getppid(); });
      OrDie(child.Start());
      child.Join();
      return child.exitcode();
    };
    const std::optional<int> before = start_one();
    Say("ready");
    OrDie(signals.Run());
    // The parent of both: the server, or this process.
    Say(start_one() == before ? "the same" : "another");
  });
  EXPECT_EQ(program.ReadTo("ready\r\n"), "ready\r\n");
  program.Type("\x03");
  EXPECT_EQ(program.ReadAll(), "^Chandled\r\nthe same\r\n");
  EXPECT_EQ(program.Status(), 0);
}

TEST_P(TerminalTest, AServiceEndsItsChildrenItselfInOrder) {
  Program program([] {
    const SignalHandlers signals;
    bool stop = false;
    OrDie(signals.Handle(SIGINT, [&](int) { stop = true; }, {.in_children = InChildren::kIgnore}));
    const JoinableQueue<int> jobs;
    const Value<int> done(0);
    Process worker(
        Options(),
        [](const JoinableQueue<int>& queue, const Value<int>& count) {
          for (absl::StatusOr<int> job; (job = queue.Get()).ok();) {
            count.Update([](int& n) { ++n; });
            queue.TaskDone();
          }
          Say("worker ends");
        },
        jobs, done);
    OrDie(worker.Start());
    for (int i = 0; i < 1000; ++i) OrDie(jobs.Put(i));
    Say("ready");
    while (!stop) OrDie(signals.Run());
    jobs.Shutdown();
    OrDie(jobs.Join());
    worker.Join();
    printf("%d done, worker: %d\n", done.Get(), *worker.exitcode());
  });
  EXPECT_EQ(program.ReadTo("ready\r\n"), "ready\r\n");
  program.Type("\x03");
  EXPECT_EQ(program.ReadAll(), "^Cworker ends\r\n1000 done, worker: 0\r\n");
  EXPECT_EQ(program.Status(), 0);
}

TEST_P(TerminalTest, OneThatEndsBySignalEndsItsChildrenFirst) {
  Program program([] {
    const SignalHandlers signals;
    OrDie(signals.Handle(SIGINT,
                         [](int signal) {
                           fputs("parent ", stdout);  // is written when it ends
                           EndBySignal(signal);
                         },
                         {.in_children = InChildren::kIgnore}));
    const Queue<int> up;
    Process child(
        Options(),
        [](const Queue<int>& ready) {
          const SignalHandlers own;
          OrDie(own.Handle(SIGTERM, [](int) { Say("child"); }));
          OrDie(ready.Put(1));
          OrDie(own.Run());
        },
        up);
    OrDie(child.Start());
    OrDie(up.Get());
    Say("ready");
    for (;;) OrDie(signals.Run());
  });
  EXPECT_EQ(program.ReadTo("ready\r\n"), "ready\r\n");
  program.Type("\x03");
  EXPECT_EQ(program.ReadAll(), "^Cchild\r\nparent ");
  const int status = program.Status();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << status;
}

}  // namespace
}  // namespace mp
