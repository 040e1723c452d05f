// Pipes: the cases of CPython's _TestConnection and _TestPoll, and their kin.

#include "mp/pipe.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/codec.h"
#include "mp/encoder.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "sync/value.h"
#include "tests/support/alarms.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/look.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Alarms;
using testing::Child;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::Settle;
using testing::StatusIs;
using testing::Steps;

constexpr size_t kInABlock = 100'000;
constexpr absl::Duration kAtOnce = absl::ZeroDuration();

// Bytes that tell where they come from.
std::string Bytes(size_t size, uint64_t seed = 1) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>((seed = seed * 6364136223846793005 + 1) >> 56);
  return bytes;
}

bool Readable(int fd) {
  pollfd one = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&one, 1, 0) == 1;
}

int Descriptors() {
  int count = 0;
  DIR* const all = opendir("/proc/self/fd");
  while (readdir(all) != nullptr) ++count;
  closedir(all);
  return count;
}

// What is sent, until it is full.
int Fill(const Connection& end, const std::string& message) {
  int count = 0;
  while (end.SendBytes(message, 0, {}, kAtOnce).ok()) ++count;
  return count;
}

struct Point {
  int x;
  double y;
  bool operator==(const Point&) const = default;
};

// _TestConnection ------------------------------------------------------------------------------

TEST(PipeTest, EchoesWhatItIsSent) {
  auto [mine, its] = Pipe();
  Child echo([end = its, mine = mine] {
    mine.Close();
    for (;;) {
      const absl::StatusOr<std::string> bytes = end.RecvBytes();
      if (!bytes.ok()) {
        EXPECT_THAT(bytes, StatusIs(StatusCode::kOutOfRange));
        return;
      }
      EXPECT_THAT(end.SendBytes(*bytes), IsOk());
    }
  });
  its.Close();
  for (const size_t size : {0, 1, 7, 8, 9, 1000, 16'375, 16'376, 16'377, 100'000, 16 << 20}) {
    const std::string bytes = Bytes(size, size);
    ASSERT_THAT(mine.SendBytes(bytes), IsOk());
    const absl::StatusOr<std::string> back = mine.RecvBytes();
    ASSERT_THAT(back, IsOk());
    ASSERT_TRUE(*back == bytes) << size;
  }
  mine.Close();
  EXPECT_EQ(echo.Finish(), 0);
}

TEST(PipeTest, SendsValuesOfAnyType) {
  const auto [one, other] = Pipe();
  ASSERT_THAT(one.Send(7), IsOk());
  ASSERT_THAT(one.Send(Point{1, 2.5}), IsOk());
  ASSERT_THAT(one.Send("text"), IsOk());
  ASSERT_THAT(one.Send(std::vector<int>{1, 2, 3}), IsOk());
  ASSERT_THAT(one.Send(std::map<std::string, std::optional<double>>{{"a", 1.0}, {"b", {}}}),
              IsOk());
  ASSERT_THAT(one.Send(std::vector<double>(kInABlock, 0.5)), IsOk());
  ASSERT_THAT(one.Send(std::string()), IsOk());
  EXPECT_EQ(*other.Recv<int>(), 7);
  EXPECT_EQ(*other.Recv<Point>(), (Point{1, 2.5}));
  EXPECT_EQ(*other.Recv<std::string>(), "text");
  EXPECT_THAT(*other.Recv<std::vector<int>>(), ElementsAre(1, 2, 3));
  const auto map = other.Recv<std::map<std::string, std::optional<double>>>();
  ASSERT_THAT(map, IsOk());
  EXPECT_EQ(map->at("a"), 1.0);
  EXPECT_EQ(map->at("b"), std::nullopt);
  EXPECT_EQ(*other.Recv<std::vector<double>>(), std::vector<double>(kInABlock, 0.5));
  EXPECT_EQ(*other.Recv<std::string>(), "");
  // Back, too.
  ASSERT_THAT(other.Send(uint64_t{1} << 40), IsOk());
  EXPECT_EQ(*one.Recv<uint64_t>(), uint64_t{1} << 40);
}

