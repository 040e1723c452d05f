// A thousand threads of many processes wait, and all of them go on when they are woken: not one by
// itself, and no more at once than were meant.

#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

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
#include "tests/support/futex_waitv.h"
#include "tests/support/gate.h"
#include "tests/support/held_duty.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Child;
using testing::Gate;
using testing::HasFutexWaitv;
using testing::HeldDuty;
using testing::Inherited;
using testing::kSanitized;
using testing::SleepsBesideSentry;
using testing::Stress;
using testing::WaitUntilAsleepInFutex;

constexpr int kThreads = 20;  // of each process
int Processes() { return Stress() ? 50 : kSanitized ? 4 : 10; }
int Waiters() { return Processes() * kThreads; }

// Who waits. (A sanitizer has threads of its own.)
struct Crowd {
  std::atomic<int> size{0};
  std::array<std::atomic<pid_t>, 50 * kThreads> tids{};
};

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

  void Wait(Turnstile& turnstile) const {
    event.Wait();
    turnstile.Go();
  }
  void Wake(int) const { event.Set(); }
};

struct Pulse : Set {
  void Wake(int) const {
    event.Set();
    event.Clear();
  }
};

struct NotifyAll {
  static constexpr int kPortions = 1;
  const Condition condition;

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

  void Wake(int count) const {
    const LockGuard guard(condition);
    condition.Notify(count);
  }
};

struct Release {
  static constexpr int kPortions = 4;
  const Semaphore semaphore{0};

  void Wait(Turnstile& turnstile) const {
    semaphore.Acquire();
    turnstile.Go();
  }
  void Wake(int count) const { semaphore.Release(count); }
};

struct CountDown {
  static constexpr int kPortions = 1;
  const Latch latch{1};

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
  EndOfWriting() ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Acquire(); }
  void Wait(Turnstile& turnstile) const {
    const SharedLockGuard guard(lock);
    turnstile.Go();
  }
  void Wake(int) const ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Release(); }
};

struct LastParty {
  static constexpr int kPortions = 1;
  const Barrier barrier{Waiters() + 1};

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

  EndOfCall() : runner([this] { once.Call([this] { Run(); }); }) { begun->Wait(); }
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

template <typename W>
class ManyWaitersTest : public ::testing::Test {};
TYPED_TEST_SUITE(ManyWaitersTest, Ways, WayNames);

TYPED_TEST(ManyWaitersTest, AsManyAreWokenAsAreMeant) {
  const TypeParam way;
  const Inherited<Turnstile> turnstile;
  const Inherited<Crowd> crowd;
  // None of them looks up by itself before long.
  const HeldDuty duty;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < Processes(); ++i) {
    children.push_back(std::make_unique<Child>([&](auto& step) {
      std::vector<std::thread> threads;
      for (int j = 0; j < kThreads; ++j) {
        threads.emplace_back([&] {
          crowd->tids[crowd->size.fetch_add(1)] = gettid();
          way.Wait(*turnstile);
        });
      }
      step("started");
      for (std::thread& thread : threads) thread.join();
    }));
  }
  for (const auto& child : children) {
    ASSERT_TRUE(child->RunTo("started"));
    child->Go();
  }
  for (int i = 0; i < Waiters(); ++i) {
    while (crowd->tids[i] == 0) std::this_thread::yield();
    const pid_t tid = crowd->tids[i];
    EXPECT_TRUE(HasFutexWaitv() ? SleepsBesideSentry(tid) : WaitUntilAsleepInFutex(tid));
  }
  for (int i = 0; i < TypeParam::kPortions; ++i) {
    const int portion = Waiters() / TypeParam::kPortions;
    turnstile->allowed += portion;
    way.Wake(portion);
    while (turnstile->gone < turnstile->allowed) std::this_thread::yield();
  }
  for (const auto& child : children) EXPECT_EQ(child->Finish(), 0);
}

}  // namespace
}  // namespace mp
