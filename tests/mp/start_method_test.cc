// What all ways to start a process have in common, and what only those have that inherit nothing.
//
// The program's main() is mp::gtest_main's: a child that is spawned is this program again.

#include "mp/start_method.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/fd.h"
#include "mp/or_die.h"
#include "mp/pipe.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "mp/queue.h"
#include "mp/signals.h"
#include "mp/type_name.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/mp/left_behind.h"
#include "tests/mp/start_methods.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

// Made before main(), and so before Init(), in every process.
const Lock made_before_main;

class StartMethodTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  ProcessOptions Options() const { return {.start_method = GetParam()}; }
  // The exit code of what is started with these.
  template <class... A>
  std::optional<int> Run(A&&... a) {
    Process child(Options(), std::forward<A>(a)...);
    const absl::Status started = child.Start();
    EXPECT_TRUE(started.ok()) << started;
    if (!started.ok()) return std::nullopt;
    child.Join();
    return child.exitcode();
  }
  bool Inherits() const { return GetParam() == StartMethod::kFork; }
};

INSTANTIATE_TEST_SUITE_P(All, StartMethodTest, testing::AllStartMethods(),
                         testing::StartMethodName);

int Sum(const std::vector<int>& numbers, const std::string& word) {
  int sum = static_cast<int>(word.size());
  for (const int number : numbers) sum += number;
  return sum;
}

struct Calls {
  static int Static(int number) { return number + 1; }
  int offset = 10;
  int operator()(int number) const { return number + offset; }
};

TEST_P(StartMethodTest, RunsItsTargetWithItsArguments) {
  EXPECT_EQ(Run(&Sum, std::vector<int>{1, 2, 3}, "four"), 10);
  EXPECT_EQ(Run(&Calls::Static, 41), 42);
  EXPECT_EQ(Run(Calls{.offset = 20}, 2), 22);
  EXPECT_EQ(Run([](int a, int b) { return a * b; }, 6, 7), 42);
  EXPECT_EQ(Run([](int (*f)(int), int n) { return f(n); }, &Calls::Static, 5), 6);
  EXPECT_EQ(Run([](const std::unique_ptr<int>& n) { return *n; }, std::make_unique<int>(9)), 9);
}

TEST_P(StartMethodTest, TellsHowItEnded) {
  EXPECT_EQ(Run([] {}), 0);
  EXPECT_EQ(Run([] { return absl::OkStatus(); }), 0);
  EXPECT_EQ(Run([] { return absl::InternalError("as the test wants it"); }), 1);
  EXPECT_EQ(Run([] { throw std::runtime_error("as the test wants it"); }), 1);
  EXPECT_EQ(Run([] { std::exit(3); }), 3);
  EXPECT_EQ(Run([] { return 300; }), 300 & 0xff);
  EXPECT_EQ(Run([] { raise(SIGKILL); }), -SIGKILL);
  EXPECT_EQ(Run([] { raise(SIGTERM); }), -SIGTERM);
}

TEST_P(StartMethodTest, CannotSendWhatHasCapturesButForks) {
  int number = 5;
  Process child(
      Options(), [number](int more) { return number + more; }, 1);
  const absl::Status started = child.Start();
  if (Inherits()) {
    ASSERT_TRUE(started.ok()) << started;
    child.Join();
    EXPECT_EQ(child.exitcode(), 6);
  } else {
    EXPECT_TRUE(absl::IsInvalidArgument(started)) << started;
    EXPECT_TRUE(absl::StrContains(started.message(), "captures")) << started;
    EXPECT_EQ(child.pid(), 0);
  }
}

TEST_P(StartMethodTest, NamesTheArgumentThatCannotBeSent) {
  if (Inherits()) return;
  int number = 5;
  Process child(
      Options(), [](int* pointer) { return *pointer; }, &number);
  const absl::Status started = child.Start();
  EXPECT_TRUE(absl::IsInvalidArgument(started)) << started;
  EXPECT_TRUE(absl::StrContains(started.message(), TypeName<int*>())) << started;
}

