// Where there is no room for another process that inherits nothing: not here, and not at the fork
// server.
//
// Each test is in a process of its own, which spoils its limits, and whose family is its own. No
// matchers where descriptors are short: a sanitizer that looks at one needs some.

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/fd.h"
#include "mp/forkserver.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "mp/start_method.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/process_table.h"
#include "shared/raw_value.h"
#include "sync/event.h"
#include "tests/mp/footprint.h"
#include "tests/mp/start_methods.h"
#include "tests/support/child.h"
#include "tests/support/let_fail.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Child;
using testing::Footprint;
using testing::LetFail;

class StartLimitsTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  static Process Make() {
    return Process(
        {.start_method = GetParam()}, [](int code) { return code; }, 7);
  }
  static void ExpectWorks() {
    Process child = Make();
    ASSERT_TRUE(child.Start().ok());
    child.Join();
    EXPECT_EQ(child.exitcode(), 7);
  }
  static void ExpectNoRoom() {
    Process child = Make();
    EXPECT_EQ(child.Start().code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(child.pid(), 0);
    EXPECT_TRUE(ActiveChildren().empty());
  }
};

INSTANTIATE_TEST_SUITE_P(All, StartLimitsTest, testing::StartMethodsButFork(),
                         testing::StartMethodName);

// All that are left, at most to number 99.
std::vector<int> TakeDescriptors() {
  const rlimit limit = {.rlim_cur = 100, .rlim_max = 100};
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  std::vector<int> taken;
  for (int fd = dup(STDOUT_FILENO); fd >= 0; fd = dup(STDOUT_FILENO)) taken.push_back(fd);
  return taken;
}

void Close(const std::vector<int>& fds) {
  for (const int fd : fds) close(fd);
}

// Here ------------------------------------------------------------------------------------------

TEST_P(StartLimitsTest, WithoutDescriptorsItIsAStatusAndWithEnoughItWorks) {
  for (const bool first_start : {true, false}) {
    Child parent([first_start] {
      if (!first_start) ExpectWorks();
      ASSERT_TRUE(Domain::Get().ok());
      std::vector<int> taken = TakeDescriptors();
      size_t left = 0;
      for (absl::Status status;; ++left) {
        Process child = Make();
        status = child.Start();
        if (status.ok()) {
          child.Join();
          EXPECT_EQ(child.exitcode(), 7);
          break;
        }
        EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << left << ": " << status;
        EXPECT_EQ(child.pid(), 0);
        EXPECT_TRUE(ActiveChildren().empty());
        // As many are left as before, unless there is a fork server now; and then one more.
        const std::vector<int> still = TakeDescriptors();
        if (!first_start || GetParam() == StartMethod::kSpawn) {
          EXPECT_EQ(still.size(), left);
        }
        Close(still);
        left = still.size();
        close(taken.back());
        taken.pop_back();
        ASSERT_FALSE(taken.empty());
      }
      EXPECT_GT(left, 0U);
      Close(taken);
      EXPECT_EQ(Check(), absl::OkStatus());
      EXPECT_EQ(testing::AllIds().size(), GetParam() == StartMethod::kSpawn ? 1U : 2U);
    });
    EXPECT_EQ(parent.Finish(), 0);
  }
}

