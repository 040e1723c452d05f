// As tests/sync/clock_test.cc, for who waits for a process.

#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/time/time.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "tests/support/pause.h"
#include "tests/support/timed_calls.h"

namespace mp {
namespace {

using testing::PauseForEver;
using testing::TimedCalls;
using testing::WatchTimedCalls;

TEST(ProcessClockTest, ATimeoutOfAJoinIsOfTheSteadyClock) {
  for (const bool by_info : {false, true}) {
    const TimedCalls calls = WatchTimedCalls([&] {
      constexpr absl::Duration kTimeout = absl::Milliseconds(20);
      Process child(&PauseForEver);
      if (!child.Start().ok()) _exit(1);
      if (by_info ? ActiveChildren().at(0).Join(kTimeout) : child.Join(kTimeout)) _exit(2);
      child.Kill();
      child.Join();
    });
    EXPECT_EQ(calls.status, 0);
    EXPECT_GT(calls.by_steady_clock, 0);
    EXPECT_EQ(calls.by_wall_clock, 0);
  }
}

}  // namespace
}  // namespace mp