TEST_P(StartMethodTest, SharesWhatItIsGivenThoughItsStarterHasDroppedIt) {
  Event done;
  Process child;
  {
    const RawValue<int> value(20);
    const Shared<int> shared(22);
    child = Process(
        Options(),
        [](const Event& ended, const RawValue<int>& a, const Shared<int>& b) {
          const int sum = *a + *b;
          ended.Set();
          return sum;
        },
        done, value, shared);
    ASSERT_TRUE(child.Start().ok());
  }
  done.Wait();
  child.Join();
  EXPECT_EQ(child.exitcode(), 42);
}

TEST_P(StartMethodTest, TakesTurnsOnALock) {
  const Lock lock;
  const RawValue<int> count(0);
  std::vector<Process> children;
  for (int i = 0; i < 4; ++i) {
    children.emplace_back(
        Options(),
        [](const Lock& turn, const RawValue<int>& counter) {
          for (int j = 0; j < 500; ++j) {
            const LockGuard guard(turn);
            *counter = *counter + 1;
          }
        },
        lock, count);
    ASSERT_TRUE(children.back().Start().ok());
  }
  for (const Process& child : children) child.Join();
  EXPECT_EQ(*count, 2000);
}

TEST_P(StartMethodTest, LearnsThatTheHolderOfALockWasKilled) {
  const Lock lock;
  EXPECT_EQ(Run(
                [](const Lock& held) {
                  const LockGuard guard(held);
                  raise(SIGKILL);
                },
                lock),
            -SIGKILL);
  lock.Acquire();
  EXPECT_TRUE(lock.owner_died());
  lock.Release();
}