TEST(PipeTest, SendsAPartOfTheBytes) {
  const auto [end, other] = Pipe();
  const std::string bytes = "abcdefghijklmnopqrstuvwxyz";
  ASSERT_THAT(end.SendBytes(bytes), IsOk());
  EXPECT_EQ(*other.RecvBytes(), bytes);
  ASSERT_THAT(end.SendBytes(bytes, 5), IsOk());
  EXPECT_EQ(*other.RecvBytes(), bytes.substr(5));
  ASSERT_THAT(end.SendBytes(bytes, 7, 8), IsOk());
  EXPECT_EQ(*other.RecvBytes(), bytes.substr(7, 8));
  ASSERT_THAT(end.SendBytes(bytes, 26), IsOk());
  EXPECT_EQ(*other.RecvBytes(), "");
  ASSERT_THAT(end.SendBytes(bytes, 26, 0), IsOk());
  EXPECT_EQ(*other.RecvBytes(), "");
  EXPECT_THAT(end.SendBytes(bytes, 27), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(end.SendBytes(bytes, 22, 5), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(end.SendBytes(bytes, 26, 1), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(end.SendBytes(bytes, 0, SIZE_MAX), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(end.SendBytes(bytes, SIZE_MAX), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_FALSE(*other.Poll());
}

TEST(PipeTest, ReceivesIntoRoomThatIsThere) {
  const auto [end, other] = Pipe();
  for (const size_t size : {size_t{10}, kInABlock}) {
    const std::string bytes = Bytes(size);
    std::string room(size + 5, '.');
    ASSERT_THAT(end.SendBytes(bytes), IsOk());
    EXPECT_EQ(*other.RecvBytesInto(absl::MakeSpan(room), 3), size);
    EXPECT_EQ(room, "..." + bytes + "..");

    ASSERT_THAT(end.SendBytes(bytes), IsOk());
    EXPECT_THAT(other.RecvBytesInto(absl::MakeSpan(room), 6),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(std::to_string(size))));
    EXPECT_THAT(other.RecvBytesInto(absl::MakeSpan(room), size + 6),
                StatusIs(StatusCode::kInvalidArgument));
    // It is still there.
    EXPECT_EQ(*other.RecvBytesInto(absl::MakeSpan(room), 5), size);
    EXPECT_EQ(room.substr(5), bytes);
  }
}

TEST(PipeTest, AMessageThatIsTooLongStays) {
  const auto [end, other] = Pipe();
  for (const size_t size : {size_t{10}, kInABlock}) {
    ASSERT_THAT(end.SendBytes(Bytes(size)), IsOk());
    EXPECT_THAT(other.RecvBytes(size - 1), StatusIs(StatusCode::kInvalidArgument));
    EXPECT_EQ(*other.RecvBytes(size), Bytes(size));
  }
}

TEST(PipeTest, AMessageOfAnotherTypeStaysAndIsNamed) {
  const auto [end, other] = Pipe();
  ASSERT_THAT(end.Send(Point{1, 2}), IsOk());
  EXPECT_THAT(other.Recv<int>(), StatusIs(StatusCode::kInvalidArgument, HasSubstr("Point")));
  EXPECT_THAT(other.Recv<std::vector<int>>(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("std::vector<int>")));
  EXPECT_THAT(other.RecvBytes(), StatusIs(StatusCode::kInvalidArgument, HasSubstr("Point")));
  EXPECT_EQ(*other.Recv<Point>(), (Point{1, 2}));
  ASSERT_THAT(end.SendBytes("abc"), IsOk());
  EXPECT_THAT(other.Recv<std::string>(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("SendBytes")));
  EXPECT_EQ(*other.RecvBytes(), "abc");
}

TEST(PipeTest, ASimplexPipeGoesOneWay) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  EXPECT_TRUE(receiving.readable());
  EXPECT_FALSE(receiving.writable());
  EXPECT_FALSE(sending.readable());
  EXPECT_TRUE(sending.writable());
  ASSERT_THAT(sending.Send(1), IsOk());
  EXPECT_EQ(*receiving.Recv<int>(), 1);
  EXPECT_THAT(receiving.Send(2), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(sending.Recv<int>(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(sending.Poll(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(sending.fileno(), StatusIs(StatusCode::kFailedPrecondition));
}

TEST(PipeTest, WhoHasClosedItCannotUseIt) {
  const auto [end, other] = Pipe();
  const Connection copy = end;
  EXPECT_FALSE(copy.closed());
  end.Close();
  end.Close();
  EXPECT_TRUE(copy.closed());
  EXPECT_FALSE(copy.readable());
  EXPECT_FALSE(copy.writable());
  EXPECT_THAT(copy.Send(1), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(copy.Recv<int>(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(copy.Poll(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(copy.fileno(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_FALSE(other.closed());
}

TEST(PipeTest, TheLastCopyClosesIt) {
  auto [end, other] = Pipe();
  {
    const Connection copy = std::move(end);
    end = copy;
    ASSERT_THAT(end.Send(1), IsOk());
    end = other;
  }
  EXPECT_EQ(*other.Recv<int>(), 1);
  EXPECT_THAT(other.Recv<int>(), StatusIs(StatusCode::kOutOfRange));
}

TEST(PipeTest, LeavesNothingBehind) {
  { const auto first = Pipe(); }
  Settle();
  const int descriptors = Descriptors();
  const size_t in_use = Stats().in_use;
  {
    const auto [end, other] = *CreatePipe({.name = "named"});
    ASSERT_THAT(end.SendBytes(Bytes(kInABlock)), IsOk());
    ASSERT_THAT(end.SendBytes(Bytes(10)), IsOk());
    ASSERT_THAT(other.fileno(), IsOk());
    const Value<int> value(1);
    ASSERT_THAT(end.Send(value), IsOk());
    EXPECT_GT(Stats().in_use, in_use + kInABlock);
  }
  Settle();
  EXPECT_EQ(Stats().in_use, in_use);
  EXPECT_EQ(Descriptors(), descriptors);
  EXPECT_THAT(Check(), IsOk());
}

TEST(PipeTest, HandlesTravel) {
  const auto [end, other] = Pipe();
  Child child([&end = end] {
    const Value<int> value(41);
    EXPECT_THAT(end.Send(std::vector<Value<int>>{value}), IsOk());
  });
  ASSERT_EQ(child.Finish(), 0);
  Settle();
  const absl::StatusOr<std::vector<Value<int>>> values = other.Recv<std::vector<Value<int>>>();
  ASSERT_THAT(values, IsOk());
  EXPECT_EQ(values->at(0).Get(), 41);
}

// The end --------------------------------------------------------------------------------------

TEST(PipeTest, WhatIsLeftComesBeforeTheEnd) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  ASSERT_THAT(sending.Send(1), IsOk());
  ASSERT_THAT(sending.Send(2), IsOk());
  sending.Close();
  EXPECT_EQ(*receiving.Recv<int>(), 1);
  EXPECT_TRUE(*receiving.Poll());
  EXPECT_EQ(*receiving.Recv<int>(kAtOnce), 2);
  EXPECT_TRUE(*receiving.Poll());
  EXPECT_THAT(receiving.Recv<int>(kAtOnce), StatusIs(StatusCode::kOutOfRange));
  EXPECT_THAT(receiving.Recv<int>(), StatusIs(StatusCode::kOutOfRange));
  EXPECT_TRUE(*receiving.Poll(absl::InfiniteDuration()));
}

TEST(PipeTest, WhoSleepsLearnsOfTheEnd) {
  for (const bool killed : {false, true}) {
    auto [receiving, sending] = Pipe(/*duplex=*/false);
    Child sender([sending = sending](Steps& step) {
      step("has it");
      sending.Close();
    });
    ASSERT_TRUE(sender.RunTo("has it"));
    Child receiver([receiving = receiving, sending = sending](Steps& step) {
      sending.Close();
      step("before");
      EXPECT_THAT(receiving.Recv<int>(), StatusIs(StatusCode::kOutOfRange));
    });
    sending.Close();
    ASSERT_TRUE(receiver.RunTo("before"));
    receiver.Go();
    ASSERT_TRUE(receiver.WaitUntilAsleep());
    if (killed) {
      sender.Kill();
    } else {
      EXPECT_EQ(sender.Finish(), 0);
    }
    EXPECT_EQ(receiver.Finish(), 0);
  }
}

TEST(PipeTest, TheEndComesWhenAllHaveClosedIt) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  Child holder([](Steps& step) { step("has it"); });
  ASSERT_TRUE(holder.RunTo("has it"));
  sending.Close();
  EXPECT_THAT(receiving.Recv<int>(absl::Milliseconds(5)), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_FALSE(*receiving.Poll());
  holder.Kill();
  EXPECT_THAT(receiving.Recv<int>(), StatusIs(StatusCode::kOutOfRange));
}

TEST(PipeTest, NobodyIsLeftToReadFromIt) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  ASSERT_THAT(sending.Send(1), IsOk());
  ASSERT_THAT(receiving.Recv<int>(), IsOk());
  ASSERT_THAT(sending.Send(2), IsOk());
  receiving.Close();
  EXPECT_THAT(sending.Send(3), StatusIs(StatusCode::kUnavailable));
  EXPECT_THAT(sending.SendBytes(Bytes(kInABlock)), StatusIs(StatusCode::kUnavailable));
  EXPECT_THAT(sending.Send(std::string("x"), kAtOnce), StatusIs(StatusCode::kUnavailable));
}

TEST(PipeTest, SendingToTheDeadIsToldAtTheSecondTime) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  Child receiver([receiving = receiving, sending = sending](Steps& step) {
    sending.Close();
    EXPECT_EQ(*receiving.Recv<int>(), 1);
    step("received");
  });
  receiving.Close();
  ASSERT_THAT(sending.Send(1), IsOk());
  ASSERT_TRUE(receiver.RunTo("received"));
  receiver.Kill();
  (void)sending.Send(2);
  EXPECT_THAT(sending.Send(3), StatusIs(StatusCode::kUnavailable));
}

TEST(PipeTest, WhoSleepsForRoomLearnsThatNobodyIsLeft) {
  const auto [receiving, sending] = *CreatePipe({.duplex = false, .capacity = 2048});
  Child sender([receiving = receiving, sending = sending](Steps& step) {
    receiving.Close();
    Fill(sending, Bytes(1500));
    step("full");
    EXPECT_THAT(sending.SendBytes(Bytes(1500)), StatusIs(StatusCode::kUnavailable));
  });
  sending.Close();
  ASSERT_TRUE(sender.RunTo("full"));
  sender.Go();
  ASSERT_TRUE(sender.WaitUntilAsleep());
  receiving.Close();
  EXPECT_EQ(sender.Finish(), 0);
}

// Room -----------------------------------------------------------------------------------------

TEST(PipeTest, WhoSleepsForRoomGetsIt) {
  for (const size_t size : {size_t{1500}, kInABlock}) {
    const auto [receiving, sending] = *CreatePipe({.duplex = false, .capacity = size + 500});
    Child sender([sending = sending, size](Steps& step) {
      EXPECT_EQ(Fill(sending, Bytes(size)), 1);
      step("full");
      for (int i = 0; i < 20; ++i) EXPECT_THAT(sending.SendBytes(Bytes(size, i)), IsOk());
    });
    ASSERT_TRUE(sender.RunTo("full"));
    sender.Go();
    ASSERT_TRUE(sender.WaitUntilAsleep());
    EXPECT_EQ(*receiving.RecvBytes(), Bytes(size));
    for (int i = 0; i < 20; ++i) ASSERT_EQ(*receiving.RecvBytes(), Bytes(size, i));
    EXPECT_EQ(sender.Finish(), 0);
  }
}

// Who receives may want nothing more before it has that one.
TEST(PipeTest, WhoSleepsForRoomGetsTheFirstThatIsThere) {
  for (const size_t size : {size_t{1500}, kInABlock}) {
    const auto [receiving, sending] = *CreatePipe({.duplex = false, .capacity = 10 * size});
    Child sender([sending = sending, size](Steps& step) {
      EXPECT_GT(Fill(sending, Bytes(size)), 5);
      step("full");
      EXPECT_THAT(sending.SendBytes(Bytes(size)), IsOk());
    });
    ASSERT_TRUE(sender.RunTo("full"));
    sender.Go();
    ASSERT_TRUE(sender.WaitUntilAsleep());
    EXPECT_EQ(*receiving.RecvBytes(), Bytes(size));
    EXPECT_EQ(sender.Finish(), 0);
  }
}

TEST(PipeTest, HoldsNoMoreThanItsCapacity) {
  for (const int capacity : {1, 96, 1000, 3000, 100'000}) {
    const auto [receiving, sending] =
        *CreatePipe({.duplex = false, .capacity = static_cast<size_t>(capacity)});
    // Each with its type, and its size.
    const int most = std::max(capacity / (80 + 8 + 8), 1);
    for (int round = 0; round < 3; ++round) {
      const int held = Fill(sending, Bytes(80));
      EXPECT_LE(held, most);
      EXPECT_GE(held, most - most / 8);
      for (int i = 0; i < held; ++i) ASSERT_EQ(*receiving.RecvBytes(kAtOnce), Bytes(80));
    }
  }
}

TEST(PipeTest, HoldsAboutItsCapacity) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  const int in_ring = Fill(sending, Bytes(1000));
  EXPECT_GE(in_ring, 1000);
  EXPECT_LE(in_ring, 2200);
  for (int i = 0; i < in_ring; ++i) ASSERT_THAT(receiving.RecvBytes(kAtOnce), IsOk());
  const int in_blocks = Fill(sending, Bytes(kInABlock));
  EXPECT_EQ(in_blocks, 10);
  EXPECT_THAT(sending.SendBytes("x", 0, {}, kAtOnce), IsOk());  // the ring is there anyway
  // A longer one passes where nothing else is.
  EXPECT_THAT(sending.SendBytes(Bytes(3 << 20), 0, {}, kAtOnce),
              StatusIs(StatusCode::kDeadlineExceeded));
  for (int i = 0; i <= in_blocks; ++i) ASSERT_THAT(receiving.RecvBytes(kAtOnce), IsOk());
  EXPECT_THAT(sending.SendBytes(Bytes(3 << 20), 0, {}, kAtOnce), IsOk());
  EXPECT_EQ(*receiving.RecvBytes(), Bytes(3 << 20));
}

// _TestPoll ------------------------------------------------------------------------------------

TEST(PipeTest, PollSeesAnEmptyMessage) {
  const auto [end, other] = Pipe();
  EXPECT_FALSE(*end.Poll());
  ASSERT_THAT(other.SendBytes(""), IsOk());
  EXPECT_TRUE(*end.Poll());
  EXPECT_TRUE(*end.Poll());
  EXPECT_EQ(*end.RecvBytes(), "");
  EXPECT_FALSE(*end.Poll());
  EXPECT_FALSE(*end.Poll(-absl::Seconds(1)));
}

TEST(PipeTest, PollTakesNothing) {
  auto [end, other] = Pipe();
  Child sender([other = other](Steps& step) {
    for (const char* text : {"hello", "", "a", "b", "", "bye", "", "lop"}) {
      step("send");
      EXPECT_THAT(other.SendBytes(text), IsOk());
    }
  });
  for (const char* text : {"hello", "", "a", "b", "", "bye", "", "lop"}) {
    EXPECT_FALSE(*end.Poll());
    ASSERT_TRUE(sender.RunTo("send"));
    sender.Go();
    EXPECT_TRUE(*end.Poll(absl::InfiniteDuration()));
    EXPECT_TRUE(*end.Poll());
    EXPECT_EQ(*end.RecvBytes(), text);
  }
  EXPECT_EQ(sender.Finish(), 0);
}

TEST(PipeTest, MessagesAreNotMerged) {
  auto [end, other] = Pipe();
  ASSERT_THAT(end.SendBytes("a"), IsOk());
  ASSERT_THAT(end.SendBytes("bb"), IsOk());
  Child poller([other = other] {
    EXPECT_TRUE(*other.Poll());
    EXPECT_TRUE(*other.Poll(absl::InfiniteDuration()));
  });
  EXPECT_EQ(poller.Finish(), 0);
  EXPECT_EQ(*other.RecvBytes(), "a");
  EXPECT_EQ(*other.RecvBytes(), "bb");
}

// Time -----------------------------------------------------------------------------------------

TEST(PipeTest, ATimeoutIsAsLongAsItSays) {
  constexpr absl::Duration kTimeout = absl::Milliseconds(30);
  const auto ends = *CreatePipe({.duplex = false, .capacity = 2048});
  const Connection& receiving = ends.first;
  const Connection& sending = ends.second;
  auto took = [&](auto&& call) {
    timespec begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    call();
    timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    return absl::DurationFromTimespec(end) - absl::DurationFromTimespec(begin);
  };
  const Alarms alarms;
  EXPECT_GE(took([&] {
              EXPECT_THAT(receiving.Recv<int>(kTimeout), StatusIs(StatusCode::kDeadlineExceeded));
            }),
            kTimeout);
  EXPECT_GE(took([&] { EXPECT_FALSE(*receiving.Poll(kTimeout)); }), kTimeout);
  const std::string message = Bytes(1500);
  ASSERT_EQ(Fill(sending, message), 1);
  EXPECT_GE(took([&] {
              EXPECT_THAT(sending.SendBytes(message, 0, {}, kTimeout),
                          StatusIs(StatusCode::kDeadlineExceeded));
            }),
            kTimeout);
}

TEST(PipeTest, ASignalDoesNotEndAWait) {
  auto [end, other] = Pipe();
  Child receiver([other = other] {
    const Alarms alarms(Alarms::kNever);
    EXPECT_EQ(*other.Recv<int>(), 5);
  });
  EXPECT_TRUE(testing::SleepsOnAfterAlarms(receiver));
  ASSERT_THAT(end.Send(5), IsOk());
  EXPECT_EQ(receiver.Finish(), 0);
}

// Many -----------------------------------------------------------------------------------------

TEST(PipeTest, ThreadsMayShareAnEnd) {
  constexpr int kThreads = 3;
  constexpr uint64_t kEach = 3000;
  const auto [end, other] = *CreatePipe({.capacity = 4096});
  std::vector<std::thread> threads;
  std::vector<uint64_t> sums(kThreads, 0);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&end = end] {
      for (uint64_t n = 0; n < kEach; ++n) {
        EXPECT_THAT(end.SendBytes(Bytes(n * 7 % 900, 3)), IsOk());
      }
    });
    threads.emplace_back([&, &other = other, i] {
      for (uint64_t n = 0; n < kEach; ++n) {
        const absl::StatusOr<std::string> bytes = other.RecvBytes();
        ASSERT_THAT(bytes, IsOk());
        EXPECT_TRUE(*bytes == Bytes(bytes->size(), 3));
        sums[i] += bytes->size();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t sum = 0;
  for (uint64_t n = 0; n < kEach; ++n) sum += n * 7 % 900;
  EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), uint64_t{0}), kThreads * sum);
  EXPECT_FALSE(*other.Poll());
}

TEST(PipeTest, ProcessesMayShareAnEnd) {
  constexpr int kProcesses = 3;
  constexpr int kEach = 2000;
  const auto [end, other] = Pipe();
  const Value<uint64_t> sum(0);
  std::vector<Process> children;
  for (int i = 0; i < kProcesses; ++i) {
    children.emplace_back([other = other, sum] {
      for (int n = 0; n < kEach; ++n) {
        const uint64_t got = OrDie(other.Recv<uint64_t>());
        sum.Update([got](uint64_t& all) { all += got; });
      }
    });
    OrDie(children.back().Start());
  }
  for (uint64_t n = 0; n < kProcesses * kEach; ++n) ASSERT_THAT(end.Send(n), IsOk());
  for (Process& child : children) {
    child.Join();
    EXPECT_EQ(child.exitcode(), 0);
  }
  const uint64_t all = kProcesses * kEach;
  EXPECT_EQ(sum.Get(), all * (all - 1) / 2);
}

TEST(PipeTest, WhoSleepsBehindOneThatIsKilledIsWoken) {
  const auto [end, other] = Pipe();
  auto receive = [&other = other](Steps& step) {
    step("before");
    EXPECT_EQ(*other.Recv<int>(), 9);
  };
  Child first(receive);
  Child second(receive);
  for (Child* child : {&first, &second}) {
    ASSERT_TRUE(child->RunTo("before"));
    child->Go();
    ASSERT_TRUE(child->WaitUntilAsleep());
  }
  first.Kill();
  ASSERT_THAT(end.Send(9), IsOk());
  EXPECT_EQ(second.Finish(), 0);
}

TEST(PipeTest, AStoppedReaderDoesNotKeepMessagesFromOthers) {
  const auto [end, other] = Pipe();
  Child stopped([&other = other](Steps& step) {
    step("before");
    (void)other.Recv<int>();
  });
  ASSERT_TRUE(stopped.RunTo("before"));
  stopped.Go();
  ASSERT_TRUE(stopped.WaitUntilAsleep());
  stopped.Stop();
  ASSERT_THAT(end.Send(9), IsOk());
  EXPECT_EQ(*other.Recv<int>(), 9);
  stopped.Kill();
}

TEST(PipeTest, CloseWakesWhoSleepsInIt) {
  auto [end, other] = *CreatePipe({.capacity = 2048});
  Fill(end, Bytes(1500));
  std::vector<pid_t> tids(4, 0);
  std::vector<std::thread> threads;
  std::atomic<int> begun{0};
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, &end = end, i] {
      tids[i] = gettid();
      ++begun;
      EXPECT_THAT(end.Recv<int>(), StatusIs(StatusCode::kFailedPrecondition));
    });
    threads.emplace_back([&, &end = end, i] {
      tids[2 + i] = gettid();
      ++begun;
      EXPECT_THAT(end.SendBytes(Bytes(1500)), StatusIs(StatusCode::kFailedPrecondition));
    });
  }
  while (begun != 4) std::this_thread::yield();
  for (const pid_t tid : tids) ASSERT_TRUE(testing::WaitUntilAsleep(tid));
  end.Close();
  for (std::thread& thread : threads) thread.join();
  // Their descriptors are closed, too.
  EXPECT_EQ(*other.RecvBytes(), Bytes(1500));
  EXPECT_THAT(other.RecvBytes(), StatusIs(StatusCode::kOutOfRange));
  // And who sleeps in another end sleeps on.
  const auto [one, another] = Pipe();
  EXPECT_THAT(one.Recv<int>(absl::Milliseconds(10)), StatusIs(StatusCode::kDeadlineExceeded));
}

TEST(PipeTest, AChildOfAThreadThatSleepsInItMayCloseIt) {
  const auto [end, other] = Pipe();
  std::atomic<pid_t> tid{0};
  std::thread sleeper([&, &end = end] {
    tid = gettid();
    EXPECT_EQ(*end.Recv<int>(), 1);
  });
  while (tid == 0) std::this_thread::yield();
  ASSERT_TRUE(testing::WaitUntilAsleep(tid));
  Child child([&end = end, &other = other](Steps& step) {
    end.Close();
    // It is this process's only one that is closed; and the descriptors are, at once.
    EXPECT_THAT(other.Send(1), IsOk());
    other.Close();
    step("closed");
  });
  EXPECT_TRUE(child.RunTo("closed"));
  sleeper.join();
  other.Close();
  EXPECT_THAT(end.Recv<int>(), StatusIs(StatusCode::kOutOfRange));
  EXPECT_EQ(child.Finish(), 0);
}

// Another thread may fork while one closes it, and others of its threads are at work with it.
TEST(PipeTest, AForkInTheMiddleOfACloseLeavesNothingOpen) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  const int fd = *receiving.fileno();
  std::optional<Encoder> encoder(std::in_place, Via::kConnection);
  ASSERT_THAT(Encode(sending, *encoder), IsOk());
  sending.Close();
  Child child([](Steps& step) { step("there"); });
  ASSERT_TRUE(child.RunTo("there"));
  EXPECT_FALSE(Readable(fd));  // here it is open until the encoder has done with it
  encoder.reset();
  EXPECT_TRUE(Readable(fd));
  EXPECT_THAT(receiving.Recv<int>(kAtOnce), StatusIs(StatusCode::kOutOfRange));
  EXPECT_EQ(child.Finish(), 0);
}

// fileno() -------------------------------------------------------------------------------------

TEST(PipeTest, ItsDescriptorTellsOfMessages) {
  const auto [end, other] = Pipe();
  const absl::StatusOr<int> fd = other.fileno();
  ASSERT_THAT(fd, IsOk());
  EXPECT_EQ(*other.fileno(), *fd);
  EXPECT_FALSE(Readable(*fd));
  for (int round = 0; round < 3; ++round) {
    for (const size_t size : {size_t{1}, kInABlock}) {
      ASSERT_THAT(end.SendBytes(Bytes(size)), IsOk());
      ASSERT_THAT(end.SendBytes(Bytes(size)), IsOk());
      EXPECT_TRUE(Readable(*fd));
      ASSERT_THAT(other.RecvBytes(kInABlock, kAtOnce), IsOk());
      EXPECT_TRUE(Readable(*fd));
      ASSERT_THAT(other.RecvBytes(kInABlock, kAtOnce), IsOk());
      EXPECT_FALSE(Readable(*fd));
    }
  }
  end.Close();
  EXPECT_TRUE(Readable(*fd));
}

TEST(PipeTest, ItsDescriptorTellsOfMessagesThatWereThereBefore) {
  const auto [end, other] = Pipe();
  ASSERT_THAT(end.Send(1), IsOk());
  ASSERT_THAT(end.Send(2), IsOk());
  const int fd = *other.fileno();
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(*other.Recv<int>(), 1);
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(*other.Recv<int>(), 2);
  EXPECT_FALSE(Readable(fd));
  ASSERT_THAT(end.Send(3), IsOk());
  EXPECT_TRUE(Readable(fd));
}

// In a loop of the user's own, asleep there when each message comes.
TEST(PipeTest, ItsDescriptorGoesIntoAnEpollOfTheUsers) {
  for (const uint32_t mode : {uint32_t{0}, uint32_t{EPOLLET}}) {
    const auto [end, other] = Pipe();
    Child sender([&end = end, &other = other](Steps& step) {
      other.Close();
      for (int i = 0; i < 200; ++i) {
        OrDie(end.Send(i));
        if (i % 3 == 0) {
          EXPECT_EQ(*end.Recv<int>(), i);  // it has come
        }
      }
      step("sent");
    });
    end.Close();
    const int loop = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event = {};
    event.events = EPOLLIN | mode;
    ASSERT_EQ(epoll_ctl(loop, EPOLL_CTL_ADD, *other.fileno(), &event), 0);
    int next = 0;
    absl::Status status;
    while (!absl::IsOutOfRange(status)) {
      ASSERT_EQ(epoll_wait(loop, &event, 1, 60'000), 1);
      for (;;) {
        const absl::StatusOr<int> message = other.Recv<int>(kAtOnce);
        status = message.status();
        if (!status.ok()) break;
        EXPECT_EQ(*message, next);
        if (next++ % 3 == 0) OrDie(other.Send(*message));
      }
      if (next == 200 && !absl::IsOutOfRange(status)) {
        EXPECT_EQ(sender.Finish(), 0);
      }
    }
    EXPECT_EQ(next, 200);
    close(loop);
  }
}

TEST(PipeTest, ItsDescriptorWorksInAChildAndWhereOthersReceive) {
  const auto [end, other] = Pipe();
  ASSERT_THAT(end.Send(1), IsOk());
  const int fd = *other.fileno();
  Child child([&other = other, fd] {
    EXPECT_TRUE(Readable(fd));
    EXPECT_EQ(*other.Recv<int>(), 1);
    EXPECT_FALSE(Readable(fd));
    EXPECT_EQ(*other.fileno(), fd);
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_FALSE(Readable(fd));
  ASSERT_THAT(end.Send(2), IsOk());
  EXPECT_TRUE(Readable(fd));
  // Another process without one takes what was there, and what comes then is told.
  Child taker([&other = other] { EXPECT_EQ(*other.Recv<int>(), 2); });
  EXPECT_EQ(taker.Finish(), 0);
  ASSERT_THAT(end.Send(3), IsOk());
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(*other.Recv<int>(), 3);
}

TEST(PipeTest, WhereNoDescriptorIsLeftThereIsNoPipe) {
  { const auto first = Pipe(); }  // and a domain
  Child child([] {
    std::vector<int> taken;
    for (int fd = dup(STDIN_FILENO); fd >= 0; fd = dup(STDIN_FILENO)) taken.push_back(fd);
    const absl::Status status = CreatePipe().status();
    for (const int fd : taken) close(fd);
    EXPECT_THAT(status, StatusIs(StatusCode::kResourceExhausted));
    EXPECT_THAT(CreatePipe(), IsOk());
  });
  EXPECT_EQ(child.Finish(), 0);
}

}  // namespace
}  // namespace mp
