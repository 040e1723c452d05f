// The tasks of a pool, in every order and with deaths at every step: each is taken by one worker at
// a time, as it was put, and by a later one if that has died; each is harvested once; and nobody
// sleeps while there is something to do: workers beside a task, the maker beside one that is
// finished, or beside a death.
//
// The state and its maker are the library's own. What their users do is here: a worker takes and
// finishes, the maker harvests, and heals, as Crew does (mp/internal/crew.cc). Of the first two
// workers any may be killed; a third one comes when one was.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "mp/internal/pool_maker.h"
#include "mp/internal/pool_state.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/object_type.h"
#include "shared/owner.h"
#include "tests/model/explore.h"
#include "tests/model/family.h"
#include "tests/model/step.h"
#include "tests/model/waits.h"
#include "tests/support/settings.h"

namespace mp::model {
namespace {

using internal::ObjectType;
using internal::PoolMaker;
using internal::PoolState;
using internal::PoolTask;
using internal::TaskWord;
using Phase = TaskWord::Phase;

// What the maker does with the tasks 0, 1 ...
struct Plan {
  int tasks;                    // in all
  int at_once;                  // at most, under way
  bool revokes = false;         // the last one, when all are put
  bool sleeps_for_all = false;  // until all that are under way are done
  bool meet = false;            // each ends when all have been taken
};

class Scene {
 public:
  Scene(Model& model, const Plan& plan)
      : model_(model), family_(model.Make<Family>(model)), pool_(NewPool(model)), plan_(plan) {
    for (uint32_t w = 0; w < kMortals; ++w) {
      family_.Process(w == 0 ? "one" : "two", [this, w] { Work(w); });
    }
    model.Spare(model.Actor("successor", [this] {
      model_.Await("a death, or the end", [this] { return Killed() != 0 || MakerHasEnded(); });
      Work(kMortals);
    }));
    maker_ = model.Actor("maker", [this] { Make(); });
    model.Spare(maker_);
    family_.BuryWhoIsKilled();
    model.Check([this] { return AtTheEnd(); });
  }

 private:
  static constexpr uint32_t kMortals = 2;
  static constexpr size_t kMost = 4;    // of tasks
  static constexpr uint32_t kRoom = 5;  // places for them

  // As Init() does it, with fewer places: with each step the explorer looks at all of it.
  static PoolState& NewPool(Model& model) {
    auto& pool = *new (model.MakeBytes(sizeof(PoolState), alignof(PoolState))) PoolState;
    pool.state.store(static_cast<uint64_t>(ObjectType::kPool));
    auto* const tasks =
        static_cast<PoolTask*>(model.MakeBytes(kRoom * sizeof(PoolTask), alignof(PoolTask)));
    pool.segments[0].store(reinterpret_cast<uint64_t>(tasks));
    return pool;
  }

  int& NameOf(uint32_t task) const { return reinterpret_cast<int&>(pool_[task].argument.bytes); }

  // Workers ------------------------------------------------------------------------------------

  void Work(uint32_t w) {
    for (;;) {
      const uint32_t task = pool_.AwaitTask(w);
      if (task == PoolState::kNone) return;
      const auto name = static_cast<size_t>(NameOf(task));
      model_.Note(name);
      model_.Require(name < kMost && runs_[name] < puts_[name], "a task is taken twice");
      ++runs_[name];
      if (plan_.meet) model_.Await("for all to be taken", [this] { return AllAreTaken(); });
      if (!pool_.Finish(task, w, /*failed=*/false)) model_.Require(false, "nobody has revoked it");
    }
  }

  // The maker ----------------------------------------------------------------------------------

  // What it alone knows.
  struct Making {
    explicit Making(PoolState& pool) : maker(pool), news(maker.LookForNews()) {}

    PoolMaker maker;
    PoolMaker::News news;
    std::array<bool, kRoom> is_out = {};  // by place: put, and not yet harvested
    uint64_t healed = 0;                  // workers
    int put = 0;
    int out = 0;
    int ended = 0;
  };

