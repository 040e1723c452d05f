// A child that never began, and a process that nobody knows, which might be it: the sentry
// looks for that one at ever longer intervals, for a look goes over all processes of the
// machine. In this program time passes as the test says, and it counts such looks.

#include <dirent.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <thread>
#include <vector>

#include "shared/domain.h"
#include "shared/internal/futex.h"
#include "shared/internal/process_table.h"
#include "shared/internal/sentry.h"
#include "shared/internal/sentry_post.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/pause.h"

namespace {

// While it stands, how long that has been for so far.
constinit bool time_stands = false;
constinit int64_t passed = 0;  // in milliseconds
constinit std::array<timespec, CLOCK_BOOTTIME + 1> stood_at = {};

timespec Later(timespec time, int64_t milliseconds) {
  time.tv_sec += milliseconds / 1000;
  time.tv_nsec += milliseconds % 1000 * 1'000'000;
  if (time.tv_nsec >= 1'000'000'000) {
    time.tv_nsec -= 1'000'000'000;
    ++time.tv_sec;
  }
  return time;
}

constinit int looks_at_all = 0;

}  // namespace

// In place of the library's.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (time_stands && (clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME)) {
    *time = Later(stood_at[static_cast<size_t>(clock)], passed);
    return 0;
  }
  return static_cast<int>(syscall(SYS_clock_gettime, clock, time));
}
extern "C" DIR* opendir(const char* name) {
  if (std::string_view(name) == "/proc") ++looks_at_all;
  static const auto next = reinterpret_cast<DIR* (*)(const char*)>(dlsym(RTLD_NEXT, "opendir"));
  return next(name);
}

namespace mp::internal {
namespace {

using mp::testing::Child;
using Kind = ProcessTable::Kind;

class SentryUnbornTest : public ::testing::Test {
 protected:
  SentryUnbornTest() : domain_(**Domain::Get()) { mp::testing::Settle(); }
  ~SentryUnbornTest() override {
    time_stands = false;
    domain_.sentry_post().looked.store(0);
    mp::testing::Settle();
  }

  static void StopTime() {
    for (const clockid_t clock : {CLOCK_MONOTONIC, CLOCK_BOOTTIME}) {
      clock_gettime(clock, &stood_at[static_cast<size_t>(clock)]);
    }
    passed = 0;
    time_stands = true;
  }

  // The id of a child that was never forked, of a parent that was killed.
  ProcessId MakeUnborn() {
    Child parent([&](auto& step) {
      const auto id = domain_.processes().ClaimForChild(domain_.ThisProcess().identity());
      EXPECT_TRUE(id.ok());
      domain_.processes().ChildForked(*id);
      step("forked");
    });
    EXPECT_TRUE(parent.RunTo("forked"));
    const ProcessTable& table = domain_.processes();
    ProcessId unborn = 0;
    for (auto entry = table.Next(0); entry.kind != Kind::kFree; entry = table.Next(entry.id)) {
      if (entry.kind == Kind::kForked) unborn = entry.id;
    }
    parent.Kill();
    return unborn;
  }
  bool IsThere(ProcessId id) { return domain_.processes().Find(id).kind != Kind::kFree; }

  // How often the sentry looks at all processes of the machine.
  int LooksWhenHasPassed(int64_t milliseconds, Sentry& sentry) {
    passed = milliseconds;
    const int before = looks_at_all;
    domain_.sentry_post().looked.store(0);  // at all of the family
    std::vector<FutexExpectation> words;
    static_cast<void>(sentry.Look(words));
    return looks_at_all - before;
  }

  Domain& domain_;
};

// One that maps the domain, and is in no slot: no handler of fork has run.
class Stranger {
 public:
  Stranger() : pid_(static_cast<pid_t>(syscall(SYS_fork))) {
    if (pid_ == 0) mp::testing::PauseForEver();
  }
  ~Stranger() { mp::testing::KillAndReap(pid_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

 private:
  const pid_t pid_;
};

TEST_F(SentryUnbornTest, WhereSomebodyUnknownMapsTheDomainItLooksEverMoreRarely) {
  // The kernel tells when a process began in steps of 10 ms: the watchdog did before.
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(30)) {
    std::this_thread::yield();
  }
  Sentry sentry(domain_.ThisUndertaker(), domain_.sentry_post());
  for (int round = 0; round < 2; ++round) {
    const ProcessId unborn = MakeUnborn();
    ASSERT_NE(unborn, 0u);
    {
      const Stranger stranger;
      StopTime();
      // It is a second old then.
      EXPECT_EQ(LooksWhenHasPassed(2000, sentry), 1);
      // After 1, 2, 4, 8, and 16 seconds at most.
      for (const int64_t seconds : {3, 5, 9, 17, 33, 49, 65}) {
        EXPECT_EQ(LooksWhenHasPassed(seconds * 1000 - 1, sentry), 0) << seconds;
        EXPECT_EQ(LooksWhenHasPassed(seconds * 1000, sentry), 1) << seconds;
      }
      EXPECT_TRUE(IsThere(unborn));
    }
    time_stands = false;
    // Some other process of the machine may be about to begin or to end, and is taken for it.
    while (IsThere(unborn)) mp::testing::Settle();
    // When there is none, it begins anew.
    EXPECT_EQ(LooksWhenHasPassed(0, sentry), 0);
  }
}

}  // namespace
}  // namespace mp::internal
