// Condition, in every order and with deaths at every step: whom a notify was for goes, and without
// a death nobody else does, whoever is killed.
//
// What Condition does with its lock around a state is written out here. The lock's next holder does
// not wake whom the notifier was to wake, as it would: it is for the notifier, or its burial.

#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>

#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/robust_mutex.h"
#include "sync/internal/condition_state.h"
#include "tests/model/explore.h"
#include "tests/model/waits.h"

namespace mp::model {
namespace {

using internal::ConditionState;
using internal::Lane;
using internal::RobustMutex;
using internal::SleepsOn;

constexpr int kAll = 0xffff;

class Scene {
 public:
  explicit Scene(Model& model) : model_(model), waits_(model.Make<Waits>(model)) {
    condition_.Init();
    model.Always([this] { return Broken(); });
  }

  // Those who wait from the beginning come first.
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
  // One that comes when they have been notified, or will not be.
  ActorId LateWaiter(std::string_view name) {
    return waits_.Process(name, [this] {
      model_.Await("wait for a notify", [this] { return notifies_ != 0 || NotifiersHaveEnded(); });
      Wait(nullptr);
    });
  }
  // One that is not counted, and goes at any time.
  void WaiterWithoutLane(std::string_view name) {
    model_.Actor(name, [this] { Wait(nullptr); });
    ++waiters_;
  }
  // Once they wait.
  void Notifier(std::string_view name, int count) {
    const ActorId notifier = model_.Actor(name, [this, count] {
      AwaitWaiters();
      Notify(count);
    });
    is_notifier_[notifier] = 1;
    ++notifiers_;
  }
  // One that is not killed, and notifies all where a notifier was killed before it has. Then `act`.
  void Deputy(std::function<void()> act) {
    model_.Spare(model_.Actor("deputy", [this, act = std::move(act)] {
      model_.Await("wait for ends", [this] { return NotifiersHaveEnded(); });
      AwaitWaiters();
      if (notifies_ < notifiers_) Notify(kAll);
      act();
    }));
  }
  void BuryWhoIsKilled() { waits_.BuryWhoIsKilled(); }

  // By actors --------------------------------------------------------------------------

  void Notify(int count) {
    Acquire();
    const int sleepers = condition_.Notify(count);
    ++notifies_;
    notified_ += static_cast<uint64_t>(std::min(count, waiters_));
    Release();
    if (sleepers != 0) internal::FutexWake(condition_.word(), sleepers);
  }
  void AwaitComing(ActorId waiter) {
    model_.Await("wait for a waiter", [this, waiter] { return HasCome(waiter); });
  }
  void AwaitGoing(ActorId waiter) {
    model_.Await("wait for one to go", [this, waiter] { return HasGone(waiter); });
  }
  // Of those who wait from the beginning one, where one is left.
  void AwaitOneGoing() {
    model_.Await("wait for one to go", [this] {
      bool all_ended = true;
      for (ActorId waiter = 0; waiter < waiters_; ++waiter) {
        if (acts_[waiter] != 0) return true;
        all_ended = all_ended && model_.Ended(waiter);
      }
      return all_ended;
    });
  }

 private:
  using Flags = std::array<uint64_t, Waits::kMostActors>;  // of each actor

  // As Condition::WaitUntil().
  void Wait(const timespec* deadline) {
    Acquire();
    {
      Lane* const lane = internal::LaneForNotes();
      const SleepsOn note(lane, condition_.word());
      ConditionState::Waiter waiter(condition_, condition_.mutex, lane);
      model_.Require(waiter.Register(), "there is no room for one more");
      comes_[Waits::Self()] = 1;
      waits_now_[Waits::Self()] = lane != nullptr ? 1 : 0;
      Release();
      const bool notified = waiter.Wait(deadline);
      model_.Require(notified || deadline != nullptr, "a wait ends without an end");
      waits_now_[Waits::Self()] = 0;
      goes_[Waits::Self()] = notified && lane != nullptr ? 1 : 0;
      Acquire();
      // One that is killed before it has the lock has not gone: the notify is another's.
      acts_[Waits::Self()] = goes_[Waits::Self()];
    }
    Release();
  }
  void Acquire() {
    if (condition_.mutex.Lock() == RobustMutex::Result::kOwnerDied) {
      condition_.mutex.MarkConsistent();
    }
  }
  void Release() { model_.Require(condition_.mutex.Unlock(), "somebody else has the lock"); }

