// Where there is no room for another process.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "shared/domain.h"
#include "shared/internal/process_table.h"
#include "tests/mp/text_pipe.h"
#include "tests/support/inherited.h"
#include "tests/support/let_fail.h"

namespace mp {
namespace {

using testing::Inherited;
using testing::LetFail;
using testing::TextPipe;

// One type for every target here. The undefined-behaviour sanitizer opens a pipe to look at
// an object of a type that is new to it, which without descriptors it cannot.
using Body = std::function<int()>;

// Runs `body` in a process, whose limits it may spoil; what it returns.
int Spoiled(Body body) {
  Process program(std::move(body));
  EXPECT_TRUE(program.Start().ok());
  program.Join();
  return program.exitcode().value_or(-1);
}

TEST(ProcessLimitsTest, NoProcessesAreLeft) {
  for (const int error : {EAGAIN, ENOMEM}) {
    TextPipe said;
    EXPECT_EQ(Spoiled([&said, error] {
                Process child({.name = "one too many"}, Body([] { return 1; }));
                if (!LetFail(SYS_clone, error)) return 1;
                const absl::Status status = child.Start();
                said.Say(status.ToString());
                if (status.code() != absl::StatusCode::kResourceExhausted) return 2;
                // Nothing has happened: it can be tried again, and fails again.
                if (child.pid() != 0 || child.IsAlive() || !ActiveChildren().empty()) return 3;
                return child.Start().code() == absl::StatusCode::kResourceExhausted ? 0 : 4;
              }),
              0);
    const std::string words = said.ReadAll();
    EXPECT_NE(words.find("one too many"), std::string::npos) << words;
    EXPECT_NE(words.find("fork"), std::string::npos) << words;
  }
}

int forks = 0;

TEST(ProcessLimitsTest, WithoutADescriptorThereIsNoChildAndWithOneThereIs) {
  EXPECT_EQ(Spoiled([] {
              Process child(Body([] { return 7; }));
              pthread_atfork([] { ++forks; }, nullptr, nullptr);
              // What a first start makes has to be there: the family's memory.
              Process first(Body([] { return 0; }));
              if (!first.Start().ok()) return 1;
              first.Join();
              if (!first.Close().ok() || forks != 1) return 2;

              const rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
              setrlimit(RLIMIT_NOFILE, &limit);
              int last = -1;
              for (int fd = dup(0); fd >= 0; fd = dup(0)) last = fd;
              const absl::Status status = child.Start();
              if (status.code() != absl::StatusCode::kResourceExhausted) return 3;
              if (status.message().find("ulimit -n") == std::string::npos) return 7;
              if (forks != 1 || child.pid() != 0) return 4;

              close(last);
              if (!child.Start().ok()) return 5;
              child.Join();
              return child.exitcode() == 7 ? 0 : 6;
            }),
            0);
}

TEST(ProcessLimitsTest, AChildWhoseSentinelCannotBeMadeIsNotLeftBehind) {
  // As if another thread had taken the descriptor that was kept for it.
  EXPECT_EQ(Spoiled([] {
              Process first(Body([] { return 0; }));
              if (!first.Start().ok()) return 4;
              first.Join();
              pthread_atfork(
                  nullptr,
                  [] {
                    const rlimit none = {.rlim_cur = 0, .rlim_max = 1000};
                    setrlimit(RLIMIT_NOFILE, &none);
                  },
                  nullptr);
              Process child(Body([]() -> int {
                for (;;) pause();
              }));
              if (child.Start().code() != absl::StatusCode::kResourceExhausted) return 1;
              if (child.pid() != 0 || !ActiveChildren().empty()) return 2;
              return waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG) == -1 ? 0 : 3;
            }),
            0);
}

TEST(ProcessLimitsTest, NumbersOfInheritedSentinelsMayComeToBeOtherFiles) {
  Process sibling(Body([]() -> int {
    for (;;) pause();
  }));
  ASSERT_TRUE(sibling.Start().ok());
  EXPECT_EQ(Spoiled([] {
              // As a server does that wants none of its parent's descriptors.
              constexpr int kFirst = 3;
              constexpr int kEnd = 40;
              syscall(SYS_close_range, static_cast<unsigned>(kFirst), ~0u, 0u);
              for (int fd = kFirst; fd < kEnd; ++fd) {
                if (open("/dev/null", O_RDONLY) != fd) return 1;
              }
              const auto all_open = [] {
                for (int fd = kFirst; fd < kEnd; ++fd) {
                  if (fcntl(fd, F_GETFD) == -1) return false;
                }
                return true;
              };
              Process child(Body([all_open] { return all_open() ? 0 : 2; }));
              if (!child.Start().ok()) return 3;
              child.Join();
              if (child.exitcode() != 0) return *child.exitcode();
              return all_open() ? 0 : 4;
            }),
            0);
  sibling.Kill();
  sibling.Join();
}

TEST(ProcessLimitsTest, ADaemonThatCannotWatchItsParentDoesNotRun) {
  TextPipe said;
  EXPECT_EQ(Spoiled([&said] {
              said.Take(STDERR_FILENO);
              pthread_atfork(nullptr, nullptr, [] { LetFail(SYS_clone3, EAGAIN); });
              pthread_atfork(nullptr, nullptr, [] { LetFail(SYS_clone, EAGAIN); });
              Process daemon({.name = "blind", .daemon = true}, Body([] { return 0; }));
              if (!daemon.Start().ok()) return 100;
              daemon.Join();
              return *daemon.exitcode();
            }),
            1);
  EXPECT_EQ(said.ReadAll(),
            "Process blind: no thread is left to watch the parent; raise RLIMIT_NPROC, pids.max or "
            "the memory limit\n");
}

TEST(ProcessLimitsTest, WithoutASlotThereIsNoChild) {
  EXPECT_EQ(Spoiled([] {
              Domain& domain = *Domain::Current();
              internal::ProcessTable& table = domain.processes();
              const uint64_t self = domain.ThisProcess().identity();
              while (table.ClaimForChild(self).ok() || table.Grow().ok()) {
              }
              dup2(memfd_create("stderr", 0), STDERR_FILENO);
              const Inherited<bool> has_run(false);
              Process child(Body([&] {
                *has_run = true;
                return 7;
              }));
              const absl::Status status = child.Start();
              if (status.code() != absl::StatusCode::kResourceExhausted) return 1;
              if (status.message().find("MP_RESERVE") == std::string::npos) return 2;
              if (*has_run || child.pid() != 0 || !ActiveChildren().empty()) return 3;
              // And the kernel has none that anybody would have to wait for.
              if (waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD) return 4;
              // Nor has one said anything, at its end.
              struct stat words;
              return fstat(STDERR_FILENO, &words) == 0 && words.st_size == 0 ? 0 : 5;
            }),
            0);
}

}  // namespace
}  // namespace mp
