#include "mp/process_info.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/process.h"
#include "tests/mp/text_pipe.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

using testing::Gate;
using testing::Inherited;
using testing::PauseForEver;
using testing::TextPipe;

TEST(ProcessInfoTest, TheMainProcessHasItsNameAndNoParent) {
  const ProcessInfo self = CurrentProcess();
  EXPECT_EQ(self.name(), "MainProcess");
  EXPECT_EQ(self.pid(), getpid());
  EXPECT_FALSE(self.daemon());
  EXPECT_TRUE(self.IsAlive());
  EXPECT_EQ(ParentProcess(), std::nullopt);
}

TEST(ProcessInfoTest, AChildKnowsItselfAndItsParent) {
  const pid_t main_pid = getpid();
  Process child({.name = "child"}, [main_pid] {
    const ProcessInfo self = CurrentProcess();
    if (self.name() != "child" || self.pid() != getpid() || !self.IsAlive()) return 1;
    const std::optional<ProcessInfo> parent = ParentProcess();
    if (!parent.has_value()) return 2;
    if (parent->pid() != main_pid || parent->name() != "MainProcess" || parent->daemon()) return 3;
    if (!parent->IsAlive() || parent->Join(absl::ZeroDuration())) return 4;
    return 0;
  });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST(ProcessInfoTest, AnOrphanNoticesTheDeathOfItsParent) {
  TextPipe said;
  Process parent({.name = "parent"}, [&] {
    Process orphan([&] {
      const ProcessInfo parent = *ParentProcess();
      said.Say(absl::StrCat(parent.name(), parent.IsAlive() ? " lives " : " is dead "));
      if (!parent.Join(absl::InfiniteDuration())) said.Say("no timeout, but false ");
      pollfd ended = {.fd = parent.sentinel(), .events = POLLIN, .revents = 0};
      said.Say(poll(&ended, 1, 0) == 1 && !parent.IsAlive() && !ParentProcess()->IsAlive()
                   ? "and is dead"
                   : "and lives");
    });
    (void)orphan.Start();
    PauseForEver();
  });
  ASSERT_TRUE(parent.Start().ok());
  EXPECT_EQ(said.Read(13), "parent lives ");
  parent.Kill();
  parent.Join();
  EXPECT_EQ(said.ReadAll(), "and is dead");
}

TEST(ProcessInfoTest, TellsOfTheParentToTheChildrenOfTheChildToo) {
  TextPipe said;
  Inherited<Gate> gate;
  Process parent([&] {
    Process child([&] {
      const ProcessInfo parent = *ParentProcess();
      Process grand([&said, parent] {
        said.Say(parent.IsAlive() ? "lives " : "is dead ");
        (void)parent.Join(absl::InfiniteDuration());
        said.Say(parent.IsAlive() ? "lives" : "is dead");
      });
      (void)grand.Start();
      grand.Join();
    });
    (void)child.Start();
    gate->Wait();
    _exit(0);
  });
  ASSERT_TRUE(parent.Start().ok());
  EXPECT_EQ(said.Read(6), "lives ");
  gate->Open();
  EXPECT_EQ(said.ReadAll(), "is dead");
}

TEST(ProcessInfoTest, ActiveChildrenAreThoseThatRun) {
  EXPECT_TRUE(ActiveChildren().empty());
  Inherited<Gate> gate;
  Process first({.name = "first"}, [&] { gate->Wait(); });
  Process second({.name = "second", .daemon = true}, &PauseForEver);
  Process not_started({.name = "not started"}, &PauseForEver);
  ASSERT_TRUE(first.Start().ok());
  ASSERT_TRUE(second.Start().ok());

  const std::vector<ProcessInfo> both = ActiveChildren();
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].name(), "first");
  EXPECT_EQ(both[0].pid(), first.pid());
  EXPECT_FALSE(both[0].daemon());
  EXPECT_TRUE(both[0].IsAlive());
  EXPECT_FALSE(both[0].Join(absl::Milliseconds(1)));
  EXPECT_EQ(both[1].name(), "second");
  EXPECT_TRUE(both[1].daemon());

  gate->Open();
  EXPECT_TRUE(both[0].Join(absl::InfiniteDuration()));
  EXPECT_FALSE(both[0].IsAlive());
  ASSERT_EQ(ActiveChildren().size(), 1u);
  EXPECT_EQ(waitpid(both[0].pid(), nullptr, WNOHANG), -1);  // reaped
  EXPECT_EQ(first.exitcode(), 0);

  second.Kill();
  second.Join();
  EXPECT_TRUE(ActiveChildren().empty());
  EXPECT_EQ(both[1].name(), "second");  // still tells
  EXPECT_FALSE(both[1].IsAlive());
}

