// The wall clock may be set while somebody waits: a timeout ends no earlier and no later for it.
// What shows this are the system calls of each wait; a test may not set the clock.

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "shared/internal/deadline.h"
#include "shared/internal/robust_mutex.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "tests/support/inherited.h"
#include "tests/support/timed_calls.h"
#include "tests/sync/lock_types.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using std::chrono::milliseconds;
using testing::LockNames;
using testing::Locks;
using testing::TimedCalls;
using testing::WatchTimedCalls;

// Longer than the first nap of a wait: its later sleeps are other calls.
constexpr absl::Duration kTimeout = absl::Milliseconds(60);

// That a process that waits, and gives up, goes by a clock that nobody sets. `wait` is whether it
// got what it waited for.
void ExpectSteady(const std::string& name, const std::function<bool()>& wait) {
  const TimedCalls calls = WatchTimedCalls([&] {
    if (wait()) _exit(1);
  });
  EXPECT_EQ(calls.status, 0) << name << " did not wait for all its time";
  EXPECT_GT(calls.by_steady_clock, 0) << name;
  EXPECT_EQ(calls.by_wall_clock, 0) << name;
}

template <typename L>
class LockClockTest : public ::testing::Test {};
TYPED_TEST_SUITE(LockClockTest, Locks, LockNames);

TYPED_TEST(LockClockTest, ATimeoutIsOfTheSteadyClock) {
  const TypeParam lock;
  lock.Acquire();
  ExpectSteady("Acquire", [&] { return lock.Acquire(kTimeout); });
  ExpectSteady("try_lock_until", [&] {
    return lock.try_lock_until(std::chrono::system_clock::now() +
                               absl::ToChronoMilliseconds(kTimeout));
  });
  lock.Release();
}

TEST(ClockTest, ATimeoutOfARWLockIsOfTheSteadyClock) {
  const RWLock lock;
  lock.Acquire();
  ExpectSteady("Acquire, among writers", [&] { return lock.Acquire(kTimeout); });
  ExpectSteady("AcquireShared", [&] { return lock.AcquireShared(kTimeout); });
  lock.Release();
  lock.AcquireShared();
  ExpectSteady("Acquire, among readers", [&] { return lock.Acquire(kTimeout); });
  lock.ReleaseShared();
}

TEST(ClockTest, ATimeoutOfASemaphoreIsOfTheSteadyClock) {
  const Semaphore semaphore(0);
  ExpectSteady("Acquire", [&] { return semaphore.Acquire(kTimeout); });
  ExpectSteady("AcquirePermit", [&] { return semaphore.AcquirePermit(kTimeout).has_value(); });
  const BoundedSemaphore bounded(0);
  ExpectSteady("BoundedSemaphore", [&] { return bounded.Acquire(kTimeout); });
}

TEST(ClockTest, ATimeoutOfAConditionIsOfTheSteadyClock) {
  const Condition condition;
  ExpectSteady("Wait", [&] {
    const LockGuard guard(condition);
    return condition.Wait(kTimeout);
  });
  ExpectSteady("WaitFor", [&] {
    const LockGuard guard(condition);
    return condition.WaitFor([] { return false; }, kTimeout);
  });
}

TEST(ClockTest, ATimeoutOfAnEventABarrierOrALatchIsOfTheSteadyClock) {
  const Event event;
  ExpectSteady("Event", [&] { return event.Wait(kTimeout); });
  const Latch latch(1);
  ExpectSteady("Latch", [&] { return latch.Wait(kTimeout); });
  const Barrier barrier(2);
  ExpectSteady("Barrier", [&] { return barrier.Wait(kTimeout).ok(); });
  const Barrier impatient(2, {.timeout = kTimeout});
  ExpectSteady("Barrier, with its own timeout", [&] { return impatient.Wait().ok(); });
}

// Under all locks, and those of the heap.
TEST(ClockTest, ATimeoutOfARobustMutexIsOfTheSteadyClock) {
  const testing::Inherited<internal::RobustMutex> mutex;
  mutex->Init(/*recursive=*/false);
  mutex->Lock();
  ExpectSteady("LockUntil", [&] {
    return mutex->LockUntil(internal::MonotonicDeadline(kTimeout)) !=
           internal::RobustMutex::Result::kBusy;
  });
  EXPECT_TRUE(mutex->Unlock());
}

// A clock that is set when it has been looked at once.
template <int kHours>
struct ClockThatIsSet {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<ClockThatIsSet>;
  static constexpr bool is_steady = false;

  static constexpr time_point kStart{std::chrono::hours(1000)};
  static inline int looks = 0;
  static time_point now() { return looks++ == 0 ? kStart : kStart + std::chrono::hours(kHours); }
};

// A point in time is turned into a timeout at once, and that is the last look at its clock. (Who
// looked again would wait for an hour, or not at all.)
template <typename Clock>
void ExpectOneLook(const std::function<bool(typename Clock::time_point)>& acquire) {
  constexpr milliseconds kWait{60};
  Clock::looks = 0;
  const auto start = std::chrono::steady_clock::now();
  std::thread([&] { EXPECT_FALSE(acquire(Clock::kStart + kWait)); }).join();
  EXPECT_GE(std::chrono::steady_clock::now() - start, kWait);
  EXPECT_EQ(Clock::looks, 1);
}

template <typename L>
void ExpectOneLookWhetherSetBackOrForward(const L& lock) {
  ExpectOneLook<ClockThatIsSet<-1>>([&](auto time) { return lock.try_lock_until(time); });
  ExpectOneLook<ClockThatIsSet<+1>>([&](auto time) { return lock.try_lock_until(time); });
}

TYPED_TEST(LockClockTest, AClockThatIsSetMeanwhileIsNotAskedAgain) {
  const TypeParam lock;
  lock.Acquire();
  ExpectOneLookWhetherSetBackOrForward(lock);
  lock.Release();
}

TEST(ClockTest, AClockThatIsSetMeanwhileIsNotAskedAgainByAnRWLock) {
  const RWLock lock;
  lock.Acquire();
  ExpectOneLookWhetherSetBackOrForward(lock);
  ExpectOneLook<ClockThatIsSet<-1>>([&](auto time) { return lock.try_lock_shared_until(time); });
  ExpectOneLook<ClockThatIsSet<+1>>([&](auto time) { return lock.try_lock_shared_until(time); });
  lock.Release();
}

}  // namespace
}  // namespace mp
