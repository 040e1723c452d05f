// Wait: the cases of CPython's TestWait, and their kin.

#include "mp/wait.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/or_die.h"
#include "mp/pipe.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Alarms;
using testing::Child;
using ::testing::ElementsAre;
using testing::Gate;
using testing::Inherited;
using testing::IsOk;
using testing::StatusIs;
using testing::Steps;

constexpr absl::Duration kAtOnce = absl::ZeroDuration();

absl::Duration Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

TEST(WaitTest, TellsWhichAreReady) {
  const auto [end, other] = Pipe();
  const auto [end2, other2] = Pipe();
  const auto [end3, other3] = Pipe();
  EXPECT_THAT(Wait({other, other2, other3}, kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Wait({other, other2}, -absl::Seconds(1)), StatusIs(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(end2.Send(1), IsOk());
  EXPECT_THAT(*Wait({other, other2, other3}), ElementsAre(1));
  end3.Close();
  EXPECT_THAT(*Wait({other, other2, other3}), ElementsAre(1, 2));
  ASSERT_THAT(other2.Recv<int>(), IsOk());
  EXPECT_THAT(*Wait({other, other2, other3}), ElementsAre(2));
  EXPECT_THAT(*Wait({other3, other3}), ElementsAre(0, 1));
}

// _TestWait.test_wait: several processes that send and end.
TEST(WaitTest, HearsFromManyUntilTheirEnds) {
  constexpr int kProcesses = 4;
  constexpr int kEach = 10;
  std::vector<Connection> readers;
  std::vector<Process> children;
  for (int i = 0; i < kProcesses; ++i) {
    auto [receiving, sending] = Pipe(/*duplex=*/false);
    children.emplace_back([sending = sending, i] {
      for (int n = 0; n < kEach; ++n) OrDie(sending.Send(std::pair(i, n)));
    });
    ASSERT_THAT(children.back().Start(), IsOk());
    sending.Close();
    readers.push_back(receiving);
  }
  std::vector<std::pair<int, int>> got;
  while (!readers.empty()) {
    const absl::StatusOr<std::vector<size_t>> ready = Wait(readers);
    ASSERT_THAT(ready, IsOk());
    ASSERT_FALSE(ready->empty());
    for (auto it = ready->rbegin(); it != ready->rend(); ++it) {
      const auto message = readers[*it].Recv<std::pair<int, int>>(kAtOnce);
      if (message.ok()) {
        got.push_back(*message);
      } else {
        EXPECT_THAT(message, StatusIs(StatusCode::kOutOfRange));
        readers.erase(readers.begin() + static_cast<ptrdiff_t>(*it));
      }
    }
  }
  std::sort(got.begin(), got.end());
  std::vector<std::pair<int, int>> all;
  for (int i = 0; i < kProcesses; ++i) {
    for (int n = 0; n < kEach; ++n) all.emplace_back(i, n);
  }
  EXPECT_EQ(got, all);
}

// .test_wait_socket: plain descriptors.
TEST(WaitTest, WaitsForDescriptors) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  EXPECT_THAT(Wait({sockets[0]}, kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  ASSERT_EQ(write(sockets[1], "x", 1), 1);
  EXPECT_THAT(*Wait({sockets[0]}), ElementsAre(0));
  char c;
  ASSERT_EQ(read(sockets[0], &c, 1), 1);
  close(sockets[1]);
  EXPECT_THAT(*Wait(std::vector<int>{sockets[0]}), ElementsAre(0));
  close(sockets[0]);
  EXPECT_THAT(Wait({sockets[0]}), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Wait({-1}), StatusIs(StatusCode::kInvalidArgument));
}

// .test_wait_integer: a sentinel beside connections.
TEST(WaitTest, WaitsForProcesses) {
  const Inherited<Gate> gate;
  const auto [end, other] = Pipe();
  Process child([&gate] { gate->Wait(); });
  ASSERT_THAT(child.Start(), IsOk());
  EXPECT_THAT(Wait({child, other}, kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Wait(ActiveChildren(), kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(end.Send(1), IsOk());
  EXPECT_THAT(*Wait({child, other}), ElementsAre(1));
  gate->Open();
  EXPECT_THAT(*Wait({child}), ElementsAre(0));
  EXPECT_THAT(*Wait({Waitable(child.sentinel()), Waitable(other)}), ElementsAre(0, 1));
  child.Join();
  EXPECT_THAT(*Wait({child, other}), ElementsAre(0, 1));
}

// .test_wait_timeout
TEST(WaitTest, ATimeoutIsAsLongAsItSays) {
  constexpr absl::Duration kTimeout = absl::Milliseconds(30);
  const auto [end, other] = Pipe();
  const Alarms alarms;
  absl::Duration begin = Now();
  EXPECT_THAT(Wait({end, other}, kTimeout), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_GE(Now() - begin, kTimeout);
  begin = Now();
  EXPECT_THAT(Wait({}, kTimeout), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_GE(Now() - begin, kTimeout);
  EXPECT_THAT(Wait({}), StatusIs(StatusCode::kInvalidArgument));
}

TEST(WaitTest, ASleeperIsWoken) {
  for (const bool killed : {false, true}) {
    const auto [end, other] = Pipe();
    const auto [receiving, sending] = Pipe(/*duplex=*/false);
    Child last([&sending = sending](Steps& step) {
      step("has it");
      sending.Close();
      step("closed");
    });
    ASSERT_TRUE(last.RunTo("has it"));
    Child sleeper([&other = other, &receiving = receiving, &sending = sending](Steps& step) {
      sending.Close();
      step("first");
      EXPECT_THAT(*Wait({other, receiving}), ElementsAre(0));
      EXPECT_EQ(*other.Recv<int>(kAtOnce), 1);
      step("second");
      EXPECT_THAT(*Wait({other, receiving}), ElementsAre(1));
    });
    sending.Close();
    ASSERT_TRUE(sleeper.RunTo("first"));
    sleeper.Go();
    ASSERT_TRUE(sleeper.WaitUntilAsleep());
    ASSERT_THAT(end.Send(1), IsOk());
    ASSERT_TRUE(sleeper.RunTo("second"));
    sleeper.Go();
    ASSERT_TRUE(sleeper.WaitUntilAsleep());
    if (killed) {
      last.Kill();
    } else {
      ASSERT_TRUE(last.RunTo("closed"));
    }
    EXPECT_EQ(sleeper.Finish(), 0);
  }
}

// What another one has taken is not ready, though it was told.
TEST(WaitTest, DoesNotTellOfWhatIsGone) {
  const auto [end, other] = Pipe();
  Child sleeper([&other = other](Steps& step) {
    step("before");
    EXPECT_THAT(*Wait({other}), ElementsAre(0));
    EXPECT_EQ(*other.Recv<int>(kAtOnce), 2);
  });
  ASSERT_TRUE(sleeper.RunTo("before"));
  sleeper.Go();
  ASSERT_TRUE(sleeper.WaitUntilAsleep());
  sleeper.Stop();
  ASSERT_THAT(end.Send(1), IsOk());
  EXPECT_EQ(*other.Recv<int>(), 1);
  sleeper.Continue();
  ASSERT_TRUE(sleeper.WaitUntilAsleep());
  ASSERT_THAT(end.Send(2), IsOk());
  EXPECT_EQ(sleeper.Finish(), 0);
}

TEST(WaitTest, CloseWakesWhoSleepsInIt) {
  const auto [end, other] = Pipe();
  const auto [end2, other2] = Pipe();
  std::atomic<pid_t> tid{0};
  std::thread sleeper([&, &other = other, &other2 = other2] {
    tid = gettid();
    EXPECT_THAT(Wait({other, other2}), StatusIs(StatusCode::kFailedPrecondition));
  });
  while (tid == 0) std::this_thread::yield();
  ASSERT_TRUE(testing::WaitUntilAsleep(tid));
  other2.Close();
  sleeper.join();
  EXPECT_THAT(end2.Recv<int>(), StatusIs(StatusCode::kOutOfRange));
  EXPECT_THAT(Wait({other, other2}), StatusIs(StatusCode::kFailedPrecondition));
}

TEST(WaitTest, WhatIsForSendingIsNeverReady) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  EXPECT_THAT(Wait({sending}), StatusIs(StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace mp
