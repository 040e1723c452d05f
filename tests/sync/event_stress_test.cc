// Workers set, clear and wait for events, and are killed at random.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "absl/time/time.h"
#include "sync/event.h"
#include "tests/support/killer.h"
#include "tests/sync/random_kills.h"
#include "tests/sync/rounds.h"

namespace mp {
namespace {

using testing::RandomKillsTest;
using testing::Rounds;
using testing::Worker;

class EventStressTest : public RandomKillsTest {};
INSTANTIATE_TEST_SUITE_P(Watched, EventStressTest, testing::AllWatches(), testing::WatchName);

struct ByEvents {
  std::array<Event, 2> calls;  // by the last bit of the round that they end
  Event answered;

  template <typename Done>
  void AwaitCall(uint64_t round, absl::Duration limit, const Done& done) const {
    while (!done()) static_cast<void>(calls[round % 2].Wait(limit));
  }
  template <typename Change>
  void Call(uint64_t round, const Change& change) const {
    // Everybody has answered, and so is past it.
    calls[(round + 1) % 2].Clear();
    change();
    calls[round % 2].Set();
  }
  template <typename Done>
  void AwaitAnswers(const Done& done) const {
    for (;;) {
      answered.Clear();
      if (done()) return;
      answered.Wait();
    }
  }
  template <typename Change>
  void Answer(const Change& change) const {
    change();
    answered.Set();
  }
  void Stop() const {
    for (const Event& call : calls) call.Set();
    answered.Set();
  }
};

TEST_P(EventStressTest, EveryoneIsWokenWhoeverDies) {
  const Rounds<ByEvents> rounds(kWorkers, NapEach(), Nap);
  Run([&](Worker& worker) { rounds.Play(worker); }, [&] { rounds.Stop(); });
}

}  // namespace
}  // namespace mp
