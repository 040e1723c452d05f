// Latch, in every order and with deaths at every step: who has joined is counted down once, by
// itself or by its death, and whoever waits goes when all have come, and not before.
//
// The latch is the library's own, handle and all. Shapes: of three processes one or two wait, and
// the others count down, and have joined or not; one that has joined, with two undertakers, the
// first of whom may be killed, beside another; and two threads of one process.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/internal/give_back.h"
#include "sync/latch.h"
#include "tests/model/explore.h"
#include "tests/model/family.h"
#include "tests/model/waits.h"

namespace mp::model {
namespace {

class Scene {
 public:
  Scene(Model& model, int count)
      : model_(model),
        family_(model.Make<Family>(model)),
        latch_(family_.Object<Latch>(count)),
        count_(count) {
    model.Always([this] { return latch_.GetCount() < count_ - MostWhoCame() ? kTooFew : ""; });
    model.Check([this] { return AtTheEnd(); });
  }

  // Processes ---------------------------------------------------------------------------

  void Waiter(std::string_view name) {
    family_.Process(name, [this] {
      latch_.Wait();
      RequireAll();
    });
  }
  void TimedWaiter(std::string_view name) {
    family_.Process(name, [this] {
      if (latch_.Wait(absl::Hours(1))) RequireAll();
    });
  }
  // One that joins, and then counts down.
  ActorId Party(std::string_view name) {
    return AddParty(family_.Holder(name, [this] {
      latch_.Join();
      joined_[Waits::Self()] = 1;
      CountDown();
    }));
  }
  // One of which nobody knows that it is to come.
  ActorId Stranger(std::string_view name) {
    return AddParty(family_.Process(name, [this] { CountDown(); }));
  }

  // Others ------------------------------------------------------------------------------

  // One that is not killed, and counts down in the place of who was killed, and not known to be
  // to come, when nobody else comes any more.
  void Deputy() {
    model_.Spare(model_.Actor("deputy", [this] {
      model_.Await("wait for ends", [this] { return PartiesHaveEnded(); });
      const uint64_t killed =
          model_.Look("look who died", [this] { return CountStrangersKilled(); });
      latch_.CountDown(static_cast<int>(killed));
    }));
  }
  void BuryWhoIsKilled() { family_.BuryWhoIsKilled(); }
  ActorId Undertaker(std::string_view name, ActorId dead, ActorId before = -1) {
    return family_.Undertaker(name, dead, before);
  }

 private:
  using Flags = std::array<uint64_t, Waits::kMostActors>;  // of each actor

  static constexpr const char* kTooFew = "fewer are to come than have not come";

  ActorId AddParty(ActorId actor) {
    is_party_[actor] = 1;
    return actor;
  }
  void CountDown() {
    comes_[Waits::Self()] = 1;
    latch_.CountDown();
    has_come_[Waits::Self()] = 1;
  }
  void Bury(ActorId process) const {
    internal::GiveBackHoldsOf(Waits::IdOf(process), /*pid=*/0, family_.holds());
  }
  void RequireAll() {
    const bool all = model_.Look("look who came", [this] { return MostWhoCame() >= count_; }) != 0;
    model_.Require(all, "a wait ends before all have come");
  }

  bool PartiesHaveEnded() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (is_party_[actor] != 0 && !model_.Ended(actor)) return false;
    }
    return true;
  }
  uint64_t CountStrangersKilled() const {
    uint64_t count = 0;
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      count += is_party_[actor] != 0 && model_.Killed(actor) && joined_[actor] == 0;
    }
    return count;
  }
  // Of who was killed in between nobody can say.
  int MostWhoCame() const {
    int count = 0;
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      count += is_party_[actor] != 0 && (comes_[actor] != 0 || model_.Killed(actor));
    }
    return count;
  }
  int LeastWhoCame() const {
    int count = 0;
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      count += has_come_[actor] != 0 || (joined_[actor] != 0 && model_.Killed(actor));
    }
    return count;
  }
  // All are buried: those who were not, too, and again.
  std::string AtTheEnd() const {
    const int left = latch_.GetCount();
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (is_party_[actor] != 0) Bury(actor);
    }
    if (latch_.GetCount() != left) return "one is counted down by its second burial";
    if (left <= count_ - LeastWhoCame()) return "";
    return absl::StrCat(left, " are to come of ", count_, ", of whom ", LeastWhoCame(), " came");
  }

  Model& model_;
  Family& family_;
  Latch& latch_;
  const int count_;
  Flags is_party_ = {};
  // What is so, whatever the latch says.
  Flags joined_ = {};
  Flags comes_ = {};
  Flags has_come_ = {};
};

TEST(LatchModelTest, AllWhoWaitGo) {
  const Report report = ExploreDeaths(
      {.name = "latch: two wait for one", .timeouts = 1, .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, 1);
        scene.Waiter("untimed");
        scene.TimedWaiter("timed");
        scene.Party("party");
        scene.Deputy();
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Known to be to come, or not.
TEST(LatchModelTest, WhoWaitsGoesWhenAllHaveCome) {
  for (const bool known : {false, true}) {
    const Report report = ExploreDeaths({.name = "latch: one waits for two", .preemptions = 1},
                                        [known](Model& model) {
                                          auto& scene = model.Make<Scene>(model, 2);
                                          scene.Waiter("waiter");
                                          scene.Party("party");
                                          if (known) {
                                            scene.Party("second party");
                                          } else {
                                            scene.Stranger("stranger");
                                          }
                                          scene.Deputy();
                                          scene.BuryWhoIsKilled();
                                        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

// The second undertaker begins when the first is done, or dead. One more never comes.
TEST(LatchModelTest, WhoIsKilledIsCountedDownOnce) {
  const Report report =
      Explore({.name = "latch: two undertakers", .kills = 2, .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, 3);
        const ActorId party = scene.Party("party");
        model.Spare(scene.Party("second party"));
        const ActorId first = scene.Undertaker("buries", party);
        model.Spare(scene.Undertaker("buries again", party, first));
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// The record of the first latch is that of the second by then, or is not.
TEST(LatchModelTest, OfTwoThreadsEachCountsOneDown) {
  const Report report = Explore({.name = "latch: two threads"}, [](Model& model) {
    auto& family = model.Make<Family>(model);
    const auto& first = family.Object<Latch>(3);
    const auto& second = family.Object<Latch>(2);
    const ActorId process = family.Holder("thread", [&] {
      first.Join();
      first.CountDown();
      second.Join();
    });
    family.Thread("second thread", process, [&] { first.CountDown(); });
    model.Check([&, process] {
      if (first.GetCount() != 1) return "two have not counted two down";
      if (second.GetCount() != 2) return "what is joined is counted down";
      internal::GiveBackHoldsOf(Waits::IdOf(process), /*pid=*/0, family.holds());
      if (first.GetCount() != 1) return "one is counted down, and joined still";
      return second.GetCount() == 1 ? "" : "what is joined is not counted down by the death";
    });
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
