// RWLock, in every order and with deaths at every step: never a writer beside anybody else, and
// nobody sleeps on, whoever is killed.
//
// The lock is the library's own, handle and all. Shapes: a writer and a reader; three writers; two
// writers, one of which comes twice, and a reader; a writer and two readers. Each may wait, or give
// up; who is killed is buried at some time after that.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "sync/rwlock.h"
#include "tests/model/explore.h"
#include "tests/model/family.h"
#include "tests/model/waits.h"

// Who holds it is killed, and gives nothing back: the thread-safety analysis would not let it.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp::model {
namespace {

// Ways to acquire.
enum Way { kUntimed, kTimed, kTry };

class Scene {
 public:
  explicit Scene(Model& model)
      : model_(model), family_(model.Make<Family>(model)), lock_(family_.Object<RWLock>()) {
    model.Always([this] { return Broken(); });
    model.Check([this] { return AtTheEnd(); });
  }

  ActorId Writer(std::string_view name, Way way = kUntimed) {
    return family_.Process(name, [this, way] { Write(way, [] {}); });
  }
  ActorId Reader(std::string_view name, Way way = kUntimed) {
    return family_.Holder(name, [this, way] { Read(way, [] {}); });
  }
  // One that writes until all others sleep.
  ActorId WriterOfAll(std::string_view name) {
    return family_.Process(name, [this] {
      Write(kUntimed, [this] {
        model_.Await("wait for the others", [this] { return family_.OthersSleep(); });
      });
    });
  }
  // One that comes when somebody reads.
  ActorId LateWriter(std::string_view name, ActorId reader) {
    return family_.Process(name, [this, reader] {
      model_.Await("wait for a reader", [this, reader] { return HasCome(reads_, reader); });
      Write(kUntimed, [] {});
    });
  }
  // One that writes, and then again until another sleeps.
  ActorId WriterAgain(std::string_view name, ActorId other) {
    return family_.Process(name, [this, other] {
      Write(kUntimed, [] {});
      Write(kUntimed, [this, other] {
        again_ = 1;
        model_.Await("wait for another",
                     [this, other] { return Family::Sleeps(other) || HasCome(writes_, other); });
      });
    });
  }
  // One that comes when that one writes again.
  ActorId WriterBehind(std::string_view name, ActorId other) {
    return family_.Process(name, [this, other] {
      model_.Await("wait for a writer",
                   [this, other] { return again_ != 0 || model_.Ended(other); });
      Write(kUntimed, [] {});
    });
  }
  // One that reads until a writer sleeps, and then reads again.
  ActorId ReaderAgain(std::string_view name, ActorId writer) {
    return family_.Holder(name, [this, writer] {
      Read(kUntimed, [this, writer] {
        model_.Await("wait for a writer",
                     [this, writer] { return Family::Sleeps(writer) || HasCome(writes_, writer); });
        lock_.AcquireShared();
        lock_.ReleaseShared();
      });
    });
  }
  // One that comes when a writer sleeps, and has to stand back.
  ActorId LateReader(std::string_view name, ActorId writer) {
    return family_.Holder(name, [this, writer] {
      model_.Await("wait for a writer",
                   [this, writer] { return Family::Sleeps(writer) || HasCome(writes_, writer); });
      const bool sleeps =
          model_.Look("look who sleeps", [&] { return Family::Sleeps(writer); }) != 0;
      Read(kUntimed, [this, writer, sleeps] {
        const bool came =
            model_.Look("look who wrote", [&] { return HasCome(writes_, writer); }) != 0;
        model_.Require(came || !sleeps, "a reader has not stood back for a writer that waited");
      });
    });
  }
  // One that comes when somebody writes, and reads until another reads, too.
  ActorId ReaderBeside(std::string_view name, ActorId writer, ActorId other) {
    return family_.Holder(name, [this, writer, other] {
      model_.Await("wait for a writer", [this, writer] { return HasCome(writes_, writer); });
      Read(kUntimed, [this, other] {
        model_.Await("wait for a reader", [this, other] { return HasCome(reads_, other); });
      });
    });
  }
  // One that comes when another is gone, takes the first hold that is free, and reads until
  // `undertaker` is gone.
  ActorId ReaderAfter(std::string_view name, ActorId dead, ActorId undertaker) {
    return family_.Process(name, [this, dead, undertaker] {
      model_.Await("wait for an end", [this, dead] { return model_.Ended(dead); });
      Read(kUntimed, [this, undertaker] {
        model_.Await("wait for a burial", [this, undertaker] { return model_.Ended(undertaker); });
      });
    });
  }
  void BuryWhoIsKilled() { family_.BuryWhoIsKilled(); }
  ActorId Undertaker(std::string_view name, ActorId dead, ActorId before = -1) {
    return family_.Undertaker(name, dead, before);
  }

