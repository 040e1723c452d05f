// Daemons die with their parent, whatever ended it, and not with a thread of it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "tests/mp/text_pipe.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

using testing::Inherited;
using testing::PauseForEver;
using testing::TextPipe;

std::vector<pid_t> Threads(pid_t pid) {
  std::vector<pid_t> tids;
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/task"))) {
    tids.push_back(std::stoi(entry.path().filename()));
  }
  return tids;
}

// A daemon calls it when it is ready for the death of its parent.
class Ready {
 public:
  explicit Ready(const TextPipe& said) : said_(said) {}
  void operator()() const { said_.Say("."); }
  int fd() const { return said_.writer(); }

 private:
  const TextPipe& said_;
};

// Whether a daemon that runs `body` dies with its parent, which is killed.
template <class Body>
bool DaemonDiesWithKilledParent(Body body) {
  Inherited<std::atomic<pid_t>> daemon_pid;
  TextPipe ready;
  Process parent([&] {
    Process daemon({.daemon = true}, [&] { body(Ready(ready)); });
    if (!daemon.Start().ok()) return;
    *daemon_pid = daemon.pid();
    ready.Say(".");
    PauseForEver();
  });
  EXPECT_TRUE(parent.Start().ok());
  EXPECT_EQ(ready.Read(2), "..");
  pollfd daemon = {.fd = static_cast<int>(syscall(SYS_pidfd_open, daemon_pid->load(), 0)),
                   .events = POLLIN,
                   .revents = 0};
  EXPECT_EQ(poll(&daemon, 1, 0), 0);  // it lives
  parent.Kill();
  parent.Join();
  EXPECT_EQ(parent.exitcode(), -SIGKILL);
  const bool died = poll(&daemon, 1, -1) == 1;  // the watchdog ends what does not
  close(daemon.fd);
  return died;
}

TEST(ProcessDaemonTest, DiesWithAParentThatIsKilled) {
  EXPECT_TRUE(DaemonDiesWithKilledParent([](Ready ready) {
    ready();
    PauseForEver();
  }));
}

TEST(ProcessDaemonTest, DiesThoughItBlocksAllSignalsAndClosesAllDescriptors) {
  EXPECT_TRUE(DaemonDiesWithKilledParent([](Ready ready) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    const int last = ready.fd();
    syscall(SYS_close_range, 0u, static_cast<unsigned>(last) - 1, 0u);
    syscall(SYS_close_range, static_cast<unsigned>(last) + 1, ~0u, 0u);
    ready();
    close(last);
    PauseForEver();
  }));
}

TEST(ProcessDaemonTest, DiesThoughTheNumberOfItsSentinelIsAnotherFilesByNow) {
  EXPECT_TRUE(DaemonDiesWithKilledParent([](Ready ready) {
    dup2(open("/dev/null", O_RDWR), ParentProcess()->sentinel());
    ready();
    PauseForEver();
  }));
}

TEST(ProcessDaemonTest, IsStillTiedToItsParentAfterItWasStoppedAndContinued) {
  Inherited<std::atomic<pid_t>> daemon_pid;
  TextPipe ready;
  Process parent([&] {
    Process daemon({.daemon = true}, [&] {
      // A wait that begins anew looks its descriptor up again: not here.
      dup2(open("/dev/null", O_RDWR), ParentProcess()->sentinel());
      ready.Say(".");
      PauseForEver();
    });
    if (!daemon.Start().ok()) return;
    *daemon_pid = daemon.pid();
    ready.Say(".");
    PauseForEver();
  });
  ASSERT_TRUE(parent.Start().ok());
  ASSERT_EQ(ready.Read(2), "..");
  const pid_t pid = *daemon_pid;
  pollfd daemon = {
      .fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), .events = POLLIN, .revents = 0};
  kill(pid, SIGSTOP);
  for (const pid_t tid : Threads(pid)) {
    while (testing::LookAt(tid).state != 'T') std::this_thread::yield();
  }
  kill(pid, SIGCONT);
  for (const pid_t tid : Threads(pid)) EXPECT_TRUE(testing::WaitUntilAsleep(tid));
  EXPECT_EQ(poll(&daemon, 1, 0), 0);  // it lives
  parent.Kill();
  parent.Join();
  EXPECT_EQ(poll(&daemon, 1, -1), 1);
  close(daemon.fd);
}

TEST(ProcessDaemonTest, LivesOnWhenOnlyTheThreadThatStartedItEnds) {
  TextPipe question;
  TextPipe answer;
  Process daemon({.daemon = true}, [&] {
    while (question.Read(1) == "?") answer.Say("!");
  });
  std::atomic<pid_t> tid = 0;
  std::thread([&] {
    tid = gettid();
    ASSERT_TRUE(daemon.Start().ok());
  }).join();
  // join() returns before the kernel is through with the thread.
  while (std::filesystem::exists(absl::StrCat("/proc/self/task/", tid.load()))) {
    std::this_thread::yield();
  }
  question.Say("?");
  EXPECT_EQ(answer.Read(1), "!");
  EXPECT_TRUE(daemon.IsAlive());
  daemon.Terminate();
  daemon.Join();
  EXPECT_EQ(daemon.exitcode(), -SIGTERM);
}

TEST(ProcessDaemonTest, KeepsNoPipeOpenThatItsTargetCloses) {
  TextPipe said;
  TextPipe go_on;
  Process daemon({.daemon = true}, [&] {
    close(said.writer());
    go_on.Read(1);
  });
  ASSERT_TRUE(daemon.Start().ok());
  EXPECT_EQ(said.ReadAll(), "");  // ends while the daemon lives
  EXPECT_TRUE(daemon.IsAlive());
  go_on.Say(".");
  daemon.Join();
}

TEST(ProcessDaemonTest, PassesItOnToTheObjectsThatItMakes) {
  Process daemon({.daemon = true},
                 [] { return CurrentProcess().daemon() && Process([] {}).daemon() ? 0 : 1; });
  EXPECT_TRUE(daemon.daemon());
  ASSERT_TRUE(daemon.Start().ok());
  daemon.Join();
  EXPECT_EQ(daemon.exitcode(), 0);
  Process other([] { return CurrentProcess().daemon() || Process([] {}).daemon() ? 1 : 0; });
  EXPECT_FALSE(other.daemon());
  ASSERT_TRUE(other.Start().ok());
  other.Join();
  EXPECT_EQ(other.exitcode(), 0);
}

TEST(ProcessDaemonTest, MayHaveNoChildren) {
  TextPipe said;
  Process daemon({.daemon = true}, [&] {
    Process child({.daemon = false}, [] {});
    const absl::Status status = child.Start();
    said.Say(status.ToString());
    return status.code() == absl::StatusCode::kFailedPrecondition ? 0 : 1;
  });
  ASSERT_TRUE(daemon.Start().ok());
  daemon.Join();
  EXPECT_EQ(daemon.exitcode(), 0);
  const std::string words = said.ReadAll();
  EXPECT_NE(words.find("a daemon may not have children"), std::string::npos) << words;
}

TEST(ProcessDaemonTest, EndsAsOthersDo) {
  Process daemon({.daemon = true}, [] { return 9; });
  ASSERT_TRUE(daemon.Start().ok());
  daemon.Join();
  EXPECT_EQ(daemon.exitcode(), 9);
}

}  // namespace
}  // namespace mp
