// A thousand threads of many processes wait, and all of them go on when they are woken: not one by
// itself, and no more at once than were meant.

#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/child.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/held_duty.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"
#include "tests/sync/ways.h"

namespace mp {
namespace {

using testing::Child;
using testing::HasFutexWaitv;
using testing::HeldDuty;
using testing::Inherited;
using testing::kSanitized;
using testing::SleepsBesideSentry;
using testing::Stress;
using testing::Turnstile;
using testing::WaitUntilAsleepInFutex;
using testing::WayNames;
using testing::Ways;

constexpr int kThreads = 20;  // of each process
int Processes() { return Stress() ? 50 : kSanitized ? 4 : 10; }
int Waiters() { return Processes() * kThreads; }

// Who waits. (A sanitizer has threads of its own.)
struct Crowd {
  std::atomic<int> size{0};
  std::array<std::atomic<pid_t>, 50 * kThreads> tids{};
};

template <typename W>
class ManyWaitersTest : public ::testing::Test {};
TYPED_TEST_SUITE(ManyWaitersTest, Ways, WayNames);

TYPED_TEST(ManyWaitersTest, AsManyAreWokenAsAreMeant) {
  const TypeParam way(Waiters());
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
