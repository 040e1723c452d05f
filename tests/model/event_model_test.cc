// Event, in every order and with deaths at every step: nobody sleeps on where it is set, or was
// since the wait began, whoever is killed.

#include <gtest/gtest.h>
#include <time.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "sync/internal/event_state.h"
#include "tests/model/explore.h"
#include "tests/model/waits.h"

namespace mp::model {
namespace {

using internal::EventState;

class Scene {
 public:
  explicit Scene(Model& model) : model_(model), waits_(model.Make<Waits>(model)) { event_.Init(); }

  // Waiters come first.
  void Waiter(std::string_view name) {
    waits_.Process(name, [this] { Wait(nullptr); });
    ++waiters_;
  }
  void TimedWaiter(std::string_view name) {
    waits_.Process(name, [this] {
      const timespec deadline = Waits::Deadline();
      Wait(&deadline);
    });
    ++waiters_;
  }
  ActorId Setter(std::string_view name) {
    return model_.Actor(name, [this] { Set(); });
  }
  // Once all wait.
  ActorId Pulser(std::string_view name) {
    return model_.Actor(name, [this] { Pulse(); });
  }
  ActorId Clearer(std::string_view name) {
    return model_.Actor(name, [this] { event_.Clear(); });
  }
  // One that sets it, or pulses, where both were killed before they have.
  void SetInPlaceOf(ActorId one, ActorId other) {
    Deputy(one, other, [this] { Set(); });
  }
  void PulseInPlaceOf(ActorId one, ActorId other) {
    Deputy(one, other, [this] {
      if (event_.Look() >> EventState::kCountShift == 0) Pulse();
    });
  }
  void BuryWhoIsKilled() { waits_.BuryWhoIsKilled(); }

 private:
  void Deputy(ActorId one, ActorId other, std::function<void()> act) {
    model_.Spare(model_.Actor("deputy", [this, one, other, act = std::move(act)] {
      model_.Await("wait for ends",
                   [this, one, other] { return model_.Ended(one) && model_.Ended(other); });
      act();
    }));
  }
  // As Event::Wait().
  void Wait(const timespec* deadline) {
    const uint64_t seen = event_.Look();
    has_begun_[Waits::Self()] = 1;
    if (EventState::IsSet(seen)) return;
    const bool was_set = event_.WaitSince(seen, deadline);
    model_.Require(was_set || deadline != nullptr, "a wait ends without an end");
    model_.Require(was_set || set_ == 0, "it was set, and a wait has not seen it");
  }
  void Set() {
    event_.Set();
    set_ = 1;
  }
  void Pulse() {
    model_.Await("wait for waiters", [this] {
      for (ActorId actor = 0; actor < waiters_; ++actor) {
        if (has_begun_[actor] == 0 && !model_.Ended(actor)) return false;
      }
      return true;
    });
    Set();
    event_.Clear();
  }

  Model& model_;
  Waits& waits_;
  EventState event_;
  int64_t waiters_ = 0;
  std::array<uint64_t, Waits::kMostActors> has_begun_ = {};
  uint64_t set_ = 0;  // it was, and who slept is awake
};

TEST(EventModelTest, WhoWaitsIsWokenWhoeverDies) {
  const Report report =
      ExploreDeaths({.name = "event: set", .timeouts = 1, .preemptions = 2}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        scene.Waiter("untimed");
        scene.TimedWaiter("timed");
        const ActorId setter = scene.Setter("setter");
        scene.SetInPlaceOf(setter, setter);
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(EventModelTest, NobodyMissesAPulse) {
  const Report report =
      ExploreDeaths({.name = "event: a pulse", .timeouts = 1, .preemptions = 2}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        scene.Waiter("untimed");
        scene.TimedWaiter("timed");
        const ActorId pulser = scene.Pulser("pulser");
        scene.PulseInPlaceOf(pulser, pulser);
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// One may set it and be killed, and the other find it set, or clear it, before somebody is woken.
TEST(EventModelTest, TwoPulsesAreNotLessThanOne) {
  const Report report =
      ExploreDeaths({.name = "event: two pulses", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        for (const char* name : {"one", "two"}) scene.Waiter(name);
        const ActorId pulser = scene.Pulser("pulser");
        scene.PulseInPlaceOf(pulser, scene.Pulser("second pulser"));
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Who comes when it was cleared waits for the next time.
TEST(EventModelTest, AClearLosesNoSleeper) {
  const Report report = ExploreDeaths({.name = "event: clear", .preemptions = 1}, [](Model& model) {
    auto& scene = model.Make<Scene>(model);
    for (const char* name : {"one", "two"}) scene.Waiter(name);
    const ActorId setter = scene.Setter("setter");
    scene.SetInPlaceOf(setter, scene.Clearer("clearer"));
    scene.BuryWhoIsKilled();
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
