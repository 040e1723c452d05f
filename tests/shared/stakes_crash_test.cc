// A process is killed at every instruction of taking and dropping a stake, and of burying
// somebody who had some.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using testing::Bury;
using testing::CrashCase;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;
using testing::Settle;

using Value = RawValue<int>;
using Values = std::vector<Value, Allocator<Value>>;

// In the domain, for victims and those who come after them.
struct Places {
  std::optional<Value> one;
  std::optional<Value> two;
  Values many;
};

class StakesCrashTest : public ::testing::Test {
 protected:
  StakesCrashTest() : places_(std::in_place) {
    Settle();
    before_ = Stats().in_use;
  }

  // `operation` is between the places and the victim, and leaves in them what may be there.
  // Whoever comes then builds the places anew, and nothing is left.
  void Sweep(const std::string& name, const std::function<void()>& set_up,
             const std::function<void()>& prepare, const std::function<void()>& operation) {
    CrashCase crash;
    crash.name = name;
    crash.set_up = [&] {
      ExpectNothingLeft(name);
      set_up();
    };
    crash.prepare = [&] {
      *victim_ = Domain::Current()->ThisProcess().identity();
      prepare();
    };
    crash.operation = operation;
    crash.check = [&]() -> std::string {
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      if (!AreWhole()) return "another's value";
      // Others go on at once.
      {
        const Value value(-1);
        const Shared<std::optional<Value>> other(value);
      }
      Bury(*victim_);
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      if (!AreWhole()) return "another's value now";
      places_->Reset();
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      return "";
    };
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    ExpectNothingLeft(name);
  }

  // Whether the handles in the places are to what was put there.
  bool AreWhole() const {
    if (torn_) return true;
    for (const std::optional<Value>* place : {&(*places_)->one, &(*places_)->two}) {
      if (place->has_value() && (***place < 1 || ***place > 3)) return false;
    }
    return true;
  }

  // What was made before who checks was born may be its inheritance, as long as it lives.
  void ExpectNothingLeft(const std::string& name) {
    // A dry run is not checked.
    places_->Reset();
    Settle();
    EXPECT_EQ(Stats().in_use, before_) << name << ": " << Stats().ToString();
  }

  static void Nothing() {}

  std::optional<Shared<Places>> places_;
  Inherited<uint64_t> victim_;
  size_t before_;
  bool torn_ = false;  // the victim may leave the places so that only Reset() helps
};

TEST_F(StakesCrashTest, AHandleInTheDomainIsCountedOnce) {
  std::optional<Value> mine;
  auto make = [&] {
    mine.emplace(1);
    // Once before, so that nothing happens for the first time.
    (*places_)->two.emplace(*mine);
    (*places_)->two.reset();
  };
  Sweep("placed", Nothing, make, [&] { (*places_)->one.emplace(*mine); });
  Sweep("made in place", Nothing, make, [&] { (*places_)->one.emplace(2); });
  Sweep("placed and dropped", Nothing, make, [&] {
    (*places_)->one.emplace(*mine);
    (*places_)->one.reset();
  });
  Sweep(
      "replaced", Nothing,
      [&] {
        make();
        (*places_)->one.emplace(2);
        (*places_)->two.emplace(3);
      },
      [&] {
        *(*places_)->one = *(*places_)->two;
        *(*places_)->two = *mine;
      });
}

TEST_F(StakesCrashTest, AMakersStakeEndsWithIt) {
  std::optional<Value> mine;
  auto make = [&] {
    mine.emplace(1);
    (*places_)->one.emplace(*mine);
  };
  Sweep("the maker drops its last, another stays", Nothing, make, [&] { mine.reset(); });
  Sweep("the last in the domain, then its own", Nothing, make, [&] {
    (*places_)->one.reset();
    mine.reset();
  });
  Sweep("its own, then the last in the domain", Nothing, make, [&] {
    mine.reset();
    (*places_)->one.reset();
  });
  Sweep("its own, and one again", Nothing, make, [&] {
    mine.reset();
    mine = (*places_)->one;
    mine.reset();
  });
}

TEST_F(StakesCrashTest, WhatIsCopiedOutIsKeptByOneStake) {
  std::optional<Value> mine;
  auto place = [&] { (*places_)->one.emplace(1); };
  auto warm = [&] {
    mine = (*places_)->one;
    mine.reset();
  };
  Sweep("copied out", place, warm, [&] { mine = (*places_)->one; });
  Sweep("copied out and dropped", place, warm, [&] {
    mine = (*places_)->one;
    std::optional<Value> copy = mine;
    mine.reset();
    copy.reset();
  });
  Sweep(
      "copied out, and the last one of all", place,
      [&] {
        warm();
        mine = (*places_)->one;
        (*places_)->one.reset();
      },
      [&] { mine.reset(); });
}

TEST_F(StakesCrashTest, AResetDropsEachHandleOnce) {
  auto fill = [&] {
    (*places_)->one.emplace(1);
    (*places_)->two.emplace(2);
    for (int i = 0; i < 3; ++i) (*places_)->many.emplace_back(i);
  };
  torn_ = true;
  Sweep("Reset", fill, Nothing, [&] { places_->Reset(); });
  Sweep("the end", fill, Nothing, [&] {
    Values().swap((*places_)->many);
    (*places_)->one.reset();
    (*places_)->two.reset();
  });
}

// Who buries one that had stakes of all kinds is killed, too.
TEST_F(StakesCrashTest, AnUndertakerMayDieToo) {
  Inherited<uint64_t> dead;
  auto kill_one = [&] {
    const pid_t pid = testing::ForkMortal([&] {
      *dead = Domain::Current()->ThisProcess().identity();
      const Value mine(1);
      (*places_)->one.emplace(mine);
      const Shared<Places> own;
      own->one.emplace(mine);
      own->many.emplace_back(2);
      const Shared<std::optional<Shared<Places>>> nested(own);
      _exit(0);
    });
    waitpid(pid, nullptr, 0);
  };
  Sweep("burial", kill_one, Nothing, [&] { Domain::Current()->Bury(*dead); });
}

}  // namespace
}  // namespace mp
