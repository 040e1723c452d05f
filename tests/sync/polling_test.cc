// Who only tries, or waits for too short a time to watch over the family: where nobody else does,
// either, it has what a dead process had all the same.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sync/barrier.h"
#include "sync/latch.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp {
namespace {

using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::KillAndReap;

constexpr absl::Duration kShort = absl::Milliseconds(1);

// A process `takes` something and is killed while it has it.
void TakeAndDie(const std::function<void()>& takes) {
  const Inherited<Gate> taken;
  const pid_t pid = ForkMortal([&] {
    takes();
    taken->Open();
    Inherited<Gate>()->Wait();  // for the end
  });
  taken->Wait();
  KillAndReap(pid);
}

// As the party of a barrier.
pid_t WaitAndDie(const Barrier& barrier) {
  const int before = barrier.NWaiting();
  const pid_t pid = ForkMortal([&] { static_cast<void>(barrier.Wait()); });
  while (barrier.NWaiting() <= before) {
  }
  KillAndReap(pid);
  return pid;
}

void UntilTrue(const std::function<bool()>& polls) {
  while (!polls()) {
  }
}

TEST(PollingTest, APermitOfADeadProcessIsThere) {
  const Semaphore semaphore;
  for (const std::function<bool()>& polls : {
           std::function<bool()>([&] { return semaphore.TryAcquire(); }),
           std::function<bool()>([&] { return semaphore.Acquire(absl::ZeroDuration()); }),
           std::function<bool()>([&] { return semaphore.Acquire(kShort); }),
       }) {
    TakeAndDie([&] { static Permit permit = semaphore.AcquirePermit(); });
    UntilTrue(polls);
    semaphore.Release();
  }
  for (const absl::Duration timeout : {absl::ZeroDuration(), kShort}) {
    TakeAndDie([&] { static Permit permit = semaphore.AcquirePermit(); });
    UntilTrue([&] { return semaphore.AcquirePermit(timeout).has_value(); });
  }
  EXPECT_EQ(semaphore.GetValue(), 1);
}

TEST(PollingTest, WhatADeadProcessReadCanBeWritten) {
  const RWLock lock;
  for (const absl::Duration timeout : {absl::ZeroDuration(), kShort}) {
    TakeAndDie([&] { lock.AcquireShared(); });
    UntilTrue([&] { return lock.Acquire(timeout); });
    lock.Release();
  }
}

TEST(PollingTest, WhoAsksIsToldWithoutTheDead) {
  const Semaphore semaphore;
  TakeAndDie([&] { static Permit permit = semaphore.AcquirePermit(); });
  UntilTrue([&] { return semaphore.GetValue() == 1; });
  const Latch latch(1);
  TakeAndDie([&] { latch.Join(); });
  UntilTrue([&] { return latch.GetCount() == 0; });
  const Barrier barrier(2);
  WaitAndDie(barrier);
  UntilTrue([&] { return barrier.Broken(); });
}

// Nobody has noticed it before: the last one to come does.
TEST(PollingTest, ARoundWithADeadPartyIsBroken) {
  for (const int parties : {2, 3, 17, 18}) {
    const Barrier barrier(parties);
    std::vector<std::unique_ptr<testing::Child>> others;
    for (int i = 0; i < parties - 2; ++i) {
      others.push_back(std::make_unique<testing::Child>(
          [&] { EXPECT_TRUE(absl::IsAborted(barrier.Wait().status())); }));
      others.back()->Go();
    }
    while (barrier.NWaiting() < parties - 2) {
    }
    const pid_t dead = WaitAndDie(barrier);
    const absl::Status status = barrier.Wait().status();
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                ::testing::HasSubstr(absl::StrCat("pid ", dead, " died")));
    for (const auto& other : others) EXPECT_EQ(other->Finish(), 0);
  }
}

TEST(PollingTest, ALatchCountsTheDead) {
  for (const absl::Duration timeout : {absl::ZeroDuration(), kShort}) {
    const Latch latch(1);
    TakeAndDie([&] { latch.Join(); });
    UntilTrue([&] { return latch.Wait(timeout); });
  }
}

}  // namespace
}  // namespace mp