 private:
  enum Deaths : uint64_t { kNone, kOfOthers, kOfWriters };
  enum State : uint64_t { kOut, kIn, kGone };
  using States = std::array<State, Waits::kMostActors>;  // of each actor

  template <typename Look>
  void Write(Way way, const Look& look) {
    if (!AcquireToWrite(way)) return;
    writes_[Waits::Self()] = kIn;
    if (IsTold()) {
      lock_.MarkConsistent();
      ForgetTheDead();
      model_.Require(!lock_.owner_died(), "a writer is told again of what it has repaired");
    }
    look();
    writes_[Waits::Self()] = kGone;
    lock_.Release();
  }
  template <typename Look>
  void Read(Way way, const Look& look) {
    if (!AcquireToRead(way)) return;
    reads_[Waits::Self()] = kIn;
    static_cast<void>(IsTold());
    look();
    reads_[Waits::Self()] = kGone;
    lock_.ReleaseShared();
  }

  bool AcquireToWrite(Way way) {
    if (way == kTry) return lock_.TryAcquire();
    if (way == kTimed) return lock_.Acquire(absl::Hours(1));
    lock_.Acquire();
    return true;
  }
  bool AcquireToRead(Way way) {
    if (way == kTry) return lock_.TryAcquireShared();
    if (way == kTimed) return lock_.AcquireShared(absl::Hours(1));
    lock_.AcquireShared();
    return true;
  }

  // By a holder.
  bool IsTold() {
    const bool told = lock_.owner_died();
    const Deaths deaths = static_cast<Deaths>(model_.Look("look who died", [this] {
      return DiedWriting() ? kOfWriters : family_.AnyKilled() ? kOfOthers : kNone;
    }));
    model_.Require(told || deaths != kOfWriters, "a writer has died, and a holder is not told");
    model_.Require(!told || deaths != kNone, "nobody has died, and a holder is told so");
    return told;
  }
  bool DiedWriting() const {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (writes_[actor] == kIn && model_.Killed(actor)) return true;
    }
    return false;
  }
  // By a writer that has repaired what they left.
  void ForgetTheDead() {
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (model_.Killed(actor)) writes_[actor] = kGone;
    }
  }

  // Has it, has had it, or will not.
  bool HasCome(const States& states, ActorId actor) const {
    return states[actor] != kOut || model_.Ended(actor);
  }

  std::string Broken() const {
    int writers = 0;
    int readers = 0;
    for (ActorId actor = 0; actor < model_.Actors(); ++actor) {
      if (model_.Killed(actor)) continue;
      writers += writes_[actor] == kIn;
      readers += reads_[actor] == kIn;
    }
    if (writers > 1) return "two write at once";
    if (writers != 0 && readers != 0) return "one reads while another writes";
    return "";
  }
  // Whoever had it is gone.
  std::string AtTheEnd() const {
    if (!lock_.TryAcquire()) return "somebody has it still";
    lock_.Release();
    return "";
  }

  Model& model_;
  Family& family_;
  RWLock& lock_;
  // What is so, whatever the lock says.
  States writes_ = {};
  States reads_ = {};
  uint64_t again_ = 0;  // a WriterAgain() writes again
};