TEST_P(StartMethodTest, TalksThroughQueuesAndConnections) {
  const Queue<std::string> jobs;
  auto [mine, its] = Pipe();
  Process child(
      Options(),
      [](const Queue<std::string>& queue, const Connection& out) {
        for (;;) {
          const absl::StatusOr<std::string> job = queue.Get();
          if (!job.ok()) return out.Send(job.status().ToString());
          if (absl::Status sent = out.Send(absl::StrCat(*job, "!")); !sent.ok()) return sent;
        }
      },
      jobs, its);
  ASSERT_TRUE(child.Start().ok());
  its.Close();
  ASSERT_TRUE(jobs.Put("one").ok());
  ASSERT_TRUE(jobs.Put("two").ok());
  EXPECT_EQ(*mine.Recv<std::string>(), "one!");
  EXPECT_EQ(*mine.Recv<std::string>(), "two!");
  jobs.Shutdown();
  EXPECT_TRUE(mine.Recv<std::string>().ok());
  // The end: nobody else has the other one.
  EXPECT_TRUE(absl::IsOutOfRange(mine.Recv<std::string>().status()));
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_P(StartMethodTest, GetsDescriptors) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const Fd read_end(fds[0]);
  Process child(
      Options(), [](const Fd& out) { return write(out.get(), "hello", 5) == 5 ? 0 : 1; },
      Fd(fds[1]));
  ASSERT_TRUE(child.Start().ok());
  char text[8] = {};
  EXPECT_EQ(read(read_end.get(), text, sizeof(text)), 5);
  EXPECT_STREQ(text, "hello");
  EXPECT_EQ(read(read_end.get(), text, sizeof(text)), 0);
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_P(StartMethodTest, KnowsWhoItIs) {
  // "Process-7": the next one is the eighth of this process, whatever it is called.
  const std::string last = Process([] {}).name();
  int number = 0;
  ASSERT_TRUE(absl::SimpleAtoi(last.substr(last.find('-') + 1), &number)) << last;
  Process child(
      {.name = "worker", .start_method = GetParam()},
      [](pid_t parent, StartMethod method, const std::string& name_of_first) {
        const ProcessInfo self = CurrentProcess();
        if (self.name() != "worker" || self.pid() != getpid() || self.daemon()) return 1;
        const std::optional<ProcessInfo> starter = ParentProcess();
        if (!starter.has_value() || starter->pid() != parent || !starter->IsAlive()) return 2;
        if (starter->name() != "MainProcess") return 3;
        if (GetStartMethod() != method) return 4;
        if (!ActiveChildren().empty()) return 5;
        return Process([] {}).name() == name_of_first ? 0 : 6;
      },
      getpid(), GetParam(), absl::StrCat("Process-", number + 1, ":1"));
  ASSERT_TRUE(child.Start().ok());
  EXPECT_TRUE(child.IsAlive() || child.exitcode().has_value());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_P(StartMethodTest, HasChildrenOfItsOwn) {
  const Queue<int> numbers;
  EXPECT_EQ(Run(
                [](const Queue<int>& queue) {
                  Process grandchild([](const Queue<int>& out) { return out.Put(7); }, queue);
                  if (!grandchild.Start().ok()) return 1;
                  grandchild.Join();
                  return *grandchild.exitcode();
                },
                numbers),
            0);
  EXPECT_EQ(*numbers.TryGet(), 7);
}

TEST_P(StartMethodTest, AGlobalHandleWorks) {
  EXPECT_EQ(Run([] {
              const LockGuard guard(made_before_main);
              return 0;
            }),
            0);
}

TEST_P(StartMethodTest, AGlobalHandleMayBeHandedOver) {
  made_before_main.Acquire();
  EXPECT_EQ(Run(
                [](const Lock& given, bool inherits) {
                  auto is_free = [](const Lock& lock) {
                    if (!lock.TryAcquire()) return false;
                    lock.Release();
                    return true;
                  };
                  if (is_free(given)) return 1;
                  // Its own global is another lock, unless it was inherited.
                  return is_free(made_before_main) == inherits ? 2 : 0;
                },
                made_before_main, Inherits()),
            0);
  made_before_main.Release();
}

TEST_P(StartMethodTest, RunsWhatItRegisteredForItsExit) {
  const RawValue<int> value(0);
  EXPECT_EQ(Run(
                [](const RawValue<int>& ended) {
                  static const RawValue<int>& told = *new RawValue<int>(ended);
                  std::atexit([] { *told += 1; });
                },
                value),
            0);
  EXPECT_EQ(*value, 1);
}

TEST_P(StartMethodTest, EndsWithTheSignalsItIsSent) {
  for (const int signal : {SIGTERM, SIGKILL, SIGINT}) {
    const Event started;
    Process child(
        Options(),
        [](const Event& here) {
          here.Set();
          for (;;) pause();
        },
        started);
    ASSERT_TRUE(child.Start().ok());
    started.Wait();
    EXPECT_TRUE(child.IsAlive());
    EXPECT_FALSE(child.Join(absl::ZeroDuration()));
    if (signal == SIGTERM) child.Terminate();
    if (signal == SIGKILL) child.Kill();
    if (signal == SIGINT) child.Interrupt();
    child.Join();
    EXPECT_EQ(child.exitcode(), -signal);
    EXPECT_TRUE(child.Close().ok());
  }
}

TEST_P(StartMethodTest, HasNoSignalHandlersOfItsStarterAndIgnoresWhatThatSays) {
  const SignalHandlers signals;
  for (const int signal : {SIGINT, SIGUSR1}) {
    ASSERT_TRUE(signals.Handle(signal, [](int) {}, {.in_children = InChildren::kIgnore}).ok());
  }
  ASSERT_TRUE(signals.Handle(SIGTERM, [](int) {}).ok());
  ASSERT_TRUE(signals.Handle(SIGUSR2, [](int) {}, {.in_children = InChildren::kDefault}).ok());
  EXPECT_EQ(Run([] {
              auto does = [](int signal, void (*what)(int)) {
                struct sigaction action;
                return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == what;
              };
              if (!does(SIGINT, SIG_IGN) || !does(SIGUSR1, SIG_IGN)) return 1;
              if (!does(SIGTERM, SIG_DFL) || !does(SIGUSR2, SIG_DFL)) return 2;
              // It has its own.
              const SignalHandlers own;
              int ran = 0;
              OrDie(own.Handle(SIGINT, [&](int) { ++ran; }));
              raise(SIGINT);
              OrDie(own.Run());
              OrDie(own.Restore(SIGINT));
              return ran == 1 && does(SIGINT, SIG_IGN) ? 0 : 3;
            }),
            0);
  // Of the next one that was not told so it is by default.
  ASSERT_TRUE(signals.Restore(SIGINT).ok());
  EXPECT_EQ(Run([] {
              struct sigaction action;
              sigaction(SIGINT, nullptr, &action);
              return action.sa_handler == SIG_DFL ? 0 : 1;
            }),
            0);
}

TEST_P(StartMethodTest, LeavesNothingBehind) {
  EXPECT_EQ(Run([] {}), 0);  // so that there is a fork server
  const size_t objects = ListObjects().size();
  const int before = testing::Descriptors();
  for (int i = 0; i < 20; ++i) {
    const RawValue<int> value(i);
    EXPECT_EQ(Run([](const RawValue<int>& number) { return *number; }, value), i);
  }
  EXPECT_EQ(testing::Descriptors(), before);
  EXPECT_EQ(ListObjects().size(), objects);
  EXPECT_TRUE(Check().ok()) << Check();
  EXPECT_TRUE(ActiveChildren().empty());
}

// Only where nothing is inherited ----------------------------------------------------------------

class SpawnTest : public StartMethodTest {};
INSTANTIATE_TEST_SUITE_P(All, SpawnTest, testing::StartMethodsButFork(), testing::StartMethodName);

// What this process has open: each number up to 2, and what the others are, in order.
std::vector<std::string> OpenFiles() {
  std::vector<std::string> files;
  DIR* const folder = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(folder)) {
    int fd = -1;
    if (!absl::SimpleAtoi(entry->d_name, &fd) || fd == dirfd(folder)) continue;
    char target[256] = {};
    if (readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), target, sizeof(target) - 1) < 0) {
      continue;
    }
    std::string file = target;
    // Without what differs each time: the inode of a socket, where a file is that has no name.
    if (!absl::StartsWith(file, "anon_inode:") && fd > STDERR_FILENO) {
      file = file.substr(0, file.find_first_of(":( "));
    }
    files.push_back(fd > STDERR_FILENO ? file : absl::StrCat(fd, " ", file));
  }
  closedir(folder);
  std::sort(files.begin(), files.end());
  return files;
}