TEST(ProcessInfoTest, AChildBeginsWithoutChildren) {
  Process sibling(&PauseForEver);
  ASSERT_TRUE(sibling.Start().ok());
  Process child([] {
    if (!ActiveChildren().empty()) return 1;
    Process grand([] {});
    if (!grand.Start().ok()) return 2;
    grand.Join();
    return ActiveChildren().empty() ? 0 : 3;
  });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_TRUE(sibling.IsAlive());
  sibling.Kill();
  sibling.Join();
}

TEST(ProcessInfoTest, ItsSentinelOutlivesTheProcessObjectThatIsClosed) {
  Inherited<Gate> gate;
  Process child([&] { gate->Wait(); });
  ASSERT_TRUE(child.Start().ok());
  const ProcessInfo info = ActiveChildren().at(0);
  gate->Open();
  child.Join();
  ASSERT_TRUE(child.Close().ok());
  EXPECT_TRUE(info.Join(absl::ZeroDuration()));
  EXPECT_FALSE(info.IsAlive());
}

const ProcessInfo* Find(const std::vector<ProcessInfo>& all, pid_t pid) {
  for (const ProcessInfo& process : all) {
    if (process.pid() == pid) return &process;
  }
  return nullptr;
}

TEST(ProcessInfoTest, AllProcessesAreTheWholeFamily) {
  Inherited<pid_t> grandchild_pid;
  Inherited<Gate> all_there;
  Inherited<Gate> seen;
  Process child({.name = "child"}, [&] {
    Process grandchild({.name = "grandchild"}, [&] {
      all_there->Open();
      seen->Wait();
    });
    if (!grandchild.Start().ok()) return 1;
    *grandchild_pid = grandchild.pid();
    grandchild.Join();
    return 0;
  });
  ASSERT_TRUE(child.Start().ok());
  Process daemon({.name = "daemon", .daemon = true}, PauseForEver);
  ASSERT_TRUE(daemon.Start().ok());
  const pid_t copy = fork();  // of this process, without a Process
  if (copy == 0) PauseForEver();
  all_there->Wait();

  std::vector<ProcessInfo> all;
  // They have told their names when they run, which is soon.
  auto told = [&](pid_t pid, const char* name) {
    const ProcessInfo* process = Find(all, pid);
    return process != nullptr && process->name() == name;
  };
  do {
    all = AllProcesses();
  } while (!told(child.pid(), "child") || !told(*grandchild_pid, "grandchild") ||
           !told(daemon.pid(), "daemon") || !told(copy, "MainProcess"));
  EXPECT_EQ(all.size(), 5u);
  EXPECT_TRUE(told(getpid(), "MainProcess"));
  EXPECT_TRUE(Find(all, daemon.pid())->daemon());
  EXPECT_FALSE(Find(all, child.pid())->daemon());
  for (const ProcessInfo& process : all) EXPECT_TRUE(process.IsAlive());

  const ProcessInfo ends = *Find(all, *grandchild_pid);
  seen->Open();
  EXPECT_TRUE(ends.Join(absl::InfiniteDuration()));
  child.Join();
  daemon.Kill();
  daemon.Join();
  EXPECT_EQ(child.exitcode(), 0);
  // Before anybody has waited for it.
  kill(copy, SIGKILL);
  while (Find(AllProcesses(), copy) != nullptr) {
  }
  EXPECT_EQ(waitpid(copy, nullptr, 0), copy);
  EXPECT_EQ(AllProcesses().size(), 1u);
}

TEST(ProcessInfoTest, ALongNameIsCut) {
  Inherited<Gate> seen;
  Process child({.name = std::string(200, 'x')}, [&] { seen->Wait(); });
  ASSERT_TRUE(child.Start().ok());
  std::string name;
  while (name != std::string(55, 'x')) {
    const std::vector<ProcessInfo> all = AllProcesses();
    const ProcessInfo* process = Find(all, child.pid());
    if (process != nullptr) name = process->name();
  }
  seen->Open();
  child.Join();
}

}  // namespace
}  // namespace mp
