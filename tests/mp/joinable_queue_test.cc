// What a JoinableQueue promises; the names of Python's cases stand beside those that say the same.

#include "mp/joinable_queue.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "sync/value.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/peer.h"

namespace mp {
namespace {

using testing::Child;
using testing::PeerNames;
using testing::Peers;
using testing::Settle;
using testing::Steps;

absl::StatusCode CodeOf(const absl::Status& status) { return status.code(); }
template <class T>
absl::StatusCode CodeOf(const absl::StatusOr<T>& value) {
  return value.status().code();
}

void ExpectEnds(Process& process) {
  process.Join();
  EXPECT_EQ(process.exitcode(), 0);
}

// A child that takes what it is to take, and is killed.
template <class F>
void DieAfter(F body) {
  Process child([body] {
    body();
    raise(SIGKILL);
  });
  OrDie(child.Start());
  child.Join();
  EXPECT_EQ(child.exitcode(), -SIGKILL);
}

// Get and TaskDone --------------------------------------------------------------------------------

// test_task_done
TEST(JoinableQueueTest, JoinWaitsUntilAllIsDone) {
  const JoinableQueue<int> queue;
  const Value<int> done(0);
  std::vector<Process> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([=] {
      for (int job = queue.Get().value(); job >= 0; job = queue.Get().value()) {
        done.Update([](int& n) { ++n; });
        queue.TaskDone();
      }
      queue.TaskDone();
    });
  }
  for (Process& worker : workers) OrDie(worker.Start());
  for (int round = 1; round <= 20; ++round) {
    for (int i = 0; i < 10; ++i) OrDie(queue.Put(i));
    EXPECT_EQ(queue.Join(), absl::OkStatus());
    EXPECT_EQ(done.Get(), 10 * round);
  }
  for (size_t i = 0; i < workers.size(); ++i) OrDie(queue.Put(-1));
  EXPECT_EQ(queue.Join(), absl::OkStatus());
  for (Process& worker : workers) ExpectEnds(worker);
}

TEST(JoinableQueueTest, AnEmptyOneIsJoined) {
  const JoinableQueue<int> queue;
  EXPECT_EQ(queue.Join(), absl::OkStatus());
  EXPECT_EQ(queue.Join(absl::ZeroDuration()), absl::OkStatus());
}

TEST(JoinableQueueTest, JoinEndsInTime) {
  const JoinableQueue<int> queue;
  OrDie(queue.Put(1));
  EXPECT_EQ(CodeOf(queue.Join(absl::ZeroDuration())), absl::StatusCode::kDeadlineExceeded);
  const absl::Time before = absl::Now();
  EXPECT_EQ(CodeOf(queue.Join(absl::Milliseconds(30))), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(29));
  EXPECT_EQ(queue.Get().value(), 1);
  EXPECT_EQ(CodeOf(queue.Join(absl::Milliseconds(1))), absl::StatusCode::kDeadlineExceeded);
  queue.TaskDone();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

TEST(JoinableQueueTest, GivesWhatIsPutInOrder) {
  const JoinableQueue<std::string> queue(3);
  for (const int size : {0, 10, 1000}) OrDie(queue.Put(std::string(size, 'a')));
  EXPECT_TRUE(queue.Full());
  EXPECT_EQ(queue.Qsize(), 3u);
  EXPECT_EQ(CodeOf(queue.TryPut("b")), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOf(queue.PutMany({"b", "b", "b", "b"})), absl::StatusCode::kInvalidArgument);
  for (const int size : {0, 10, 1000}) EXPECT_EQ(queue.Get().value(), std::string(size, 'a'));
  EXPECT_TRUE(queue.Empty());
  EXPECT_EQ(CodeOf(queue.TryGet()), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOf(queue.TryLease()), absl::StatusCode::kDeadlineExceeded);
  const std::string large(100'000, 'c');
  OrDie(queue.PutMany({large, "d", large}));
  EXPECT_EQ(queue.GetMany(2).value(), std::vector<std::string>({large, "d"}));
  EXPECT_EQ(queue.GetMany(2).value(), std::vector<std::string>({large}));
  EXPECT_EQ(queue.GetMany(0).value(), std::vector<std::string>());
  for (int i = 0; i < 6; ++i) queue.TaskDone();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

using JoinableQueueDeathTest = ::testing::Test;

TEST(JoinableQueueDeathTest, TaskDoneTooOftenEndsTheProcess) {
  const JoinableQueue<int> queue(0, {.name = "jobs"});
  EXPECT_DEATH(queue.TaskDone(), "JoinableQueue \"jobs\": TaskDone.. by pid");
  OrDie(queue.Put(1));
  const auto lease = queue.Lease();
  EXPECT_DEATH(queue.TaskDone(), "every value that was got is done");
  OrDie(queue.Put(2));
  EXPECT_EQ(queue.Get().value(), 2);
  queue.TaskDone();
  EXPECT_DEATH(queue.TaskDone(), "every value that was got is done");
}

// The parent gets, its child says that it is done.
TEST(JoinableQueueTest, WhateverProcessSaysThatItIsDone) {
  const JoinableQueue<int> queue;
  OrDie(queue.PutMany({1, 2}));
  EXPECT_EQ(queue.GetMany(2).value(), std::vector<int>({1, 2}));
  Process child([queue] { queue.TaskDone(); });
  OrDie(child.Start());
  ExpectEnds(child);
  EXPECT_EQ(CodeOf(queue.Join(absl::Milliseconds(1))), absl::StatusCode::kDeadlineExceeded);
  queue.TaskDone();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

// What is got by one and done by another hides nothing that is lost.
TEST(JoinableQueueTest, WhatAnotherProcessHasDoneIsNobodysAnyMore) {
  const JoinableQueue<int> queue;
  OrDie(queue.PutMany({1, 2}));
  EXPECT_EQ(queue.Get().value(), 1);
  Process child([queue] { queue.TaskDone(); });
  OrDie(child.Start());
  ExpectEnds(child);
  DieAfter([queue] { OrDie(queue.Get()); });
  EXPECT_EQ(CodeOf(queue.Join(absl::Seconds(20))), absl::StatusCode::kAborted);
}

TEST(JoinableQueueTest, JoinSaysHowManyAreLost) {
  const JoinableQueue<int> queue(0, {.name = "jobs"});
  OrDie(queue.PutMany({1, 2, 3, 4}));
  EXPECT_EQ(queue.Get().value(), 1);
  DieAfter([queue] {
    OrDie(queue.Get());
    OrDie(queue.Get());
    OrDie(queue.Get());
    queue.TaskDone();
  });
  // This process may still be at it.
  EXPECT_EQ(CodeOf(queue.Join(absl::Milliseconds(1))), absl::StatusCode::kDeadlineExceeded);
  queue.TaskDone();
  const absl::Status joined = queue.Join();
  EXPECT_EQ(joined.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(joined.message(),
            "JoinableQueue \"jobs\": 2 values were got by processes that died before TaskDone(): "
            "call it that often to go on");
  queue.TaskDone();
  EXPECT_EQ(CodeOf(queue.Join()), absl::StatusCode::kAborted);
  queue.TaskDone();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

TEST(JoinableQueueTest, WhatIsStillThereIsNotLost) {
  const JoinableQueue<int> queue;
  OrDie(queue.PutMany({1, 2}));
  DieAfter([queue] { OrDie(queue.Get()); });
  EXPECT_EQ(CodeOf(queue.Join(absl::Milliseconds(1))), absl::StatusCode::kDeadlineExceeded);
  {
    const auto lease = queue.Lease();
    EXPECT_EQ(CodeOf(queue.Join(absl::Milliseconds(1))), absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_EQ(CodeOf(queue.Join(absl::Milliseconds(1))), absl::StatusCode::kDeadlineExceeded);
  queue.Lease()->Finish();
  EXPECT_EQ(CodeOf(queue.Join()), absl::StatusCode::kAborted);
}

// So many that their accounts find new places.
TEST(JoinableQueueTest, ManyProcessesGet) {
  constexpr int kProcesses = 60;
  const JoinableQueue<int> queue;
  for (int i = 0; i < 2 * kProcesses; ++i) OrDie(queue.Put(i));
  EXPECT_EQ(queue.Get().value(), 0);
  for (int i = 0; i < kProcesses; ++i) {
    Process child([queue] {
      OrDie(queue.Get());
      queue.TaskDone();
    });
    OrDie(child.Start());
    ExpectEnds(child);
  }
  while (!queue.Empty()) {
    OrDie(queue.Get());
    queue.TaskDone();
  }
  EXPECT_EQ(CodeOf(queue.Join(absl::Milliseconds(1))), absl::StatusCode::kDeadlineExceeded);
  queue.TaskDone();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

// Leases ------------------------------------------------------------------------------------------

TEST(JoinableQueueTest, ALeaseIsFinishedOnce) {
  const JoinableQueue<std::string> queue;
  OrDie(queue.Put("a"));
  absl::StatusOr<Leased<std::string>> lease = queue.Lease();
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(**lease, "a");
  EXPECT_EQ((*lease)->size(), 1u);
  EXPECT_EQ(lease->deliveries(), 1);
  EXPECT_TRUE(queue.Empty());
  EXPECT_EQ(CodeOf(queue.Join(absl::ZeroDuration())), absl::StatusCode::kDeadlineExceeded);
  lease->Finish();
  lease->Finish();
  EXPECT_EQ(**lease, "a");
  EXPECT_EQ(queue.Join(), absl::OkStatus());
  lease = queue.TryLease();
  EXPECT_EQ(CodeOf(lease), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

TEST(JoinableQueueTest, ADroppedOneComesBackFirst) {
  const JoinableQueue<std::string> queue;
  OrDie(queue.PutMany({"a", "b", "c"}));
  {
    auto a = queue.Lease();
    const auto b = queue.Lease();
    **a = "changed";
    EXPECT_EQ(queue.Qsize(), 1u);
  }
  EXPECT_EQ(queue.Qsize(), 3u);
  // b was dropped first.
  auto b = queue.Lease();
  EXPECT_EQ(**b, "b");
  EXPECT_EQ(b->deliveries(), 2);
  EXPECT_EQ(queue.Get().value(), "a");
  auto c = queue.Lease();
  EXPECT_EQ(**c, "c");
  EXPECT_EQ(c->deliveries(), 1);
  b->Finish();
  c->Finish();
  queue.TaskDone();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

TEST(JoinableQueueTest, AMovedOneIsStillOne) {
  const JoinableQueue<int> queue;
  OrDie(queue.PutMany({1, 2}));
  Leased<int> one = queue.Lease().value();
  Leased<int> moved = std::move(one);
  one.Finish();  // NOLINT(bugprone-use-after-move): nothing to finish
  EXPECT_EQ(queue.Qsize(), 1u);
  moved = queue.Lease().value();
  EXPECT_EQ(*moved, 2);
  EXPECT_EQ(queue.Qsize(), 1u);
  moved.Finish();
  EXPECT_EQ(queue.Get().value(), 1);
  queue.TaskDone();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

TEST(JoinableQueueTest, WhatTheDeadHadComesBack) {
  for (const size_t size : {5, 5000, 100'000}) {
    const JoinableQueue<std::string> queue;
    const std::string value(size, 'v');
    OrDie(queue.PutMany({value, "w"}));
    for (int i = 1; i <= 3; ++i) {
      DieAfter([queue] {
        static auto lease = queue.Lease();
        OrDie(lease.status());
      });
      auto lease = queue.Lease();
      EXPECT_EQ(**lease, value);
      EXPECT_EQ(lease->deliveries(), 2 * i);
    }
    EXPECT_EQ(queue.Get().value(), value);
    EXPECT_EQ(queue.Get().value(), "w");
  }
}

TEST(JoinableQueueTest, ACopyInAChildIsInert) {
  const JoinableQueue<int> queue;
  OrDie(queue.Put(1));
  Leased<int> lease = queue.Lease().value();
  Process child([&] {
    lease.Finish();
    const Leased<int> dropped = std::move(lease);
  });
  OrDie(child.Start());
  ExpectEnds(child);
  EXPECT_TRUE(queue.Empty());
  EXPECT_EQ(CodeOf(queue.Join(absl::ZeroDuration())), absl::StatusCode::kDeadlineExceeded);
  lease.Finish();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

TEST(JoinableQueueTest, ManyAreLeasedAtOnce) {
  constexpr int kMany = 1000;
  const JoinableQueue<int> queue;
  for (int i = 0; i < kMany; ++i) OrDie(queue.Put(i));
  std::vector<Leased<int>> leases;
  for (int i = 0; i < kMany; ++i) {
    leases.push_back(queue.Lease().value());
    ASSERT_EQ(*leases.back(), i);
  }
  for (int i = 0; i < kMany; i += 2) leases[i].Finish();
  leases.clear();
  EXPECT_EQ(queue.Qsize(), size_t{kMany / 2});
  for (int i = 1; i < kMany; i += 2) {
    auto lease = queue.Lease();
    EXPECT_EQ(**lease % 2, 1);
    EXPECT_EQ(lease->deliveries(), 2);
    lease->Finish();
  }
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

TEST(JoinableQueueTest, WhatIsDroppedTooOftenIsADeadLetter) {
  const JoinableQueue<std::string> queue(0, {.max_deliveries = 2});
  OrDie(queue.PutMany({"a", "b"}));
  DieAfter([queue] { static const auto lease = queue.Lease(); });
  EXPECT_EQ(queue.Lease()->deliveries(), 2);
  EXPECT_EQ(queue.DeadLetters(), std::vector<std::string>({"a"}));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(**queue.Lease(), "b");
  EXPECT_TRUE(queue.Empty());
  EXPECT_EQ(queue.Join(), absl::OkStatus());
  EXPECT_EQ(queue.DeadLetters(), std::vector<std::string>({"a", "b"}));
  EXPECT_EQ(queue.DeadLetters(), std::vector<std::string>({"a", "b"}));
}

TEST(JoinableQueueTest, NoLessThanNoDeliveries) {
  EXPECT_EQ(CodeOf(JoinableQueue<int>::Create(0, {.max_deliveries = -1})),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(JoinableQueue<int>::Create(0, {.max_deliveries = 1}).ok());
}

// Waiting -----------------------------------------------------------------------------------------

template <typename Peer>
class JoinableQueuePeerTest : public ::testing::Test {};
TYPED_TEST_SUITE(JoinableQueuePeerTest, Peers, PeerNames);

TYPED_TEST(JoinableQueuePeerTest, WhoWaitsGetsWhatIsPut) {
  const JoinableQueue<int> queue;
  TypeParam peer([&] { EXPECT_EQ(queue.Get().value(), 1); });
  peer.WaitUntilAsleep();
  OrDie(queue.Put(1));
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(JoinableQueuePeerTest, WhoWaitsGetsWhatComesBack) {
  const JoinableQueue<int> queue;
  OrDie(queue.Put(1));
  std::optional<Leased<int>> lease = queue.Lease().value();
  TypeParam peer([&] { EXPECT_EQ(queue.Lease()->deliveries(), 2); });
  peer.WaitUntilAsleep();
  lease.reset();
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(JoinableQueuePeerTest, WhoWaitsGetsWhatTheDeadHad) {
  const JoinableQueue<int> queue;
  OrDie(queue.Put(1));
  Child dies([&](Steps& step) {
    const auto lease = queue.Lease();
    step("leased");
  });
  ASSERT_TRUE(dies.RunTo("leased"));
  TypeParam peer([&] { EXPECT_EQ(queue.Lease()->deliveries(), 2); });
  peer.WaitUntilAsleep();
  dies.Kill();
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(JoinableQueuePeerTest, WhoWaitsForRoomGetsIt) {
  const JoinableQueue<int> queue(1);
  for (const bool leases : {false, true}) {
    OrDie(queue.Put(1));
    TypeParam peer([&] { EXPECT_EQ(queue.Put(2), absl::OkStatus()); });
    peer.WaitUntilAsleep();
    if (leases) {
      queue.Lease()->Finish();
    } else {
      EXPECT_EQ(queue.Get().value(), 1);
    }
    EXPECT_EQ(peer.Finish(), 0);
    EXPECT_EQ(queue.Get().value(), 2);
  }
}

TYPED_TEST(JoinableQueuePeerTest, WhoJoinsGoesOnWhenAllIsDone) {
  const JoinableQueue<int> queue;
  OrDie(queue.PutMany({1, 2}));
  EXPECT_EQ(queue.Get().value(), 1);
  Leased<int> two = queue.Lease().value();
  TypeParam peer([&] { EXPECT_EQ(queue.Join(), absl::OkStatus()); });
  peer.WaitUntilAsleep();
  queue.TaskDone();
  two.Finish();
  EXPECT_EQ(peer.Finish(), 0);
}

TYPED_TEST(JoinableQueuePeerTest, WhoJoinsLearnsWhatIsLost) {
  const JoinableQueue<int> queue;
  OrDie(queue.Put(1));
  Child dies([&](Steps& step) {
    OrDie(queue.Get());
    step("got");
  });
  ASSERT_TRUE(dies.RunTo("got"));
  TypeParam peer([&] { EXPECT_EQ(CodeOf(queue.Join()), absl::StatusCode::kAborted); });
  peer.WaitUntilAsleep();
  dies.Kill();
  EXPECT_EQ(peer.Finish(), 0);
}

// To end ------------------------------------------------------------------------------------------

TEST(JoinableQueueTest, AClosedOneIsDoneWithHere) {
  const JoinableQueue<int> queue;
  OrDie(queue.PutMany({1, 2}));
  Leased<int> lease = queue.Lease().value();
  EXPECT_EQ(queue.Get().value(), 2);
  queue.Close();
  EXPECT_EQ(CodeOf(queue.Put(1)), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(queue.PutMany({1})), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(queue.Get()), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(queue.GetMany(1)), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(queue.Lease()), absl::StatusCode::kFailedPrecondition);
  lease.Finish();
  queue.TaskDone();
  EXPECT_EQ(queue.Join(), absl::OkStatus());
}

TYPED_TEST(JoinableQueuePeerTest, AShutDownOneGivesWhatComesBack) {
  const JoinableQueue<int> queue;
  OrDie(queue.PutMany({1, 2}));
  queue.Shutdown();
  EXPECT_EQ(CodeOf(queue.Put(3)), absl::StatusCode::kFailedPrecondition);
  std::optional<Leased<int>> one = queue.Lease().value();
  std::optional<Leased<int>> two = queue.Lease().value();
  EXPECT_EQ(CodeOf(queue.TryLease()), absl::StatusCode::kDeadlineExceeded);
  TypeParam peer([&] {
    EXPECT_EQ(queue.Get().value(), 1);
    EXPECT_EQ(CodeOf(queue.Get()), absl::StatusCode::kOutOfRange);
  });
  peer.WaitUntilAsleep();
  one.reset();
  peer.WaitUntilAsleep();
  two->Finish();
  EXPECT_EQ(peer.Finish(), 0);
  EXPECT_EQ(CodeOf(queue.Lease()), absl::StatusCode::kOutOfRange);
}

// Whoever takes the last one for good tells the others.
TYPED_TEST(JoinableQueuePeerTest, AllLearnThatNothingComesBack) {
  const JoinableQueue<int> queue;
  OrDie(queue.Put(1));
  Leased<int> lease = queue.Lease().value();
  TypeParam first([&] { EXPECT_EQ(CodeOf(queue.Get()), absl::StatusCode::kOutOfRange); });
  TypeParam second([&] { EXPECT_EQ(CodeOf(queue.Lease()), absl::StatusCode::kOutOfRange); });
  first.WaitUntilAsleep();
  second.WaitUntilAsleep();
  queue.Shutdown();
  lease.Finish();
  EXPECT_EQ(first.Finish(), 0);
  EXPECT_EQ(second.Finish(), 0);
}

TYPED_TEST(JoinableQueuePeerTest, OneShutDownAtOnceIsFinished) {
  const JoinableQueue<std::string> queue;
  const std::string large(100'000, 'x');
  OrDie(queue.PutMany({"a", large, "b", large}));
  { const auto returned = queue.Lease(); }
  { const auto returned = queue.Lease(); }
  std::optional<Leased<std::string>> lease = queue.Lease().value();
  TypeParam peer([&] { EXPECT_EQ(queue.Join(), absl::OkStatus()); });
  peer.WaitUntilAsleep();
  queue.Shutdown(/*immediate=*/true);
  EXPECT_TRUE(queue.Empty());
  EXPECT_EQ(CodeOf(queue.Get()), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CodeOf(queue.Lease()), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CodeOf(queue.Join(absl::ZeroDuration())), absl::StatusCode::kDeadlineExceeded);
  lease.reset();
  EXPECT_EQ(peer.Finish(), 0);
  EXPECT_TRUE(queue.Empty());
}

// Handles -----------------------------------------------------------------------------------------

TEST(JoinableQueueTest, LeasedMessagesCarryHandles) {
  using Job = std::pair<Value<int>, JoinableQueue<int>>;
  (void)Domain::Get();
  Settle();
  const size_t before = Stats().in_use;
  {
    const JoinableQueue<Job> jobs(0, {.max_deliveries = 3});
    {
      const JoinableQueue<int> replies;
      for (int i = 0; i < 4; ++i) OrDie(jobs.Put({Value<int>(i), replies}));
    }
    for (int i = 0; i < 2; ++i) {
      DieAfter([jobs] {
        static const auto lease = jobs.Lease();
        OrDie(lease.status());
      });
    }
    {
      auto lease = jobs.Lease();
      EXPECT_EQ((*lease)->first.Get(), 0);
      EXPECT_EQ(lease->deliveries(), 3);
      OrDie((*lease)->second.Put(7));
    }
    ASSERT_EQ(jobs.DeadLetters().size(), 1u);
    EXPECT_EQ(jobs.DeadLetters()[0].first.Get(), 0);
    Leased<Job> one = jobs.Lease().value();
    EXPECT_EQ(one->second.Get().value(), 7);
    one.Finish();
    EXPECT_EQ(jobs.Get()->first.Get(), 2);
    { const auto returned = jobs.Lease(); }
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before);
}

TEST(JoinableQueueTest, TravelsThroughItselfAndLeavesNothing) {
  struct Message {
    std::vector<JoinableQueue<Message>> queues;
  };
  (void)Domain::Get();
  Settle();
  const size_t before = Stats().in_use;
  {
    const JoinableQueue<Message> queue(0, {.name = "loop"});
    OrDie(queue.Put({{queue, queue}}));
    Leased<Message> message = queue.Lease().value();
    ASSERT_EQ(message->queues.size(), 2u);
    message.Finish();
    OrDie(message->queues[1].Put({}));
    EXPECT_EQ(queue.Qsize(), 1u);
    bool listed = false;
    for (const ObjectInfo& object : ListObjects()) {
      listed = listed || (object.type == "JoinableQueue" && object.name == "loop");
    }
    EXPECT_TRUE(listed);
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before);
}

TEST(JoinableQueueTest, NothingIsLeftOfOne) {
  (void)Domain::Get();
  Settle();
  const size_t before = Stats().in_use;
  {
    const JoinableQueue<std::string> queue(0, {.max_deliveries = 1});
    for (int i = 0; i < 40; ++i) OrDie(queue.Put(std::string(i * 1000, 'x')));
    { const auto dead = queue.Lease(); }
    DieAfter([queue] {
      static const auto lease = queue.Lease();
      (void)queue.Get();
    });
    EXPECT_EQ(queue.DeadLetters().size(), 2u);
    Leased<std::string> kept = queue.Lease().value();
    DieAfter([queue] { static const auto lease = queue.Lease(); });
    kept.Finish();
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before);
}

}  // namespace
}  // namespace mp
