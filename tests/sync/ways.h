// Ways to wait for another, and to be let go: what waits is the same for each primitive's test.
//
//   TYPED_TEST_SUITE(SomeTest, Ways, WayNames);
//   ...
//   const TypeParam way(2);        // of two that are to wait
//   way.Wait(*turnstile);          // in each of them
//   turnstile->allowed += 2;
//   way.Wake(2);

#ifndef MP_TESTS_SYNC_WAYS_H_
#define MP_TESTS_SYNC_WAYS_H_

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <type_traits>

#include "absl/base/thread_annotations.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/latch.h"
#include "sync/lock_guard.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "tests/support/child.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"

namespace mp::testing {

// How many may go, and how many have gone.
struct Turnstile {
  std::atomic<int> allowed{0};
  std::atomic<int> gone{0};

  void Go() { EXPECT_LE(++gone, allowed); }
};

// Wake(count) lets that many of those who wait go.
struct Set {
  static constexpr int kPortions = 1;
  const Event event;

  explicit Set(int) {}

  void Wait(Turnstile& turnstile) const {
    event.Wait();
    turnstile.Go();
  }
  void Wake(int) const { event.Set(); }
};

struct Pulse : Set {
  using Set::Set;

  void Wake(int) const {
    event.Set();
    event.Clear();
  }
};

struct NotifyAll {
  static constexpr int kPortions = 1;
  const Condition condition;

  explicit NotifyAll(int) {}

  void Wait(Turnstile& turnstile) const {
    const LockGuard guard(condition);
    condition.Wait();
    turnstile.Go();
  }
  void Wake(int) const {
    const LockGuard guard(condition);
    condition.NotifyAll();
  }
};

struct Notify : NotifyAll {
  static constexpr int kPortions = 4;

  using NotifyAll::NotifyAll;

  void Wake(int count) const {
    const LockGuard guard(condition);
    condition.Notify(count);
  }
};

struct Release {
  static constexpr int kPortions = 4;
  const Semaphore semaphore{0};

  explicit Release(int) {}

  void Wait(Turnstile& turnstile) const {
    semaphore.Acquire();
    turnstile.Go();
  }
  void Wake(int count) const { semaphore.Release(count); }
};

struct CountDown {
  static constexpr int kPortions = 1;
  const Latch latch{1};

  explicit CountDown(int) {}

  void Wait(Turnstile& turnstile) const {
    latch.Wait();
    turnstile.Go();
  }
  void Wake(int) const { latch.CountDown(); }
};

struct EndOfWriting {
  static constexpr int kPortions = 1;
  const RWLock lock;

  // By this process, from one function to the other: Clang would have it in one.
  explicit EndOfWriting(int) ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Acquire(); }
  void Wait(Turnstile& turnstile) const {
    const SharedLockGuard guard(lock);
    turnstile.Go();
  }
  void Wake(int) const ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Release(); }
};

struct LastParty {
  static constexpr int kPortions = 1;
  const Barrier barrier;

  explicit LastParty(int waiters) : barrier(waiters + 1) {}

  void Wait(Turnstile& turnstile) const {
    EXPECT_TRUE(barrier.Wait().ok());
    turnstile.Go();
  }
  void Wake(int) const { EXPECT_TRUE(barrier.Wait().ok()); }
};

struct EndOfCall {
  static constexpr int kPortions = 1;
  const Once once;
  const Inherited<Gate> begun;
  const Inherited<Gate> ends;
  Child runner;

  explicit EndOfCall(int) : runner([this] { once.Call([this] { Run(); }); }) { begun->Wait(); }
  ~EndOfCall() { EXPECT_EQ(runner.Finish(), 0); }
  void Run() const {
    begun->Open();
    ends->Wait();
  }
  void Wait(Turnstile& turnstile) const {
    EXPECT_FALSE(once.Call([] {}));
    turnstile.Go();
  }
  void Wake(int) const { ends->Open(); }
};

using Ways = ::testing::Types<Set, Pulse, NotifyAll, Notify, Release, CountDown, EndOfWriting,
                              LastParty, EndOfCall>;

class WayNames {
 public:
  template <typename W>
  static std::string GetName(int) {
    if constexpr (std::is_same_v<W, Set>) return "Set";
    if constexpr (std::is_same_v<W, Pulse>) return "Pulse";
    if constexpr (std::is_same_v<W, NotifyAll>) return "NotifyAll";
    if constexpr (std::is_same_v<W, Notify>) return "Notify";
    if constexpr (std::is_same_v<W, Release>) return "Release";
    if constexpr (std::is_same_v<W, CountDown>) return "CountDown";
    if constexpr (std::is_same_v<W, EndOfWriting>) return "EndOfWriting";
    if constexpr (std::is_same_v<W, LastParty>) return "LastParty";
    if constexpr (std::is_same_v<W, EndOfCall>) return "EndOfCall";
  }
};

}  // namespace mp::testing

#endif  // MP_TESTS_SYNC_WAYS_H_
