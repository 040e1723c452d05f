// A process is killed at every instruction with which it takes from limbo what another left.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/object_header.h"
#include "shared/internal/proof_of_death.h"
#include "tests/shared/heap_locks.h"
#include "tests/shared/in_limbo.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

using internal::BurialTestPeer;
using testing::AllIds;
using testing::CrashCase;
using testing::CrashReport;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::RunCrashSweep;

class LimboCrashTest : public ::testing::Test {
 protected:
  LimboCrashTest() : domain_(**Domain::Get()) {}
  ~LimboCrashTest() override { ExpectNothingIsLeft(); }

  void BuryAllBut(size_t count) {
    // Children die with their parents, but perhaps a little later.
    while (AllIds().size() > count) domain_.BuryTheDead(internal::Evidence::kThorough);
  }

  // Everybody else is gone, who may pass for an heir: who began to take an object and died
  // has left nothing of when it was dropped.
  void ExpectNothingIsLeft() {
    BuryAllBut(1);
    EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
  }

  void Sweep(CrashCase crash) {
    crash.set_up = [this] { ExpectNothingIsLeft(); };
    crash.check = [this]() -> std::string {
      BuryAllBut(2);
      const absl::Status status = Check();
      return status.ok() ? "" : status.ToString();
    };
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  Domain& domain_;
  const size_t before_ = Stats().in_use;
  Inherited<uint64_t> dead_;
  Inherited<Gate> inside_;
};

// Killed anywhere in a burial that takes an object from limbo and frees it.
TEST_F(LimboCrashTest, AnUndertakerMayDieToo) {
  CrashCase crash;
  crash.name = "burial of an object in limbo";
  crash.prepare = [this] {
    testing::MakeOrphanInLimbo();
    const pid_t pid = ForkMortal([] { (void)Domain::Current()->Allocate(8000); });
    *dead_ = Domain::LastForked();
    waitpid(pid, nullptr, 0);
  };
  crash.operation = [this] { domain_.Bury(*dead_); };
  Sweep(crash);
}

// Somebody else is inside the heap, and so it cannot be freed in time.
TEST_F(LimboCrashTest, WhatAnUndertakerGivesUpComesBackToo) {
  internal::ObjectHeader* object = nullptr;
  CrashCase crash;
  crash.name = "object that is put back into limbo";
  crash.prepare = [&] {
    object = &testing::MakeOrphanInLimbo();
    if (!BurialTestPeer::TakeFromLimbo(*object)) _exit(1);
    inside_->Close();
    ForkMortal([this] {
      const testing::HeapLocks locks;
      inside_->Open();
      testing::PauseForEver();
    });
    inside_->Wait();
  };
  crash.operation = [&] {
    const timespec long_ago = {};
    if (BurialTestPeer::FreeTaken(*object, long_ago) || object->dropped.load() == 0) _exit(1);
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
