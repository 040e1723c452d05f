// A queue's waiting, in every order and with deaths at every step: nobody sleeps beside a message,
// or beside room, whoever is killed: who puts before it has woken, who gets when it was woken and
// has not yet taken it.
//
// What is taken by who is killed is gone with it: then another message is put in its place.

#include <gtest/gtest.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "mp/internal/cargo.h"
#include "mp/internal/message_queue.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/queue_bell.h"
#include "mp/internal/queue_ring.h"
#include "mp/internal/queue_state.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/atomic.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object_type.h"
#include "shared/owner.h"
#include "tests/model/explore.h"
#include "tests/model/family.h"
#include "tests/model/step.h"
#include "tests/model/waits.h"

namespace mp::model {
namespace {

using internal::MessageQueue;
using internal::ObjectType;
using internal::QueueRing;
using internal::QueueState;

class Scene {
 public:
  // `limit`: of messages; 0: none.
  Scene(Model& model, uint64_t limit)
      : model_(model), family_(model.Make<Family>(model)), state_(NewState(model)) {
    state_.state.store(static_cast<uint64_t>(ObjectType::kQueue));
    // A small ring: with each step the explorer looks at all of it.
    constexpr uint32_t kUnits = 16;
    auto* const ring =
        static_cast<QueueRing*>(model.MakeBytes(QueueRing::SizeOf(kUnits), alignof(QueueRing)));
    ring->mask = kUnits - 1;
    for (internal::Word* word : {&state_.put_ring, &state_.get_ring}) {
      word->store(reinterpret_cast<uint64_t>(ring));
    }
    state_.limit = limit;
    state_.put.Init(/*recursive=*/false);
    state_.get.Init(/*recursive=*/false);
  }

  // Who may sleep comes first.
  void Getter(std::string_view name) {
    family_.Process(name, [this] { Get(nullptr); });
    ++sleepers_;
  }
  void TimedGetter(std::string_view name) {
    family_.Process(name, [this] {
      const timespec deadline = Waits::Deadline();
      Get(&deadline);
    });
    ++sleepers_;
  }
  void Putter(std::string_view name) {
    family_.Process(name, [this] { Put(); });
    ++sleepers_;
  }
  // Without a lane; does not sleep.
  void QuickPutter(std::string_view name, int count) {
    NoteQuick(model_.Actor(name, [this, count] {
      for (int i = 0; i < count; ++i) Put();
    }));
  }
  void QuickPutterOfMany(std::string_view name, size_t count) {
    NoteQuick(model_.Actor(name, [this, count] {
      const MessageQueue::Outgoing empty = {internal::MessageHead::Kind::kBytes, 0, nullptr};
      RequireDone(MessageQueue(state_).PutMany(
          count, [&](size_t) { return empty; }, nullptr));
    }));
  }
  void QuickGetter(std::string_view name, int count) {
    NoteQuick(model_.Actor(name, [this, count] {
      for (int i = 0; i < count; ++i) TryGet();
    }));
  }
  // Before the actors run. An empty message is a zero.
  void Fill(uint32_t count) {
    state_.tail.store(internal::QueueEnd{.messages = count, .position = count}.word());
  }
  // One that is not killed, and puts where nothing is left, and nothing will come.
  void PutsWhatIsMissing() {
    Deputy([this] { return state_.Size() == 0; }, [this] { Put(); });
  }
  // The same, and makes room.
  void GetsWhatIsTooMuch() {
    Deputy([this] { return state_.Size() >= state_.limit; }, [this] { TryGet(); });
  }
  void BuryWhoIsKilled() { family_.BuryWhoIsKilled(); }

 private:
  static QueueState& NewState(Model& model) {
    return *new (model.MakeBytes(sizeof(QueueState), alignof(QueueState))) QueueState;
  }

  template <typename Wants, typename Act>
  void Deputy(const Wants& wants, const Act& act) {
    model_.Spare(model_.Actor("deputy", [this, wants, act] {
      for (;;) {
        model_.Await("wait for want", [this, &wants] {
          return SleepersHaveEnded() || (wants() && QuickOnesHaveEnded());
        });
        if (model_.Look("look who waits", [this] { return SleepersHaveEnded() ? 1 : 0; }) != 0) {
          return;
        }
        act();
      }
    }));
  }

