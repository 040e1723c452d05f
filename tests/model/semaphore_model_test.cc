// Who waits for a permit, in every order and with deaths at every step: nobody sleeps on while
// there is one left, whoever is killed.
//
// What is taken without a record is nobody's, and gone with who is killed: then another is released
// in its place, where none is left. holds_model_test has the counts.

#include <gtest/gtest.h>
#include <time.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "shared/internal/holds.h"
#include "shared/internal/object_type.h"
#include "sync/internal/counter_state.h"
#include "tests/model/explore.h"
#include "tests/model/hold_test_peer.h"
#include "tests/model/waits.h"

namespace mp::model {
namespace {

using internal::CounterState;
using internal::Hold;
using internal::ObjectType;
using Peer = internal::HoldTableTestPeer;

class Scene {
 public:
  Scene(Model& model, int initial)
      : model_(model), waits_(model.Make<Waits>(model)), initial_(static_cast<uint64_t>(initial)) {
    semaphore_.state.store(static_cast<uint64_t>(ObjectType::kSemaphore));
    semaphore_.Init(initial_);
  }

  // Without records --------------------------------------------------------------------

  // Those who wait come first.
  void Waiter(std::string_view name) {
    waits_.Process(name, [this] { model_.Require(Take(nullptr), "a wait ends without an end"); });
    ++waiters_;
  }
  void TimedWaiter(std::string_view name) {
    waits_.Process(name, [this] {
      const timespec deadline = Waits::Deadline();
      static_cast<void>(Take(&deadline));
    });
    ++waiters_;
  }
  void Releaser(std::string_view name, uint64_t count) {
    is_releaser_[model_.Actor(name, [this, count] { Release(count); })] = 1;
  }
  // One that takes one, if it finds one, and gives it back.
  void Passer(std::string_view name) {
    is_releaser_[model_.Actor(name, [this] {
      if (semaphore_.TryAcquire(/*slept=*/false)) Release(1);
    })] = 1;
  }
  // One that is not killed, and releases one where none is left, and none will be.
  void Deputy() {
    model_.Spare(model_.Actor("deputy", [this] {
      for (;;) {
        model_.Await("wait for want", [this] {
          return WaitersHaveEnded() || (semaphore_.value() == 0 && ReleasersHaveEnded());
        });
        if (model_.Look("look who waits", [this] { return WaitersHaveEnded() ? 1 : 0; }) != 0) {
          return;
        }
        Release(1);
      }
    }));
  }

  // With records -----------------------------------------------------------------------

  void HaveRecords() {
    waits_.holds().Format(chunks_.data(), 4 * chunks_.size());
    Peer::CommitAll(waits_.holds());
  }
  // Their numbers are those of their chunks. A user gives back what it has waited for.
  void Holder(std::string_view name) {
    OwnChunk(waits_.Process(name, [this] { TakeWithRecord(); }));
    ++waiters_;
  }
  void User(std::string_view name) {
    OwnChunk(waits_.Process(name, [this] {
      Hold& record = TakeWithRecord();
      model_.Require(semaphore_.Release(waits_.holds(), record), "more than there can be");
    }));
  }
  void AllComeBack() {
    model_.Check([this] { return AtTheEnd(); });
  }

  void BuryWhoIsKilled() { waits_.BuryWhoIsKilled(); }

 private:
  bool Take(const timespec* deadline) {
    return semaphore_.WaitToTake(deadline,
                                 [this](bool slept) { return semaphore_.TryAcquire(slept); });
  }
  Hold& TakeWithRecord() {
    Hold& record = Peer::FirstOf(waits_.holds(), Waits::Self());
    const bool taken = semaphore_.WaitToTake(nullptr, [this, &record](bool slept) {
      return semaphore_.TryAcquire(waits_.holds(), record, slept);
    });
    model_.Require(taken, "a wait ends without an end");
    return record;
  }
  void OwnChunk(ActorId actor) {
    Peer::Owner(waits_.holds(), actor).store(Waits::IdOf(actor));
    Peer::FirstOf(waits_.holds(), actor).state.store(Hold::kTaken);
  }
  void Release(uint64_t count) {
    model_.Require(semaphore_.TryRelease(count), "more than there can be");
  }

  bool WaitersHaveEnded() const {
    for (ActorId waiter = 0; waiter < waiters_; ++waiter) {
      if (!model_.Ended(waiter)) return false;
    }
    return true;
  }
  bool ReleasersHaveEnded() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (is_releaser_[actor] != 0 && !model_.Ended(actor)) return false;
    }
    return true;
  }
  std::string AtTheEnd() const {
    const uint64_t left = semaphore_.value();
    return left == initial_ ? "" : absl::StrCat("of ", initial_, ", ", left, " are left");
  }

  Model& model_;
  Waits& waits_;
  CounterState semaphore_;
  const uint64_t initial_;
  std::array<Peer::Chunk, Waits::kLanes> chunks_ = {};
  int waiters_ = 0;
  std::array<uint64_t, Waits::kMostActors> is_releaser_ = {};
};

TEST(SemaphoreModelTest, NobodySleepsWhileThereIsAPermit) {
  const Report report =
      ExploreDeaths({.name = "semaphore: two at once", .preemptions = 2}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, 0);
        for (const char* name : {"one", "two"}) scene.Waiter(name);
        scene.Releaser("releaser", 2);
        scene.Deputy();
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// The second one finds nobody announced: who the first one woke passes it on.
TEST(SemaphoreModelTest, AWakeForTwoIsPassedOn) {
  for (const bool records : {false, true}) {
    const Report report =
        ExploreDeaths({.name = "semaphore: one by one", .preemptions = 1}, [records](Model& model) {
          auto& scene = model.Make<Scene>(model, 0);
          if (records) scene.HaveRecords();
          for (const char* name : {"one", "two"}) {
            if (records) {
              scene.Holder(name);
            } else {
              scene.Waiter(name);
            }
          }
          for (const char* name : {"releaser", "second releaser"}) scene.Releaser(name, 1);
          scene.Deputy();
          scene.BuryWhoIsKilled();
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

TEST(SemaphoreModelTest, ATimeoutTakesNoWakeAlong) {
  const Report report = ExploreDeaths(
      {.name = "semaphore: a timeout", .timeouts = 1, .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, 0);
        scene.TimedWaiter("timed");
        scene.Waiter("untimed");
        scene.Releaser("releaser", 1);
        scene.Deputy();
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// One that takes what a sleeper was woken for.
TEST(SemaphoreModelTest, WhoPassesByLeavesASleeperItsWake) {
  const Report report =
      ExploreDeaths({.name = "semaphore: one that passes by", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, 0);
        for (const char* name : {"one", "two"}) scene.Waiter(name);
        scene.Releaser("releaser", 1);
        scene.Passer("passer");
        scene.Deputy();
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Its permit comes back, and who sleeps gets it.
TEST(SemaphoreModelTest, ThePermitOfWhoIsKilledIsANextOnes) {
  const Report report = ExploreDeaths(
      {.name = "semaphore: permits that are somebody's", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, 1);
        scene.HaveRecords();
        for (const char* name : {"one", "two", "three"}) scene.User(name);
        scene.AllComeBack();
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
