// What Semaphore and BoundedSemaphore promise to threads and processes that nobody kills.

#include "sync/semaphore.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "tests/support/child.h"

namespace mp {
namespace {

using testing::Child;

TEST(SemaphoreTest, CountsDownAndUp) {
  const Semaphore semaphore(2);
  semaphore.Acquire();
  EXPECT_TRUE(semaphore.TryAcquire());
  EXPECT_EQ(semaphore.GetValue(), 0);
  EXPECT_FALSE(semaphore.TryAcquire());
  EXPECT_FALSE(semaphore.Acquire(absl::Milliseconds(5)));
  semaphore.Release(2);
  EXPECT_EQ(semaphore.GetValue(), 2);
}

TEST(SemaphoreTest, APermitComesBack) {
  const Semaphore semaphore(1);
  {
    const Permit permit = semaphore.AcquirePermit();
    EXPECT_EQ(semaphore.GetValue(), 0);
    EXPECT_EQ(semaphore.TryAcquirePermit(), std::nullopt);
  }
  EXPECT_EQ(semaphore.GetValue(), 1);
}

TEST(SemaphoreTest, APermitOfOneWhoIsKilledComesBack) {
  const Semaphore semaphore(1);
  Child child([&](auto& step) {
    const Permit permit = semaphore.AcquirePermit();
    step("has it");
  });
  ASSERT_TRUE(child.RunTo("has it"));
  Child next([&] { const Permit permit = semaphore.AcquirePermit(); });
  next.Go();
  ASSERT_TRUE(next.WaitUntilAsleep());
  child.Kill();
  EXPECT_EQ(next.Finish(), 0);
  EXPECT_EQ(semaphore.GetValue(), 1);
}

}  // namespace
}  // namespace mp
