// What a SimpleQueue promises; the names of Python's cases stand beside those that say the same.

#include "mp/simple_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "sync/event.h"
#include "tests/support/bury.h"

namespace mp {
namespace {

using testing::Settle;

// test_empty
TEST(SimpleQueueTest, TellsWhetherItIsEmpty) {
  const SimpleQueue<bool> queue;
  const Event child_can_start;
  const Event parent_can_continue;
  Process child([=] {
    child_can_start.Wait();
    OrDie(queue.Put(queue.Empty()));
    OrDie(queue.Put(queue.Empty()));
    parent_can_continue.Set();
  });
  OrDie(child.Start());
  EXPECT_TRUE(queue.Empty());
  child_can_start.Set();
  parent_can_continue.Wait();
  EXPECT_FALSE(queue.Empty());
  EXPECT_EQ(queue.Get().value(), true);
  EXPECT_EQ(queue.Get().value(), false);
  EXPECT_TRUE(queue.Empty());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
}

// test_close, test_empty_exceptions
TEST(SimpleQueueTest, AClosedOneIsDoneWithHere) {
  const SimpleQueue<int> queue;
  const SimpleQueue<int> other;
  Process child([=] {
    other.Get().IgnoreError();
    OrDie(queue.Put(2));
  });
  OrDie(child.Start());
  queue.Close();
  queue.Close();
  EXPECT_TRUE(absl::IsFailedPrecondition(queue.Put(1)));
  EXPECT_TRUE(absl::IsFailedPrecondition(queue.Get().status()));
  OrDie(other.Put(1));
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_FALSE(queue.Empty());
}

TEST(SimpleQueueTest, KeepsTheOrderAndHoldsWhateverIsPut) {
  const SimpleQueue<std::vector<std::string>> queue;
  for (int i = 0; i < 1000; ++i) OrDie(queue.Put({std::to_string(i), std::string(i * 30, 'x')}));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(queue.Get().value()[0], std::to_string(i));
}

TEST(SimpleQueueTest, AnEmptyOneGivesNothingInTime) {
  const SimpleQueue<int> queue;
  EXPECT_TRUE(absl::IsDeadlineExceeded(queue.Get(absl::ZeroDuration()).status()));
  const absl::Time before = absl::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(queue.Get(absl::Milliseconds(30)).status()));
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(29));
}

TEST(SimpleQueueTest, TravelsThroughItselfAndLeavesNothing) {
  struct Message {
    std::vector<SimpleQueue<Message>> queues;
  };
  (void)Domain::Get();
  Settle();
  const size_t before = Stats().in_use;
  {
    const SimpleQueue<Message> queue({.name = "loop"});
    OrDie(queue.Put({{queue, queue}}));
    const Message message = queue.Get().value();
    ASSERT_EQ(message.queues.size(), 2u);
    OrDie(message.queues[1].Put({}));
    EXPECT_FALSE(queue.Empty());
    bool listed = false;
    for (const ObjectInfo& object : ListObjects()) {
      listed = listed || (object.type == "SimpleQueue" && object.name == "loop");
    }
    EXPECT_TRUE(listed);
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before);
}

}  // namespace
}  // namespace mp
