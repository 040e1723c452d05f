// RandomKillsTest: workers that wait for one another are killed at random and replaced; nobody may
// be left asleep, and nothing be left behind.
//
//   class EventStressTest : public RandomKillsTest {};
//   INSTANTIATE_TEST_SUITE_P(, EventStressTest, AllWatches(), WatchName);
//   TEST_P(EventStressTest, ...) {
//     const KillerReport report = Run([&](Worker& worker) { ... });
//   }
//
// Each is run twice. Once as in life: one of those who sleep buries the dead. Once the test holds
// that one's duty and does nothing but bury: then whoever has slept for long looks up by itself
// only after days, so that a lost wake-up is a hang. Nap() makes the others sleep for long.

#ifndef MP_TESTS_SYNC_RANDOM_KILLS_H_
#define MP_TESTS_SYNC_RANDOM_KILLS_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "tests/shared/gives_back.h"
#include "tests/support/bury.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/held_duty.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"

namespace mp::testing {

enum class Watch { kSentry, kTest };

class RandomKillsTest : public GivesBackTest, public ::testing::WithParamInterface<Watch> {
 protected:
  static constexpr int kWorkers = 8;

  void SetUp() override {
    if (GetParam() == Watch::kTest && !HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
  }

  // `on_stop` wakes who would sleep on for others that have ended.
  static KillerReport Run(const std::function<void(Worker&)>& work,
                          const std::function<void()>& on_stop = {}) {
    KillerOptions options;
    options.workers = kWorkers;
    options.kills = Stress() ? 10'000 : kSanitized ? 50 : 150;
    options.stops = 0.1;
    // Many die on their way from a wake to what they were woken for.
    options.longest_life = std::chrono::microseconds(500);
    options.on_stop = on_stop;
    // The test's watchdog maps the domain, too. That it is not one who was killed before it had
    // told its pid is seen at the kernel's clock, in ticks of 10 ms.
    usleep(20'000);
    std::optional<HeldDuty> duty;
    if (GetParam() == Watch::kTest) {
      duty.emplace();
      options.after_kill = Settle;
    }
    KillerReport report = RunKiller(work, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    duty.reset();
    SettleUntilAlone();
    return report;
  }

  // Longer than the first nap of who sleeps.
  static void Nap() { usleep(30'000); }
  // After so many rounds; rarely, where somebody may look up by itself.
  static uint64_t NapEach() { return GetParam() == Watch::kTest ? 10 : 250; }
};

inline auto AllWatches() { return ::testing::Values(Watch::kSentry, Watch::kTest); }
inline std::string WatchName(const ::testing::TestParamInfo<Watch>& info) {
  return info.param == Watch::kSentry ? "BySentry" : "ByTest";
}

}  // namespace mp::testing

#endif  // MP_TESTS_SYNC_RANDOM_KILLS_H_