TEST_P(SpawnTest, HasNoDescriptorThatItWasNotGiven) {
  // So that there is a fork server, which children get to know.
  Process first({.start_method = StartMethod::kForkserver}, [] {});
  ASSERT_TRUE(first.Start().ok());
  first.Join();
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const Fd in(fds[0]);
  const Fd out(fds[1]);
  const Fd others[] = {Fd(open("/proc/self/status", O_RDONLY)),  // not close-on-exec
                       Fd(open("/proc/self/status", O_RDONLY | O_CLOEXEC))};
  const Queue<std::vector<std::string>> told;
  EXPECT_EQ(
      Run([](const Queue<std::vector<std::string>>& to, const Fd&) { return to.Put(OpenFiles()); },
          told, Fd(dup(out.get()))),
      0);
  std::vector<std::string> expected;
  for (const std::string& file : OpenFiles()) {
    if (absl::StartsWith(file, "1 ") || absl::StartsWith(file, "2 ")) expected.push_back(file);
  }
  // The null device, the domain, its parent, the fork server with both sockets of the pipe to it,
  // and what it was given.
  expected.insert(expected.end(), {"0 /dev/null", "/memfd", "anon_inode:[pidfd]",
                                   "anon_inode:[pidfd]", "socket", "socket", "pipe"});
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(OrDie(told.TryGet()), expected);
}

TEST_P(SpawnTest, HasTheFolderOfItsStarter) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path("/");
  EXPECT_EQ(Run([] { return std::filesystem::current_path() == "/" ? 0 : 1; }), 0);
  std::filesystem::current_path(before);
}

