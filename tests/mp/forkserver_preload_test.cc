// What the fork server makes before it forks.
//
// Each test is in a process of its own, which has no fork server at first.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "mp/forkserver.h"
#include "mp/process.h"
#include "mp/start_method.h"
#include "tests/support/child.h"

namespace mp {
namespace {

using testing::Child;

struct Loaded {
  int times = 0;
  pid_t by = 0;
  std::string table;
};

Loaded& TheLoaded() {
  static auto& loaded = *new Loaded;
  return loaded;
}

void Load() {
  Loaded& loaded = TheLoaded();
  ++loaded.times;
  loaded.by = getpid();
  loaded.table = "made by the server";
}

template <class... A>
absl::Status StartAndJoin(std::optional<int>& code, A&&... a) {
  Process child({.start_method = StartMethod::kForkserver}, std::forward<A>(a)...);
  if (absl::Status started = child.Start(); !started.ok()) return started;
  child.Join();
  code = child.exitcode();
  return absl::OkStatus();
}

template <class... A>
void ExpectEndsWith(int code, A&&... a) {
  std::optional<int> end;
  const absl::Status started = StartAndJoin(end, std::forward<A>(a)...);
  EXPECT_TRUE(started.ok()) << started;
  EXPECT_EQ(end, code);
}

// In a child: what the server has made.
int LooksAtIt() {
  const Loaded& loaded = TheLoaded();
  if (loaded.times != 1) return 1;
  if (loaded.by != getppid()) return 2;
  return loaded.table == "made by the server" ? 0 : 3;
}

TEST(ForkserverPreloadTest, RunsOnceBeforeTheFirstForkForAllChildren) {
  Child parent([] {
    SetForkserverPreload(&Load);
    ExpectEndsWith(0, &LooksAtIt);
    // Each has a copy of its own.
    ExpectEndsWith(7, [] {
      TheLoaded().times = 7;
      return TheLoaded().times;
    });
    ExpectEndsWith(0, &LooksAtIt);
    EXPECT_EQ(TheLoaded().times, 0);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(ForkserverPreloadTest, IsOfServersThatAreStartedLater) {
  Child parent([] {
    ExpectEndsWith(0, [] { return TheLoaded().times; });
    SetForkserverPreload(&Load);
    ExpectEndsWith(0, [] { return TheLoaded().times; });
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(ForkserverPreloadTest, RunsAgainInANewServer) {
  Child parent([] {
    SetForkserverPreload(&Load);
    ExpectEndsWith(0, &LooksAtIt);
    std::optional<int> code;
    // The server's end is its child's parent's.
    EXPECT_TRUE(StartAndJoin(code, [] { kill(getppid(), SIGKILL); }).ok());
    ExpectEndsWith(0, &LooksAtIt);
    ExpectEndsWith(0, &LooksAtIt);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

TEST(ForkserverPreloadTest, OneThatThrowsOrExitsIsAStatusAndMayBeReplaced) {
  Child parent([] {
    std::optional<int> none;
    SetForkserverPreload([] { throw std::runtime_error("as the test wants it"); });
    EXPECT_TRUE(absl::IsUnavailable(StartAndJoin(none, [] {})));
    SetForkserverPreload([] { std::exit(0); });
    EXPECT_TRUE(absl::IsUnavailable(StartAndJoin(none, [] {})));
    SetForkserverPreload([] { raise(SIGKILL); });
    EXPECT_TRUE(absl::IsUnavailable(StartAndJoin(none, [] {})));
    SetForkserverPreload(&Load);
    ExpectEndsWith(0, &LooksAtIt);
    EXPECT_EQ(none, std::nullopt);
  });
  EXPECT_EQ(parent.Finish(), 0);
}

}  // namespace
}  // namespace mp
