// Timer: points in time, once or again and again.

#include "mp/timer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/or_die.h"
#include "mp/pipe.h"
#include "mp/wait.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Alarms;
using testing::Child;
using ::testing::ElementsAre;
using ::testing::Ge;
using testing::IsOk;
using testing::StatusIs;

constexpr absl::Duration kAtOnce = absl::ZeroDuration();

TEST(TimerTest, ExpiresOnce) {
  const Timer timer;
  EXPECT_THAT(timer.Wait(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  const absl::Time start = absl::Now();
  ASSERT_THAT(timer.Start(absl::Milliseconds(10)), IsOk());
  EXPECT_EQ(OrDie(timer.Wait()), 1);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(9));
  EXPECT_EQ(timer.Expirations(), 0);
  EXPECT_THAT(timer.Wait(absl::Milliseconds(20)), StatusIs(StatusCode::kDeadlineExceeded));
}

TEST(TimerTest, ExpiresAgainAndAgainAndIsCounted) {
  const Timer timer;
  ASSERT_THAT(timer.Start(kAtOnce, absl::Milliseconds(1)), IsOk());
  uint64_t count = 0;
  while (count < 10) count += OrDie(timer.Wait());
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_THAT(timer.Expirations(), Ge(10));
}

TEST(TimerTest, ZeroOrLessIsAtOnce) {
  const Timer timer;
  for (const absl::Duration after : {kAtOnce, -absl::Seconds(1), -absl::InfiniteDuration()}) {
    ASSERT_THAT(timer.Start(after, -absl::Seconds(1)), IsOk());
    EXPECT_EQ(OrDie(timer.Wait()), 1);
  }
}

TEST(TimerTest, IsCancelledAndStartedAnew) {
  const Timer timer;
  ASSERT_THAT(timer.Start(kAtOnce), IsOk());
  EXPECT_THAT(OrDie(Wait({timer})), ElementsAre(0));
  timer.Cancel();
  EXPECT_EQ(timer.Expirations(), 0);
  EXPECT_THAT(Wait({timer}, absl::Milliseconds(5)), StatusIs(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(timer.Start(absl::InfiniteDuration(), absl::InfiniteDuration()), IsOk());
  ASSERT_THAT(timer.Start(absl::Milliseconds(1)), IsOk());
  EXPECT_EQ(OrDie(timer.Wait()), 1);
}

TEST(TimerTest, IsWaitedForBesideOthers) {
  const Timer timer;
  const auto [mine, its] = Pipe();
  ASSERT_THAT(timer.Start(absl::Milliseconds(2), absl::Milliseconds(2)), IsOk());
  EXPECT_THAT(OrDie(Wait({its, timer})), ElementsAre(1));
  EXPECT_THAT(timer.Expirations(), Ge(1));
}

TEST(TimerTest, AWaitGoesOnAfterSignals) {
  const Alarms alarms;
  const Timer timer;
  ASSERT_THAT(timer.Start(absl::Milliseconds(20)), IsOk());
  EXPECT_EQ(OrDie(timer.Wait()), 1);
}

TEST(TimerTest, IsOfOneProcess) {
  Timer made;
  const Timer timer(std::move(made));
  ASSERT_THAT(timer.Start(kAtOnce), IsOk());
  EXPECT_THAT(OrDie(Wait({timer})), ElementsAre(0));
  Child child([&] {
    EXPECT_LT(timer.fileno(), 0);
    EXPECT_EQ(timer.Expirations(), 0);
    timer.Cancel();
    EXPECT_THAT(timer.Start(absl::Seconds(1)), StatusIs(StatusCode::kFailedPrecondition));
    EXPECT_THAT(timer.Wait(), StatusIs(StatusCode::kFailedPrecondition));
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(timer.Expirations(), 1);
}

}  // namespace
}  // namespace mp