TEST_P(StartLimitsTest, WithoutProcessesItIsAStatus) {
  Child parent([] {
    ExpectWorks();
    const Footprint before = Footprint::Measure();
    if (GetParam() == StartMethod::kSpawn) {
      ASSERT_TRUE(LetFail(SYS_clone, EAGAIN));
    } else {
      // By a server that may not fork.
      ASSERT_EQ(kill(testing::OwnDescendants().front(), SIGKILL), 0);
      SetForkserverPreload([] { LetFail(SYS_clone, EAGAIN); });
    }
    for (int i = 0; i < 3; ++i) ExpectNoRoom();
    EXPECT_EQ(Footprint::Await(before), before);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST_P(StartLimitsTest, WithoutASlotItIsAStatus) {
  Child parent([] {
    // With few slots.
    ASSERT_TRUE(ConfigureDomain({.reserve = size_t{256} << 20}).ok());
    ExpectWorks();
    Footprint before = Footprint::Measure();
    Domain& domain = *Domain::Current();
    internal::ProcessTable& table = domain.processes();
    const internal::ProcessId self = domain.ThisProcess().identity();
    std::vector<internal::ProcessId> taken;
    for (;;) {
      const absl::StatusOr<internal::ProcessId> id = table.ClaimForChild(self);
      if (id.ok()) {
        taken.push_back(*id);
      } else if (!table.Grow().ok()) {
        break;
      }
    }
    before.slots = table.committed();
    before.committed = Stats().committed;
    for (int i = 0; i < 3; ++i) ExpectNoRoom();
    for (const internal::ProcessId id : taken) table.ChildNotForked(id);
    ExpectWorks();
    EXPECT_EQ(Footprint::Measure(), before);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST_P(StartLimitsTest, WithoutMemoryInTheDomainItIsAStatus) {
  Child parent([] {
    ASSERT_TRUE(ConfigureDomain({.commit_limit = size_t{32} << 20}).ok());
    auto start = [](const std::string& text) {
      Process child(
          {.start_method = GetParam()},
          [](const std::string& word) { return static_cast<int>(word.size() & 0x7f); }, text);
      const absl::Status status = child.Start();
      if (status.ok()) {
        child.Join();
        EXPECT_EQ(child.exitcode(), static_cast<int>(text.size() & 0x7f));
      }
      return status;
    };
    const std::string word(size_t{1} << 20 | 5, 'x');
    ASSERT_TRUE(start(word).ok());
    const Footprint before = Footprint::Measure();
    Domain& domain = *Domain::Current();
    std::vector<void*> taken;
    for (size_t size = size_t{1} << 20; size >= 16; size /= 2) {
      for (;;) {
        const absl::StatusOr<void*> block = domain.Allocate(size);
        if (!block.ok()) break;
        taken.push_back(*block);
      }
    }
    for (int i = 0; i < 3; ++i) EXPECT_EQ(start(word).code(), StatusCode::kResourceExhausted);
    EXPECT_TRUE(ActiveChildren().empty());
    EXPECT_EQ(testing::AllIds().size(), before.members);
    for (void* const block : taken) domain.Free(block);
    EXPECT_TRUE(start(word).ok());
    Footprint after = Footprint::Measure();
    after.committed = before.committed;  // what was taken may stay
    EXPECT_EQ(after, before);
    EXPECT_EQ(Check(), absl::OkStatus());
  });
  EXPECT_EQ(parent.Finish(), 0);
}

// At the fork server -----------------------------------------------------------------------------

using ForkserverLimitsTest = StartLimitsTest;

INSTANTIATE_TEST_SUITE_P(, ForkserverLimitsTest, ::testing::Values(StartMethod::kForkserver),
                         testing::StartMethodName);

// How many descriptors its preload leaves it, for the server to find in its environment.
constexpr const char* kLeft = "MP_TEST_LEFT";

TEST_P(ForkserverLimitsTest, WithoutDescriptorsThereItIsAStatusAndWithEnoughItWorks) {
  constexpr int kEnough = 12;
  int started = 0;
  for (int left = 0; left <= kEnough; ++left) {
    Child parent([left] {
      setenv(kLeft, std::to_string(left).c_str(), 1);
      SetForkserverPreload([] {
        std::vector<int> taken = TakeDescriptors();
        taken.resize(static_cast<size_t>(std::atoi(std::getenv(kLeft))));
        Close(taken);
      });
      auto start_works = [left] {
        Process child = Make();
        const absl::Status status = child.Start();
        if (!status.ok()) {
          EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << left << ": " << status;
          return false;
        }
        child.Join();
        EXPECT_EQ(child.exitcode(), 7);
        return true;
      };
      const bool works = start_works();
      const Footprint before = Footprint::Measure();
      for (int i = 0; i < 3; ++i) EXPECT_EQ(start_works(), works);
      EXPECT_EQ(Footprint::Await(before), before);
      EXPECT_EQ(testing::AllIds().size(), 2U);
      if (left < kEnough) return works ? 1 : 0;
      // More than it may have is refused, too, and the next one works.
      std::vector<Fd> many(kEnough + 1);
      for (Fd& fd : many) fd = Fd(dup(STDOUT_FILENO));
      Process child(
          {.start_method = GetParam()},
          [](const std::vector<Fd>& fds) { return static_cast<int>(fds.size()); }, std::move(many));
      EXPECT_EQ(child.Start().code(), StatusCode::kResourceExhausted);
      ExpectWorks();
      return ::testing::Test::HasFailure() ? 2 : 1;
    });
    const int works = parent.Finish();
    // With one more it does not fail again.
    EXPECT_GE(works, started);
    EXPECT_LE(works, 1);
    started = works;
  }
  EXPECT_EQ(started, 1);
}

TEST_P(ForkserverLimitsTest, MoreLiveThanTheSoftLimitHasRoomForAndHaveItBack) {
  static constexpr rlim_t kFew = 40;
  Child parent([] {
    rlimit limit;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlim_t soft = std::exchange(limit.rlim_cur, kFew);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ExpectWorks();  // by a server with that limit
    limit.rlim_cur = soft;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    const Event may_end;
    std::vector<Process> children;
    for (rlim_t i = 0; i < kFew; ++i) {
      children.emplace_back(
          ProcessOptions{.start_method = GetParam()},
          [](const Event& end) {
            rlimit own;
            if (getrlimit(RLIMIT_NOFILE, &own) != 0) return 1;
            end.Wait();
            return own.rlim_cur == kFew && own.rlim_max > kFew ? 7 : 2;
          },
          may_end);
      ASSERT_TRUE(children.back().Start().ok());
    }
    may_end.Set();
    for (Process& child : children) {
      child.Join();
      EXPECT_EQ(child.exitcode(), 7);
    }
  });
  EXPECT_EQ(parent.Finish(), 0);
}

constinit int forks = 0;  // of the server

TEST_P(ForkserverLimitsTest, AChildWithoutDescriptorsDoesNotRunOrIsKnownToRun) {
  Child parent([] {
    // The server's first child may have no number above 2, the next one none above 3, and so on.
    // What it closes of its server's leaves it some of them.
    SetForkserverPreload([] {
      pthread_atfork([] { ++forks; }, nullptr,
                     [] {
                       TakeDescriptors();
                       const auto end = static_cast<rlim_t>(STDERR_FILENO + forks);
                       const rlimit limit = {.rlim_cur = end, .rlim_max = end};
                       setrlimit(RLIMIT_NOFILE, &limit);
                     });
    });
    const RawValue<int> runs(0);
    int started = 0;
    int failed = 0;
    Footprint before;
    for (int i = 0; i < 40; ++i) {
      Process child(
          {.start_method = StartMethod::kForkserver},
          [](const RawValue<int>& count) {
            *count = *count + 1;
            return 7;
          },
          runs);
      const absl::Status status = child.Start();
      if (status.ok()) {
        ++started;
        child.Join();
        EXPECT_EQ(child.exitcode(), 7);
      } else {
        ++failed;
        EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << i << ": " << status;
        EXPECT_EQ(child.pid(), 0);
        // It has ended, and is buried.
        EXPECT_EQ(testing::AllIds().size(), 2U);
      }
      EXPECT_EQ(*runs, started);
      if (i == 0) before = Footprint::Measure();
    }
    EXPECT_GT(started, 0);
    EXPECT_GT(failed, 0);
    EXPECT_EQ(Footprint::Measure(), before);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

}  // namespace
}  // namespace mp