  void Make() {
    Making making(pool_);
    bool revokes = plan_.revokes;
    while (making.ended < plan_.tasks) {
      while (making.put < plan_.tasks && making.out < plan_.at_once) Put(making, making.put++);
      if (revokes && making.put == plan_.tasks) {
        revokes = false;
        if (RevokeLast(making)) continue;
      }
      // As Crew::Drive() and DriveUntil() do it.
      const int before = making.ended;
      const PoolMaker::News news = making.maker.LookForNews();
      TakeFinished(making);
      bool any = making.ended != before;
      if (news != making.news) {
        making.news = news;
        any = Heal(making) || any;
      }
      if (any) continue;
      const int at_least = plan_.sleeps_for_all ? making.out : 1;
      making.maker.AwaitFinished(making.maker.After(static_cast<size_t>(at_least)), making.news,
                                 nullptr);
    }
    making.maker.Close();
  }
  void Put(Making& making, int name) {
    const absl::StatusOr<uint32_t> task = making.maker.Allocate();
    model_.Require(task.ok() && *task < kRoom, "there is no room");
    NameOf(*task) = name;
    ++puts_[static_cast<size_t>(name)];
    making.is_out[*task] = true;
    ++making.out;
    making.maker.Put(*task);
    pool_.WakeWorkers(1);
  }
  void TakeFinished(Making& making) {
    making.maker.TakeFinished([&](uint32_t task) { End(making, task); });
  }
  void End(Making& making, uint32_t task) {
    const auto name = static_cast<size_t>(NameOf(task));
    model_.Require(making.is_out[task], "a task is harvested that is not under way");
    model_.Require(runs_[name] != 0, "a task is harvested that nobody has done");
    Retire(making, task);
    ++ended_[name];
    ++making.ended;
  }
  void Retire(Making& making, uint32_t task) {
    making.is_out[task] = false;
    --making.out;
    making.maker.Recycle(task);
  }
  bool RevokeLast(Making& making) {
    for (uint32_t task = 0; task < kRoom; ++task) {
      if (!making.is_out[task] || NameOf(task) != plan_.tasks - 1) continue;
      if (!making.maker.RevokeIfReady(task)) return false;
      model_.Require(runs_[static_cast<size_t>(NameOf(task))] == 0, "it was taken");
      --puts_[static_cast<size_t>(NameOf(task))];
      ++ended_[static_cast<size_t>(NameOf(task))];
      Retire(making, task);
      ++making.ended;
      return true;
    }
    return false;
  }
  bool Heal(Making& making) {
    const uint64_t dead = model_.Look("look who died", [this] { return Killed(); });
    bool any = false;
    for (uint32_t w = 0; w < kMortals; ++w) {
      if (((dead & ~making.healed) >> w & 1) == 0) continue;
      making.healed |= uint64_t{1} << w;
      any = true;
      TakeFinished(making);
      for (uint32_t task = 0; task < kRoom; ++task) {
        if (!making.is_out[task]) continue;
        const TaskWord as = making.maker.Look(task);
        if (as.worker != w) continue;
        if (as.phase == Phase::kDone) {
          End(making, task);
        } else if (as.phase == Phase::kTaken) {
          const int name = NameOf(task);
          // It was taken, whether or not it has come so far as to say so.
          runs_[static_cast<size_t>(name)] = puts_[static_cast<size_t>(name)];
          Put(making, name);
          Retire(making, task);
        }
      }
    }
    return any;
  }

  // Looks --------------------------------------------------------------------------------------

  uint64_t Killed() const {
    uint64_t killed = 0;
    for (uint32_t w = 0; w < kMortals; ++w) {
      if (model_.Killed(static_cast<ActorId>(w))) killed |= uint64_t{1} << w;
    }
    return killed;
  }
  bool MakerHasEnded() const { return model_.Ended(maker_); }
  bool AllAreTaken() const {
    for (int name = 0; name < plan_.tasks; ++name) {
      if (runs_[static_cast<size_t>(name)] == 0) return false;
    }
    return true;
  }
  std::string AtTheEnd() const {
    for (int name = 0; name < plan_.tasks; ++name) {
      if (ended_[static_cast<size_t>(name)] != 1) return "a task was not harvested once";
    }
    return "";
  }

  Model& model_;
  Family& family_;
  PoolState& pool_;
  const Plan plan_;
  ActorId maker_ = 0;
  // By name: how often it was put, taken, and harvested.
  std::array<int, kMost> puts_ = {};
  std::array<int, kMost> runs_ = {};
  std::array<int, kMost> ended_ = {};
};

// Two actors more than most models have, with longer ways: so with fewer preemptions.
Report ExplorePlan(const char* name, const Plan& plan) {
  Report report;
  for (int kills = 0; kills <= 1 && report.Clean(); ++kills) {
    const int preemptions = (mp::testing::Stress() ? 2 : 1) - kills;
    report = Explore({.name = name, .kills = kills, .preemptions = preemptions},
                     [&plan](Model& model) { model.Make<Scene>(model, plan); });
  }
  return report;
}

TEST(PoolModelTest, EachTaskIsDoneOnce) {
  const Report report = ExplorePlan("pool: two tasks", {.tasks = 2, .at_once = 2});
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(PoolModelTest, TheMakerSleepsUntilAllAreDone) {
  const Report report = ExplorePlan("pool: two tasks, waited for at once",
                                    {.tasks = 2, .at_once = 2, .sleeps_for_all = true});
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Two that sleep are woken for two.
TEST(PoolModelTest, TasksMayWaitForOneAnother) {
  const Report report =
      ExplorePlan("pool: two tasks that meet", {.tasks = 2, .at_once = 2, .meet = true});
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// A place is used again when nobody looks there for another task.
TEST(PoolModelTest, PlacesAreUsedAgain) {
  const Report report = ExplorePlan("pool: one after the other", {.tasks = 3, .at_once = 1});
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(PoolModelTest, WhatIsRevokedIsNotTaken) {
  const Report report =
      ExplorePlan("pool: a task is revoked", {.tasks = 2, .at_once = 2, .revokes = true});
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model

// In the place of what a pool asks of the domain for memory.
namespace mp {

absl::StatusOr<void*> Domain::Allocate(size_t, size_t, Owner) { model::Fail("it needs memory"); }
void Domain::NoteUsedHeap() {}
bool Heap::FreeOwnedByUntil(const timespec*, Owner, absl::Span<const void* const>, Owner) {
  return true;
}

}  // namespace mp
