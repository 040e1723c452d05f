// A thousand threads of many processes wait, and all of them go on when they are woken: not one by
// itself, and no more at once than were meant.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/lock_guard.h"
#include "sync/semaphore.h"
#include "tests/support/child.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/held_duty.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Child;
using testing::HasFutexWaitv;
using testing::HeldDuty;
using testing::Inherited;
using testing::kSanitized;
using testing::SleepsBesideSentry;
using testing::Stress;
using testing::WaitUntilAsleepInFutex;

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

using Ways = ::testing::Types<Set, Pulse, NotifyAll, Notify, Release>;

class WayNames {
 public:
  template <typename W>
  static std::string GetName(int) {
    if constexpr (std::is_same_v<W, Set>) return "Set";
    if constexpr (std::is_same_v<W, Pulse>) return "Pulse";
    if constexpr (std::is_same_v<W, NotifyAll>) return "NotifyAll";
    if constexpr (std::is_same_v<W, Notify>) return "Notify";
    if constexpr (std::is_same_v<W, Release>) return "Release";
  }
};

// Each thread of the process but the main one.
void ExpectThreadsAsleep(pid_t pid) {
  const std::string tasks = absl::StrCat("/proc/", pid, "/task");
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    pid_t tid = 0;
    ASSERT_TRUE(absl::SimpleAtoi(task.path().filename().string(), &tid));
    if (tid == pid) continue;
    EXPECT_TRUE(HasFutexWaitv() ? SleepsBesideSentry(tid) : WaitUntilAsleepInFutex(tid));
  }
}

template <typename W>
class ManyWaitersTest : public ::testing::Test {};
TYPED_TEST_SUITE(ManyWaitersTest, Ways, WayNames);

TYPED_TEST(ManyWaitersTest, AsManyAreWokenAsAreMeant) {
  constexpr int kThreads = 20;
  const int processes = Stress() ? 50 : kSanitized ? 4 : 10;
  const TypeParam way;
  const Inherited<Turnstile> turnstile;
  // None of them looks up by itself before long.
  const HeldDuty duty;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < processes; ++i) {
    children.push_back(std::make_unique<Child>([&](auto& step) {
      std::vector<std::thread> threads;
      for (int j = 0; j < kThreads; ++j) threads.emplace_back([&] { way.Wait(*turnstile); });
      step("started");
      for (std::thread& thread : threads) thread.join();
    }));
  }
  for (const auto& child : children) {
    ASSERT_TRUE(child->RunTo("started"));
    child->Go();
    ExpectThreadsAsleep(child->pid());
  }
  for (int i = 0; i < TypeParam::kPortions; ++i) {
    const int portion = processes * kThreads / TypeParam::kPortions;
    turnstile->allowed += portion;
    way.Wake(portion);
    while (turnstile->gone < turnstile->allowed) std::this_thread::yield();
  }
  for (const auto& child : children) EXPECT_EQ(child->Finish(), 0);
}

}  // namespace
}  // namespace mp
