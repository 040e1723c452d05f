// What a queue of bytes promises to threads and processes that nobody kills.

#include "mp/internal/message_queue.h"

#include <gtest/gtest.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "shared/inspect.h"
#include "shared/internal/deadline.h"
#include "tests/mp/test_queue.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/peer.h"

namespace mp::internal {
namespace {

using Result = MessageQueue::Result;
using mp::testing::kNow;
using mp::testing::Message;
using mp::testing::PeerNames;
using mp::testing::Peers;
using mp::testing::TestQueue;

TEST(MessageQueueTest, IsEmptyAtFirst) {
  const TestQueue queue;
  Result why = Result::kDone;
  EXPECT_EQ(queue.TryGet(&why), std::nullopt);
  EXPECT_EQ(why, Result::kBusy);
  EXPECT_EQ(queue.state().Size(), 0u);
}

TEST(MessageQueueTest, GivesMessagesOfEverySizeInOrder) {
  const TestQueue queue;
  std::vector<std::string> sent;
  for (size_t size = 0; size < 200; ++size) sent.push_back(Message(size, size));
  for (size_t size : {1000, 4096, 16384, 16385, 65536, 1 << 20, 5 << 20}) {
    sent.push_back(Message(size, size));
    sent.push_back(Message(size - 1, size));
  }
  for (const std::string& message : sent) ASSERT_EQ(queue.TryPut(message), Result::kDone);
  EXPECT_EQ(queue.state().Size(), sent.size());
  for (const std::string& message : sent) ASSERT_EQ(queue.TryGet(), message);
  EXPECT_EQ(queue.TryGet(), std::nullopt);
}

// Around the ring's end at every distance from it.
TEST(MessageQueueTest, WrapsAtEveryPlace) {
  const TestQueue queue;
  uint64_t put = 0;
  uint64_t got = 0;
  for (int round = 0; round < 5000; ++round) {
    for (int i = 0; i < 1 + round % 3; ++i, ++put) {
      ASSERT_EQ(queue.TryPut(Message(put * 7 % 90, put)), Result::kDone);
    }
    while (put - got > static_cast<uint64_t>(round % 11)) {
      ASSERT_EQ(queue.TryGet(), Message(got * 7 % 90, got));
      ++got;
    }
  }
  for (; got < put; ++got) ASSERT_EQ(queue.TryGet(), Message(got * 7 % 90, got));
}

TEST(MessageQueueTest, HoldsWhateverIsPutAndGivesItsMemoryBack) {
  const TestQueue queue;
  const size_t before = Stats().in_use;
  constexpr uint64_t kMany = 200'000;
  for (uint64_t i = 0; i < kMany; ++i) ASSERT_EQ(queue.TryPut(Message(40, i)), Result::kDone);
  EXPECT_GT(Stats().in_use, before + kMany * 40);
  for (uint64_t i = 0; i < kMany; ++i) ASSERT_EQ(queue.TryGet(), Message(40, i));
  // One ring.
  EXPECT_LT(Stats().in_use, before + (size_t{2} << 20));
  ASSERT_TRUE(mp::Check().ok());
}

TEST(MessageQueueTest, LeavesNothingBehind) {
  (void)TestQueue();
  mp::testing::Settle();
  const size_t before = Stats().in_use;
  {
    const TestQueue queue;
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(queue.TryPut(Message(500, i)), Result::kDone);
    ASSERT_EQ(queue.TryPut(Message(100'000, 1)), Result::kDone);
    for (int i = 0; i < 500; ++i) ASSERT_TRUE(queue.TryGet().has_value());
  }
  mp::testing::Settle();
  EXPECT_EQ(Stats().in_use, before);
}

TEST(MessageQueueTest, HoldsAsManyMessagesAsItMay) {
  const TestQueue queue(3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.TryPut("x"), Result::kDone);
  EXPECT_EQ(queue.TryPut("y"), Result::kBusy);
  EXPECT_EQ(queue.TryPut(Message(100'000, 1)), Result::kBusy);
  EXPECT_EQ(queue.TryGet(), "x");
  EXPECT_EQ(queue.TryPut("z"), Result::kDone);
  EXPECT_EQ(queue.TryPut("y"), Result::kBusy);
  EXPECT_EQ(queue.state().Size(), 3u);
}

TEST(MessageQueueTest, ATimeoutIsAsLongAsItSays) {
  const TestQueue queue(1);
  constexpr absl::Duration kTimeout = absl::Milliseconds(30);
  auto now = [] {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return absl::DurationFromTimespec(time);
  };
  absl::Duration begin = now();
  EXPECT_EQ(queue.Get(Deadline(kTimeout).get()), std::nullopt);
  EXPECT_GE(now() - begin, kTimeout);
  ASSERT_EQ(queue.TryPut("x"), Result::kDone);
  begin = now();
  EXPECT_EQ(queue.Put("y", Deadline(kTimeout).get()), Result::kBusy);
  EXPECT_GE(now() - begin, kTimeout);
}

TEST(MessageQueueTest, WhoIsShutGivesWhatIsLeft) {
  const TestQueue queue;
  ASSERT_EQ(queue.TryPut("x"), Result::kDone);
  MessageQueue(queue.state()).Shut(/*drop=*/false);
  EXPECT_EQ(queue.Put("y"), Result::kShut);
  EXPECT_EQ(queue.Put(Message(100'000, 1)), Result::kShut);
  EXPECT_EQ(queue.Get(), "x");
  Result why = Result::kDone;
  EXPECT_EQ(queue.Get(nullptr, &why), std::nullopt);
  EXPECT_EQ(why, Result::kShut);
}

TEST(MessageQueueTest, WhoIsShutAtOnceGivesNothing) {
  const TestQueue queue;
  for (int i = 0; i < 100; ++i) ASSERT_EQ(queue.TryPut("x"), Result::kDone);
  ASSERT_EQ(queue.TryPut(Message(100'000, 1)), Result::kDone);
  ASSERT_EQ(queue.TryGet(), "x");
  MessageQueue(queue.state()).Shut(/*drop=*/true);
  Result why = Result::kDone;
  EXPECT_EQ(queue.Get(nullptr, &why), std::nullopt);
  EXPECT_EQ(why, Result::kShut);
  EXPECT_EQ(queue.state().Size(), 0u);
}

template <typename Peer>
class MessageQueuePeerTest : public ::testing::Test {};
TYPED_TEST_SUITE(MessageQueuePeerTest, Peers, PeerNames);

TYPED_TEST(MessageQueuePeerTest, WhoWaitsForAMessageGetsIt) {
  const TestQueue queue;
  TypeParam peer([&] { EXPECT_EQ(queue.Get(), "x"); });
  peer.WaitUntilAsleep();
  ASSERT_EQ(queue.TryPut("x"), Result::kDone);
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(MessageQueuePeerTest, WhoWaitsForRoomGetsIt) {
  const TestQueue queue(1);
  ASSERT_EQ(queue.TryPut("x"), Result::kDone);
  TypeParam peer([&] { EXPECT_EQ(queue.Put("y"), Result::kDone); });
  peer.WaitUntilAsleep();
  EXPECT_EQ(queue.TryGet(), "x");
  EXPECT_EQ(queue.Get(), "y");
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(MessageQueuePeerTest, WhoWaitsLearnsThatItIsShut) {
  const TestQueue queue(1);
  const TestQueue full(1);
  ASSERT_EQ(full.TryPut("x"), Result::kDone);
  TypeParam gets([&] {
    Result why = Result::kDone;
    EXPECT_EQ(queue.Get(nullptr, &why), std::nullopt);
    EXPECT_EQ(why, Result::kShut);
  });
  TypeParam puts([&] { EXPECT_EQ(full.Put("y"), Result::kShut); });
  gets.WaitUntilAsleep();
  puts.WaitUntilAsleep();
  MessageQueue(queue.state()).Shut(/*drop=*/false);
  MessageQueue(full.state()).Shut(/*drop=*/false);
  EXPECT_EQ(gets.Finish(), 0);
  EXPECT_EQ(puts.Finish(), 0);
}

}  // namespace
}  // namespace mp::internal
