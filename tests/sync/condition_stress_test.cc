// Workers wait on conditions and notify one another, and are killed at random.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>

#include "absl/time/time.h"
#include "shared/raw_value.h"
#include "sync/condition.h"
#include "sync/lock_guard.h"
#include "sync/rlock.h"
#include "tests/support/killer.h"
#include "tests/sync/random_kills.h"
#include "tests/sync/rounds.h"

namespace mp {
namespace {

using testing::KillerReport;
using testing::RandomKillsTest;
using testing::Rounds;
using testing::Worker;

class ConditionStressTest : public RandomKillsTest {};
INSTANTIATE_TEST_SUITE_P(Watched, ConditionStressTest, testing::AllWatches(), testing::WatchName);

struct ByConditions {
  static constexpr int kFollowers = 7;

  RLock lock;
  Condition called{lock};
  Condition answered{lock};

  template <typename Done>
  void AwaitCall(uint64_t, absl::Duration limit, const Done& done) const {
    const LockGuard guard(lock);
    while (!called.WaitFor(done, limit)) {
    }
  }
  template <typename Change>
  void Call(uint64_t round, const Change& change) const {
    const LockGuard guard(lock);
    change();
    switch (round % 3) {
      case 0:
        called.NotifyAll();
        break;
      case 1:
        called.Notify(kFollowers);
        break;
      default:
        for (int i = 0; i < kFollowers; ++i) called.Notify();
    }
  }
  template <typename Done>
  void AwaitAnswers(const Done& done) const {
    const LockGuard guard(lock);
    answered.WaitFor(done);
  }
  template <typename Change>
  void Answer(const Change& change) const {
    const LockGuard guard(lock);
    change();
    answered.Notify();
  }
  void Stop() const {
    const LockGuard guard(lock);
    called.NotifyAll();
    answered.NotifyAll();
  }
};

TEST_P(ConditionStressTest, EveryoneIsWokenWhoeverDies) {
  static_assert(kWorkers == 1 + ByConditions::kFollowers);
  const Rounds<ByConditions> rounds(kWorkers, NapEach(), Nap);
  Run([&](Worker& worker) { rounds.Play(worker); }, [&] { rounds.Stop(); });
}

// Of those who wait one is notified of each change. If it dies another is to see to it.
TEST_P(ConditionStressTest, WhoIsNotifiedAndDiesIsReplacedByAnother) {
  constexpr uint64_t kRoom = 1;
  struct Store {
    uint64_t put = 0;
    uint64_t got = 0;
    std::array<uint64_t, kWorkers> done = {};  // by worker: items put and got
    uint64_t deaths = 0;
    bool broken = false;
  };
  const RLock lock;
  const Condition has_items(lock);
  const Condition has_room(lock);
  const RawValue<Store> store;
  // Of the holder, who may have notified nobody yet.
  auto see_to_death = [&] {
    if (!lock.owner_died()) return;
    ++store->deaths;
    has_items.NotifyAll();
    has_room.NotifyAll();
    lock.MarkConsistent();
  };
  auto work = [&](Worker& worker) {
    const auto index = static_cast<size_t>(worker.index());
    // Whoever replaces another does not do what that one did; but there is always one of each.
    const uint64_t role = index < 2 ? index : index + worker.generation();
    const bool puts = role % 2 == 0;
    const Condition& mine = puts ? has_room : has_items;
    const Condition& others = puts ? has_items : has_room;
    auto can_go_on = [&] {
      see_to_death();
      return worker.Stopping() ||
             (puts ? store->put - store->got < kRoom : store->got < store->put);
    };
    for (uint64_t round = 0; !worker.Stopping(); ++round) {
      {
        const LockGuard guard(lock);
        if (round % 3 != 0) {
          mine.WaitFor(can_go_on);
        } else if (!mine.WaitFor(can_go_on, absl::Hours(1))) {
          abort();
        }
        if (worker.Stopping()) return;
        if (store->put - store->got > kRoom) store->broken = true;
        ++(puts ? store->put : store->got);
        ++store->done[index];
        // With the lock: who waits on a condition stays there.
        if ((store->put + store->got) % NapEach() == 0) Nap();
        others.Notify();
      }
      worker.Progress();
    }
  };
  const KillerReport report = Run(work, [&] {
    const LockGuard guard(lock);
    has_items.NotifyAll();
    has_room.NotifyAll();
  });
  EXPECT_FALSE(store->broken);
  EXPECT_LE(store->deaths, static_cast<uint64_t>(report.kills));
  const uint64_t done = std::accumulate(store->done.begin(), store->done.end(), uint64_t{0});
  EXPECT_LE(done, store->put + store->got);
  // Who died in between was told of.
  EXPECT_LE(store->put + store->got, done + store->deaths + 1);
}

}  // namespace
}  // namespace mp