  bool HasCome(ActorId waiter) const { return comes_[waiter] != 0 || model_.Ended(waiter); }
  bool HasGone(ActorId waiter) const { return acts_[waiter] != 0 || model_.Ended(waiter); }
  void AwaitWaiters() {
    model_.Await("wait for waiters", [this] {
      for (ActorId waiter = 0; waiter < waiters_; ++waiter) {
        if (!HasCome(waiter)) return false;
      }
      return true;
    });
  }
  bool NotifiersHaveEnded() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (is_notifier_[actor] != 0 && !model_.Ended(actor)) return false;
    }
    return true;
  }
  bool AnyKilled() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (model_.Killed(actor)) return true;
    }
    return false;
  }
  static uint64_t Count(const Flags& flags) {
    return std::accumulate(flags.begin(), flags.end(), uint64_t{0});
  }

  uint64_t Waiting() const { return condition_.signal.load() >> 48; }
  std::string Broken() const {
    const uint64_t signal = condition_.signal.load();
    const uint64_t tokens = signal >> 32 & 0xffff;
    if (tokens > Waiting()) return "C2: there are more tokens than there are who wait";
    if (Waiting() == 0 && (signal & 1) != 0) return "C2: nobody waits, and somebody sleeps";
    if (Waiting() > Count(waits_now_)) return "more are counted than wait, or were killed so";
    if (Count(goes_) > notified_ && !AnyKilled()) return "more go than were notified";
    return "";
  }

  Model& model_;
  Waits& waits_;
  ConditionState condition_;
  int waiters_ = 0;
  int notifiers_ = 0;
  Flags is_notifier_ = {};
  // What is so, whatever the state says.
  Flags comes_ = {};
  Flags waits_now_ = {};  // and is counted
  Flags goes_ = {};
  Flags acts_ = {};        // goes, and has the lock
  int notifies_ = 0;       // how many there were
  uint64_t notified_ = 0;  // of how many, at most
};

// Either may go.
TEST(ConditionModelTest, OneOfTwoGoes) {
  const Report report =
      ExploreDeaths({.name = "condition: one of two", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        for (const char* name : {"one", "two"}) scene.Waiter(name);
        scene.Notifier("notifier", 1);
        scene.Deputy([&scene] {
          scene.AwaitOneGoing();
          scene.Notify(1);
        });
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// A wait that comes to its end takes no notify along.
TEST(ConditionModelTest, ATimeoutLosesNoNotify) {
  const Report report = ExploreDeaths(
      {.name = "condition: a timeout", .timeouts = 1, .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        scene.TimedWaiter("timed");
        scene.Waiter("untimed");
        scene.Notifier("notifier", 1);
        scene.Deputy([&scene] {
          scene.AwaitOneGoing();
          scene.Notify(1);
        });
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(ConditionModelTest, AllGo) {
  const Report report =
      ExploreDeaths({.name = "condition: all", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        for (const char* name : {"one", "two"}) scene.Waiter(name);
        scene.Notifier("notifier", kAll);
        scene.Deputy([] {});
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Two notifiers wake for themselves, in any order.
TEST(ConditionModelTest, TwoNotifiesAreForTwo) {
  const Report report =
      ExploreDeaths({.name = "condition: two notifies", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        for (const char* name : {"one", "two"}) scene.Waiter(name);
        for (const char* name : {"notifier", "second notifier"}) scene.Notifier(name, 1);
        scene.Deputy([] {});
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// A wake that it gets may be another's.
TEST(ConditionModelTest, WhoHasNoLanePassesOn) {
  const Report report = Explore({.name = "condition: without a lane"}, [](Model& model) {
    auto& scene = model.Make<Scene>(model);
    scene.WaiterWithoutLane("without a lane");
    scene.Waiter("waiter");
    scene.Notifier("notifier", 1);
    scene.Deputy([] {});
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Who comes later does not go in its place; nor is a notify for it one of the dead's.
TEST(ConditionModelTest, ANotifyIsForWhoWaitedBefore) {
  const Report report =
      ExploreDeaths({.name = "condition: who comes later", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        scene.Waiter("waiter");
        const ActorId late = scene.LateWaiter("late");
        scene.Notifier("notifier", 1);
        scene.Deputy([&scene, late] {
          scene.AwaitGoing(0);
          scene.AwaitComing(late);
          scene.Notify(1);
        });
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