TEST_P(SpawnTest, HasNoSignalBlockedOrIgnored) {
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  auto* const handler = signal(SIGHUP, SIG_IGN);
  EXPECT_EQ(Run([] {
              sigset_t mask;
              sigprocmask(SIG_BLOCK, nullptr, &mask);
              struct sigaction action;
              sigaction(SIGHUP, nullptr, &action);
              return sigismember(&mask, SIGTERM) == 0 && action.sa_handler == SIG_DFL ? 0 : 1;
            }),
            0);
  signal(SIGHUP, handler);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST(SpawnOnlyTest, StartsOnlyCopiesOfItself) {
  Process other({.start_method = StartMethod::kSpawn, .executable = "/bin/true"}, [] {});
  EXPECT_TRUE(absl::IsInvalidArgument(other.Start()));
  Process missing({.start_method = StartMethod::kSpawn, .executable = "/no/such/file"}, [] {});
  EXPECT_TRUE(absl::IsNotFound(missing.Start()));
  Process same({.start_method = StartMethod::kSpawn, .executable = "/proc/self/exe"},
               [] { return 4; });
  ASSERT_TRUE(same.Start().ok());
  same.Join();
  EXPECT_EQ(same.exitcode(), 4);
  Process forked({.start_method = StartMethod::kFork, .executable = "/proc/self/exe"}, [] {});
  EXPECT_TRUE(absl::IsInvalidArgument(forked.Start()));
}

// The fork server --------------------------------------------------------------------------------

pid_t ParentOf(pid_t pid) {
  std::string text;
  const std::string path = absl::StrCat("/proc/", pid, "/stat");
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[512] = {};
  if (read(file.get(), buffer, sizeof(buffer) - 1) <= 0) return 0;
  const char* const after = std::strrchr(buffer, ')');
  char state;
  int parent = 0;
  return std::sscanf(after + 1, " %c %d", &state, &parent) == 2 ? parent : 0;
}

// Whatever numbers those have that are left.
TEST(ForkserverTest, AChildHasNoDescriptorOfItsSiblings) {
  const ProcessOptions options = {.start_method = StartMethod::kForkserver};
  auto count = [&] {
    Process child(options, [] { return testing::Descriptors(); });
    OrDie(child.Start());
    child.Join();
    return child.exitcode();
  };
  const std::optional<int> alone = count();
  std::vector<Process> siblings;
  for (int i = 0; i < 100; ++i) {
    siblings.emplace_back(options, &testing::PauseForEver);
    OrDie(siblings.back().Start());
  }
  EXPECT_EQ(count(), alone);
  // Runs of several lengths stay, and then nothing.
  for (const size_t step : {size_t{7}, size_t{3}, size_t{1}}) {
    for (size_t i = 0; i < siblings.size(); i += step) {
      siblings[i].Kill();
      siblings[i].Join();
    }
    EXPECT_EQ(count(), alone);
  }
}

TEST(ForkserverTest, IsOneForAllAndIsReplacedWhenItIsKilled) {
  const Event end;
  std::vector<Process> children;
  auto start = [&] {
    children.emplace_back(
        ProcessOptions{.start_method = StartMethod::kForkserver},
        [](const Event& over) { over.Wait(); }, end);
    return children.back().Start();
  };
  ASSERT_TRUE(start().ok());
  ASSERT_TRUE(start().ok());
  const pid_t server = ParentOf(children[0].pid());
  EXPECT_NE(server, getpid());
  EXPECT_EQ(ParentOf(children[1].pid()), server);
  kill(server, SIGKILL);
  EXPECT_TRUE(children[0].IsAlive());
  // Whether it is seen dead at once, or after the request was sent.
  ASSERT_TRUE(start().ok());
  EXPECT_TRUE(children[0].IsAlive());
  EXPECT_NE(ParentOf(children[2].pid()), server);
  end.Set();
  for (const Process& child : children) child.Join();
  // Nobody knows how they ended.
  EXPECT_EQ(children[0].exitcode(), 255);
  EXPECT_EQ(children[2].exitcode(), 0);
}

}  // namespace
}  // namespace mp
