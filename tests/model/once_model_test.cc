// Once, in every order and with deaths at every step: one runs it, alone, to its end, and whoever
// called returns when it has been run, and not before.
//
// It is the library's own, handle and all. Shapes: two or three processes that call, of which two
// may throw; who runs it may do so until the others sleep.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "sync/once.h"
#include "tests/model/explore.h"
#include "tests/model/family.h"
#include "tests/model/waits.h"

namespace mp::model {
namespace {

struct Thrown {};

class Scene {
 public:
  explicit Scene(Model& model)
      : model_(model), family_(model.Make<Family>(model)), once_(family_.Object<Once>()) {
    model.Always([this] { return Broken(); });
    model.Check([this] { return AtTheEnd(); });
  }

  void Caller(std::string_view name) {
    family_.Process(name, [this] { Call([] {}); });
  }
  // One that runs it until all others sleep.
  void SlowCaller(std::string_view name) {
    family_.Process(name, [this] { Call([this] { AwaitSleepers(); }); });
  }
  // The same, and then throws.
  void Thrower(std::string_view name) {
    family_.Process(name, [this] {
      try {
        const bool ran = once_.Call([this] {
          Run([this] { AwaitSleepers(); });
          states_[Waits::Self()] = kOut;
          throw Thrown();
        });
        model_.Require(!ran, "what was thrown is lost");
        RequireDone();
      } catch (const Thrown&) {
      }
    });
  }
  void BuryWhoIsKilled() { family_.BuryWhoIsKilled(); }

 private:
  enum Deaths : uint64_t { kNone, kOfOthers, kOfRunners };
  // kHasRun: to the end. kSucceeded: and the call has said so.
  enum State : uint64_t { kOut, kRuns, kHasRun, kSucceeded };

  template <typename Work>
  void Call(const Work& work) {
    if (once_.Call([this, &work] { Run(work); })) states_[Waits::Self()] = kSucceeded;
    RequireDone();
  }
  template <typename Work>
  void Run(const Work& work) {
    states_[Waits::Self()] = kRuns;
    const bool told = once_.owner_died();
    const Deaths deaths = static_cast<Deaths>(model_.Look("look who died", [this] {
      return AnyDiedRunning() ? kOfRunners : family_.AnyKilled() ? kOfOthers : kNone;
    }));
    model_.Require(told || deaths != kOfRunners, "one has died in it, and the next is not told");
    model_.Require(!told || deaths != kNone, "nobody has died, and one is told so");
    work();
    states_[Waits::Self()] = kHasRun;
  }
  void AwaitSleepers() {
    model_.Await("wait for the others", [this] { return family_.OthersSleep(); });
  }
  void RequireDone() {
    const bool run = model_.Look("look who has run it", [this] { return HasRun(); }) != 0;
    model_.Require(run && once_.Done(), "a call returns before it has been run");
  }

  bool AnyDiedRunning() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (states_[actor] == kRuns && model_.Killed(actor)) return true;
    }
    return false;
  }
  bool HasRun() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (states_[actor] >= kHasRun) return true;
    }
    return false;
  }

  // Who was killed before its call has said so may have run it for nothing.
  std::string Broken() const {
    int running = 0;
    int have_run = 0;
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      running += states_[actor] == kRuns && !model_.Killed(actor);
      have_run +=
          states_[actor] == kSucceeded || (states_[actor] == kHasRun && !model_.Killed(actor));
    }
    if (running > 1) return "two run it at once";
    if (running != 0 && have_run != 0) return "it is run again";
    if (have_run > 1) return "it was run twice";
    if (running != 0 && once_.Done()) return "it is done, and somebody runs it";
    return "";
  }
  std::string AtTheEnd() const {
    if (once_.Done()) return HasRun() ? "" : "it is done, and nobody has run it";
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (states_[actor] == kSucceeded) return "it was run, and is not done";
    }
    return "";
  }

  Model& model_;
  Family& family_;
  Once& once_;
  // What is so, whatever it says.
  std::array<State, Waits::kMostActors> states_ = {};
};

TEST(OnceModelTest, OneOfTwoRunsIt) {
  const Report report = ExploreDeaths({.name = "once: two", .preemptions = 4}, [](Model& model) {
    auto& scene = model.Make<Scene>(model);
    for (const char* name : {"one", "two"}) scene.Caller(name);
    scene.BuryWhoIsKilled();
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(OnceModelTest, OneOfThreeRunsIt) {
  const Report report = ExploreDeaths({.name = "once: three", .preemptions = 1}, [](Model& model) {
    auto& scene = model.Make<Scene>(model);
    for (const char* name : {"one", "two", "three"}) scene.Caller(name);
    scene.BuryWhoIsKilled();
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Who is woken may be killed before it runs it.
TEST(OnceModelTest, WhereOneDiesANextOneRunsIt) {
  const Report report =
      ExploreDeaths({.name = "once: two sleep", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        for (const char* name : {"one", "two", "three"}) scene.SlowCaller(name);
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(OnceModelTest, WhereOneThrowsTheNextRunsIt) {
  const Report report =
      ExploreDeaths({.name = "once: two throw", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        for (const char* name : {"one", "two"}) scene.Thrower(name);
        scene.Caller("three");
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
