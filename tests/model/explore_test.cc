// The explorer itself: it finds what there is to find, and leaves nothing out.

#include "tests/model/explore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "shared/internal/atomic.h"
#include "shared/internal/fatal.h"
#include "shared/internal/robust_mutex.h"

namespace mp::model {
namespace {

using internal::RobustMutex;
using internal::Word;
using ::testing::HasSubstr;

// n over k.
int64_t Binomial(int n, int k) {
  int64_t result = 1;
  for (int i = 1; i <= k; ++i) result = result * (n - k + i) / i;
  return result;
}

struct Counter {
  Word count;
  Word other;
};

void Steps(Word& word, int count) {
  for (int i = 0; i < count; ++i) word.fetch_add(1);
}

Report TwoActorsOf(int n, int m, Options options) {
  return Explore(options, [n, m](Model& model) {
    Counter& counter = model.Make<Counter>();
    model.Actor("one", [&counter, n] { Steps(counter.count, n); });
    model.Actor("two", [&counter, m] { Steps(counter.count, m); });
    model.Check([&counter, n, m] {
      return counter.count == static_cast<uint64_t>(n + m) ? "" : "an addition was lost";
    });
  });
}

TEST(ExploreTest, RunsEveryInterleavingOnce) {
  for (int n = 0; n <= 5; ++n) {
    for (int m = 0; m <= 5; ++m) {
      const Report report =
          TwoActorsOf(n, m, {.name = "additions, each by itself", .reduce = false});
      EXPECT_TRUE(report.Clean()) << report.Summary();
      EXPECT_EQ(report.schedules, Binomial(n + m, n)) << n << " and " << m;
      EXPECT_EQ(report.ended, report.schedules);
      EXPECT_EQ(report.longest, n + m);
    }
  }
}

TEST(ExploreTest, RunsEveryInterleavingOfThree) {
  const Report report = Explore({.name = "three of two steps", .reduce = false}, [](Model& model) {
    Word& word = model.Make<Word>();
    for (const char* name : {"one", "two", "three"}) {
      model.Actor(name, [&word] { Steps(word, 2); });
    }
  });
  EXPECT_EQ(report.schedules, 90);  // 6! / (2! 2! 2!)
}

TEST(ExploreTest, KillsAtEveryStep) {
  const Report report =
      Explore({.name = "one of five steps, killed", .kills = 1, .reduce = false}, [](Model& model) {
        Word& word = model.Make<Word>();
        Word& seen = model.Make<Word>();
        model.Actor("one", [&word] { Steps(word, 5); });
        model.Check([&] {
          seen.store(seen.load() | uint64_t{1} << word.load());
          return "";
        });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_EQ(report.schedules, 6);
}

TEST(ExploreTest, RunsThatMeetAreOne) {
  // Twenty stores each, of which the other sees nothing: a state for each (i, j), with at most
  // two ways out, where there are 10^11 interleavings.
  struct Pair {
    Word words[2];
  };
  const Report apart = Explore({.name = "stores that nobody sees"}, [](Model& model) {
    Pair& pair = model.Make<Pair>();
    model.Actor("one", [&] {
      for (int i = 0; i < 20; ++i) pair.words[0].store(1);
    });
    model.Actor("two", [&] {
      for (int i = 0; i < 20; ++i) pair.words[1].store(1);
    });
    model.Check(
        [&] { return pair.words[0] == 1u && pair.words[1] == 1u ? "" : "a store is lost"; });
  });
  EXPECT_TRUE(apart.Clean()) << apart.Summary();
  EXPECT_LE(apart.schedules, 2 * 21 * 21);
}

TEST(ExploreTest, APreemptionIsAnActorThatCouldGoOn) {
  for (const bool reduce : {false, true}) {
    // Either is first, and is not interrupted.
    EXPECT_EQ(
        TwoActorsOf(5, 5, {.name = "no preemption", .preemptions = 0, .reduce = reduce}).ended, 2);
  }
  // Interrupted after 1 to 4 of 5 steps; the other runs to its end.
  EXPECT_EQ(
      TwoActorsOf(5, 5, {.name = "one preemption", .preemptions = 1, .reduce = false}).schedules,
      2 + 2 * 4);
}

TEST(ExploreTest, FindsALostUpdate) {
  for (const bool reduce : {false, true}) {
    const auto build = [](Model& model) {
      Word& count = model.Make<Word>();
      for (const char* name : {"one", "two"}) {
        model.Actor(name, [&count] { count.store(count.load() + 1); });
      }
      model.Check([&count] { return count.load() == 2 ? "" : "an update was lost"; });
    };
    const Report report = Explore({.name = "a lost update", .reduce = reduce}, build);
    EXPECT_THAT(report.failure, HasSubstr("at the end: an update was lost"));
    EXPECT_THAT(report.failure, HasSubstr("two: load +0, sees 0x0"));
    const size_t at = report.failure.find("replay: \"") + 9;
    const std::string schedule = report.failure.substr(at, report.failure.find('"', at) - at);
    const Report again = Explore({.name = "the same again", .replay = schedule}, build);
    EXPECT_EQ(again.schedules, 1);
    EXPECT_EQ(again.failure, report.failure);
    EXPECT_TRUE(Explore({.name = "one after the other", .preemptions = 0}, build).Clean());
  }
}

struct TwoLocks {
  RobustMutex first;
  RobustMutex second;
  Word inside;
  Word told;
};

TEST(ExploreTest, FindsADeadlock) {
  for (const bool reduce : {false, true}) {
    const Report report = Explore({.name = "a deadlock", .reduce = reduce}, [](Model& model) {
      auto& locks = model.Make<TwoLocks>();
      locks.first.Init(false);
      locks.second.Init(false);
      const auto both = [&](RobustMutex& one, RobustMutex& two) {
        (void)one.Lock();
        (void)two.Lock();
        (void)two.Unlock();
        (void)one.Unlock();
      };
      model.Actor("one", [&, both] { both(locks.first, locks.second); });
      model.Actor("two", [&, both] { both(locks.second, locks.first); });
    });
    EXPECT_THAT(report.failure, HasSubstr("nobody can go on: one waits to lock"));
  }
}

// Who waits for a flag waits for ever when who set it is killed.
TEST(ExploreTest, FindsWhatNeedsAKill) {
  const auto build = [](Model& model) {
    auto& flag = model.Make<Word>();
    for (const char* name : {"one", "two"}) {
      model.Actor(name, [&model, &flag] {
        model.Await("take the flag", [&flag] { return flag.load() == 0; });
        flag.store(1);
        flag.store(0);
      });
    }
  };
  EXPECT_THAT(Explore({.name = "a flag as a lock"}, build).failure, "");
  const Report report = Explore({.name = "a flag as a lock, kills", .kills = 1}, build);
  EXPECT_THAT(report.failure, HasSubstr("nobody can go on"));
  EXPECT_THAT(report.failure, HasSubstr("is killed before: store"));
}

TEST(ExploreTest, AMutexExcludesAndTellsOfDeaths) {
  for (const bool reduce : {false, true}) {
    const Report report =
        Explore({.name = "a mutex, kills", .kills = 2, .reduce = reduce}, [](Model& model) {
          auto& locks = model.Make<TwoLocks>();
          locks.first.Init(false);
          for (const char* name : {"one", "two"}) {
            model.Actor(name, [&] {
              const auto result = locks.first.Lock();
              const uint64_t inside = locks.inside.load();
              model.Require(inside == 0 || result == RobustMutex::Result::kOwnerDied,
                            "two hold the mutex");
              if (result == RobustMutex::Result::kOwnerDied) locks.first.MarkConsistent();
              locks.inside.store(1);
              locks.inside.store(0);
              model.Require(locks.first.Unlock(), "not held");
            });
          }
          model.Check([&] {
            const auto result = locks.first.Lock();
            if (result == RobustMutex::Result::kOwnerDied) {
              locks.first.MarkConsistent();
            } else if (locks.inside.load() != 0) {
              return "a death within it was not told";
            }
            return locks.first.Unlock() ? "" : "not held";
          });
        });
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }
}

TEST(ExploreTest, FindsWhoUnlocksWithoutRepair) {
  const Report report = Explore({.name = "no repair", .kills = 1}, [](Model& model) {
    auto& locks = model.Make<TwoLocks>();
    locks.first.Init(false);
    for (const char* name : {"one", "two", "three"}) {
      model.Actor(name, [&] {
        (void)locks.first.Lock();
        (void)locks.first.Unlock();
      });
    }
  });
  // ENOTRECOVERABLE.
  EXPECT_THAT(report.failure, HasSubstr("its memory was overwritten"));
}

TEST(ExploreTest, ATimeoutComesWhereItMay) {
  const auto build = [](Model& model) {
    auto& locks = model.Make<TwoLocks>();
    locks.first.Init(false);
    model.Actor("holder", [&] {
      (void)locks.first.Lock();
      (void)locks.first.Unlock();
    });
    model.Actor("other", [&] {
      const auto result = locks.first.LockUntil(timespec{});
      model.Require(result == RobustMutex::Result::kAcquired, "not in time");
      (void)locks.first.Unlock();
    });
  };
  EXPECT_TRUE(Explore({.name = "no timeout"}, build).Clean());
  EXPECT_THAT(Explore({.name = "a timeout", .timeouts = 1}, build).failure,
              HasSubstr("other gives up: lock +0"));
}

TEST(ExploreTest, AChildRunsFromTheForkOn) {
  const Report report = Explore({.name = "a fork", .kills = 1, .reduce = false}, [](Model& model) {
    auto& locks = model.Make<TwoLocks>();
    model.Actor("parent", [&model, &locks] {
      locks.inside.store(1);
      const ActorId child = model.Actor("child", [&model, &locks] {
        model.Require(locks.inside.load() == 1, "it runs before there is a child");
        locks.told.store(1);
      });
      model.Await("wait for the child", [&model, child] { return model.Ended(child); });
      model.Require(locks.told.load() == 1 || model.Killed(child), "it ended before its end");
    });
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(ExploreTest, AFatalErrorIsAFailure) {
  const Report report = Explore({.name = "a fatal error"}, [](Model& model) {
    auto& word = model.Make<Word>();
    model.Actor("one", [&word] { word.store(1); });
    model.Actor("two", [&word] {
      if (word.load() == 1) internal::Fatal("one was first");
    });
  });
  EXPECT_THAT(report.failure, HasSubstr("ends the process: one was first"));
}

TEST(ExploreTest, AnInvariantHoldsAfterEachStep) {
  const Report report = Explore({.name = "an invariant"}, [](Model& model) {
    auto& pair = model.Make<Counter>();
    model.Actor("one", [&pair] {
      pair.count.store(1);
      pair.other.store(1);
    });
    model.Always([&pair] { return pair.count == pair.other ? "" : "they differ"; });
  });
  EXPECT_THAT(report.failure, HasSubstr("they differ"));
}

TEST(ExploreTest, WhatIsNotMadeIsReadAndNotWritten) {
  Word constant = 5;
  for (const bool writes : {false, true}) {
    const Report report = Explore({.name = "what is not made"}, [&](Model& model) {
      for (const char* name : {"one", "two"}) {
        model.Actor(name, [&constant, &model, writes] {
          model.Require(constant.load() == 5, "a constant is not what it was");
          if (writes) constant.store(5);
        });
      }
    });
    if (writes) {
      EXPECT_THAT(report.failure, HasSubstr("a write of what was not made"));
    } else {
      EXPECT_TRUE(report.Clean()) << report.Summary();
    }
  }
}

TEST(ExploreTest, EachActorHasItsOwnOfWhatAThreadHasOnce) {
  uint64_t large = 7;
  int32_t small = 7;
  const Report report = Explore({.name = "variables of a thread"}, [&](Model& model) {
    auto& word = model.Make<Word>();
    model.PerActor(large);
    model.PerActor(small);
    for (const char* name : {"one", "two"}) {
      model.Actor(name, [&] {
        for (int i = 0; i < 2; ++i) {
          ++large;
          --small;
          Steps(word, 1);
        }
        model.Require(large == 9 && small == 5, "another's is its own");
      });
    }
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
  EXPECT_EQ(large, 7u);
  EXPECT_EQ(small, 7);
}

TEST(ExploreTest, WhatDiffersFromRunToRunIsTold) {
  int runs = 0;
  const Report report = Explore({.name = "runs that differ", .reduce = false}, [&](Model& model) {
    auto& word = model.Make<Word>();
    ++runs;
    model.Actor("one", [&word] { Steps(word, 2); });
    model.Actor("two", [&word, runs] { Steps(word, runs == 1 ? 2 : 0); });
  });
  EXPECT_THAT(report.failure, HasSubstr("something differs from run to run"));
}

}  // namespace
}  // namespace mp::model