TEST(RWLockModelTest, AWriterIsAlone) {
  const Report report =
      ExploreDeaths({.name = "rwlock: a writer and a reader", .preemptions = 2}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        scene.Writer("writer");
        scene.Reader("reader");
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(RWLockModelTest, TwoWritersTakeTurns) {
  const Report report = ExploreDeaths(
      {.name = "rwlock: two writers and a reader", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        for (const char* name : {"writer", "second writer"}) scene.Writer(name);
        scene.Reader("reader");
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(RWLockModelTest, ThreeWritersTakeTurns) {
  const Report report =
      ExploreDeaths({.name = "rwlock: three writers", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        for (const char* name : {"one", "two", "three"}) scene.Writer(name);
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// A reader may be late for the release to all, and get the wake of the next one.
TEST(RWLockModelTest, AReaderTakesNoWriterItsWake) {
  const Report report =
      Explore({.name = "rwlock: a writer that comes back", .preemptions = 3}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        constexpr ActorId kWriter = 0;
        constexpr ActorId kBehind = 1;
        scene.WriterAgain("writer", kBehind);
        scene.WriterBehind("behind", kWriter);
        scene.Reader("reader");
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Who has begun may go on, at any time.
TEST(RWLockModelTest, WhoComesToReadStandsBackForAWriter) {
  const Report report =
      ExploreDeaths({.name = "rwlock: a stream of readers", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        constexpr ActorId kReader = 0;
        constexpr ActorId kWriter = 1;
        scene.ReaderAgain("reader", kWriter);
        scene.LateWriter("writer", kReader);
        scene.LateReader("late", kWriter);
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(RWLockModelTest, ReadersGoOnAllAtOnce) {
  const Report report =
      ExploreDeaths({.name = "rwlock: two readers at once", .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        const ActorId writer = scene.WriterOfAll("writer");
        scene.ReaderBeside("reader", writer, 2);
        scene.ReaderBeside("second reader", writer, 1);
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// The second undertaker begins when the first is done, or dead.
TEST(RWLockModelTest, AHoldIsGivenBackOnce) {
  const Report report =
      Explore({.name = "rwlock: two undertakers", .kills = 2, .preemptions = 0}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        constexpr ActorId kReader = 0;
        constexpr ActorId kSecond = 4;
        scene.Reader("reader");
        model.Spare(scene.ReaderAfter("next", kReader, kSecond));
        model.Spare(scene.Writer("writer"));
        const ActorId first = scene.Undertaker("buries", kReader);
        model.Spare(scene.Undertaker("buries again", kReader, first));
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Of the readers one may give up, or the writer.
TEST(RWLockModelTest, WhoGivesUpLeavesNobodyAsleep) {
  const Report report = ExploreDeaths(
      {.name = "rwlock: a timeout", .timeouts = 1, .preemptions = 1}, [](Model& model) {
        auto& scene = model.Make<Scene>(model);
        scene.Reader("timed reader", kTimed);
        scene.Writer("timed writer", kTimed);
        scene.Reader("reader");
        scene.BuryWhoIsKilled();
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(RWLockModelTest, WhoOnlyTriesLeavesNobodyAsleep) {
  for (const bool writes : {false, true}) {
    const Report report =
        ExploreDeaths({.name = "rwlock: one that tries", .preemptions = 1}, [writes](Model& model) {
          auto& scene = model.Make<Scene>(model);
          if (writes) {
            scene.Writer("tries", kTry);
            scene.Reader("reader");
          } else {
            scene.Reader("tries", kTry);
            scene.Writer("writer");
          }
          scene.BuryWhoIsKilled();
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

}  // namespace
}  // namespace mp::model