  void RequireDone(MessageQueue::Result result) {
    model_.Require(result == MessageQueue::Result::kDone, "a wait ends without an end");
  }
  void Put() {
    RequireDone(MessageQueue(state_).Put(
        0, [](void*) {}, nullptr));
  }
  void Get(const timespec* deadline) {
    const MessageQueue::Result result = MessageQueue(state_).Get(
        [](const void*, size_t) {}, [](const MessageQueue::Block&) {}, deadline);
    if (deadline == nullptr) RequireDone(result);
  }
  void TryGet() {
    const timespec past = {};
    Get(&past);
  }

  void NoteQuick(ActorId actor) { is_quick_ |= uint64_t{1} << actor; }
  bool SleepersHaveEnded() const {
    for (ActorId actor = 0; actor < sleepers_; ++actor) {
      if (!model_.Ended(actor)) return false;
    }
    return true;
  }
  bool QuickOnesHaveEnded() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if ((is_quick_ >> actor & 1) != 0 && !model_.Ended(actor)) return false;
    }
    return true;
  }

  Model& model_;
  Family& family_;
  QueueState& state_;
  ActorId sleepers_ = 0;
  uint64_t is_quick_ = 0;
};

TEST(QueueModelTest, EachPutWakesOne) {
  const Report report =
      ExploreDeaths({.name = "queue: two puts", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, uint64_t{0});
        for (const char* name : {"one", "two"}) scene.Getter(name);
        scene.QuickPutter("putter", 2);
        scene.PutsWhatIsMissing();
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(QueueModelTest, ManyWakeAsMany) {
  const Report report =
      ExploreDeaths({.name = "queue: many at once", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, uint64_t{0});
        for (const char* name : {"one", "two"}) scene.Getter(name);
        scene.QuickPutterOfMany("putter", 2);
        scene.PutsWhatIsMissing();
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// It takes no wake along that is another's.
TEST(QueueModelTest, WhoGivesUpLosesNoMessage) {
  const Report report = ExploreDeaths({.name = "queue: a timeout", .timeouts = 1, .preemptions = 1},
                                      [](Model& model) {
                                        auto& scene = model.Make<Scene>(model, uint64_t{0});
                                        scene.Getter("untimed");
                                        scene.TimedGetter("timed");
                                        scene.QuickPutter("putter", 1);
                                        scene.PutsWhatIsMissing();
                                        scene.BuryWhoIsKilled();
                                      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Who is faster takes what another was woken for.
TEST(QueueModelTest, WhoIsWokenInVainSleepsAgain) {
  const Report report =
      ExploreDeaths({.name = "queue: a faster one", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model, uint64_t{0});
        scene.Getter("getter");
        scene.QuickPutter("putter", 1);
        scene.QuickGetter("faster", 1);
        scene.PutsWhatIsMissing();
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(QueueModelTest, EachGetMakesRoomForOne) {
  const Report report = ExploreDeaths({.name = "queue: room", .preemptions = 1}, [](Model& model) {
    auto& scene = model.Make<Scene>(model, uint64_t{2});
    scene.Fill(2);
    for (const char* name : {"one", "two"}) scene.Putter(name);
    scene.QuickGetter("getter", 2);
    scene.GetsWhatIsTooMuch();
    scene.BuryWhoIsKilled();
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model

// In the place of what a queue asks of the domain, for small messages and one ring.
namespace mp {

absl::StatusOr<void*> Domain::Allocate(size_t, size_t, Owner) { model::Fail("a ring is added"); }
void Domain::NoteUsedHeap() {}
void Heap::Free(void*, Owner) { model::Fail("a block is freed"); }
void Heap::SetOwner(void*, Owner) { model::Fail("a block has a new owner"); }
bool Heap::ForEachBlockUntil(const timespec*, absl::FunctionRef<void(const Block&)>) {
  return true;
}

namespace internal {

void Cargo::Drop() const {}
void DropHandlesIn(void*, size_t) {}
bool EndObjectsInLimbo() { return false; }
bool QueueBell::Ring(QueueState&, QueueEvent) const { return true; }

}  // namespace internal
}  // namespace mp
