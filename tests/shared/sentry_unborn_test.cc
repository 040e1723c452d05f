// A child that never began, and a process that nobody knows, which might be it: the sentry
// looks for that one at ever longer intervals, for a look goes over all processes of the
// machine. In this program time passes as the test says.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
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

}  // namespace

// In place of the library's.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (time_stands && (clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME)) {
    *time = Later(stood_at[static_cast<size_t>(clock)], passed);
    return 0;
  }
  return static_cast<int>(syscall(SYS_clock_gettime, clock, time));
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

  void LookWhenHasPassed(Sentry& sentry, int64_t milliseconds) {
    passed = milliseconds;
    domain_.sentry_post().looked.store(0);  // at all processes
    std::vector<FutexExpectation> words;
    static_cast<void>(sentry.Look(words));
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
  timespec begin;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  begin = Later(begin, 30);
  for (timespec now = {};
       now.tv_sec < begin.tv_sec || (now.tv_sec == begin.tv_sec && now.tv_nsec < begin.tv_nsec);) {
    std::this_thread::yield();
    clock_gettime(CLOCK_MONOTONIC, &now);
  }
  // When it looks, in seconds: after 1, 2, 4, 8, 16 and 16 more.
  const std::vector<int64_t> looks = {2, 3, 5, 9, 17, 33, 49, 65};
  Sentry sentry(domain_, domain_.ThisProcess().identity());
  for (size_t last = 1; last < looks.size(); ++last) {
    const ProcessId unborn = MakeUnborn();
    ASSERT_NE(unborn, 0u);
    StopTime();
    {
      const Stranger stranger;
      for (size_t look = 0; look < last; ++look) {
        LookWhenHasPassed(sentry, looks[look] * 1000);
        EXPECT_TRUE(IsThere(unborn));
      }
    }
    // Now it would find out.
    LookWhenHasPassed(sentry, looks[last] * 1000 - 1);
    EXPECT_TRUE(IsThere(unborn)) << "it looked before " << looks[last] << " s";
    LookWhenHasPassed(sentry, looks[last] * 1000);
    EXPECT_FALSE(IsThere(unborn)) << "it did not look after " << looks[last] << " s";
    // When there is none, it begins anew.
    LookWhenHasPassed(sentry, looks[last] * 1000);
    time_stands = false;
  }
}

}  // namespace
}  // namespace mp::internal
