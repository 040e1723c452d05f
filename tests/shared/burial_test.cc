// What the dead leave, and that it comes back.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/deadline.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/wait.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "tests/shared/heap_locks.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/copy.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/let_fail.h"
#include "tests/support/settings.h"
#include "tests/support/shared_word.h"

namespace mp {
namespace {

using internal::Evidence;
using internal::ProcessId;
using Kind = internal::ProcessTable::Kind;
using testing::Child;
using testing::EndAsACopy;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::KillAndReap;
using testing::kSanitized;

class BurialTest : public ::testing::Test {
 protected:
  BurialTest() : domain_(**Domain::Get()) {
    // What this process takes once.
    domain_.Free(*domain_.Allocate(100));
    domain_.BuryTheDead(Evidence::kThorough);
    before_ = Stats().in_use;
    EXPECT_EQ(Processes(), 1u);
  }
  ~BurialTest() override {
    domain_.BuryTheDead(Evidence::kThorough);
    EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
    EXPECT_EQ(Processes(), 1u);
    EXPECT_EQ(Check(), absl::OkStatus());
  }

  size_t Processes() { return testing::AllIds().size(); }
  internal::ProcessTable& table() { return domain_.processes(); }
  std::vector<ProcessId> TakeAllSlots() {
    const ProcessId self = domain_.ThisProcess().identity();
    std::vector<ProcessId> all;
    for (;;) {
      const absl::StatusOr<ProcessId> id = table().ClaimForChild(self);
      if (id.ok()) {
        all.push_back(*id);
      } else if (!table().Grow().ok()) {
        return all;
      }
    }
  }

  Domain& domain_;
  size_t before_;
};

void TakeMemory() {
  Domain& domain = *Domain::Current();
  for (const size_t size : {1, 100, 5000, 100'000}) {
    if (!domain.Allocate(size).ok()) _exit(1);
  }
}

TEST_F(BurialTest, MemoryOfWhoWasKilledComesBack) {
  Child child([](auto& step) {
    TakeMemory();
    step("taken");
  });
  ASSERT_TRUE(child.RunTo("taken"));
  EXPECT_GT(Stats().in_use, before_ + 100'000);
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kThorough), 0);
  EXPECT_EQ(Processes(), 2u);
  child.Kill();
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 1);
  EXPECT_EQ(Stats().in_use, before_);
}

TEST_F(BurialTest, AnEndWithoutAKillIsADeathToo) {
  const pid_t pid = ForkMortal([] { TakeMemory(); });
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 1);
}

TEST_F(BurialTest, WhoIsNotReapedIsBuried) {
  const pid_t pid = ForkMortal([] { TakeMemory(); });
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 1);
  EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
}

TEST_F(BurialTest, WhoIsStoppedKeepsWhatItHas) {
  Inherited<void*> block;
  Child child([&](auto& step) {
    *block = *domain_.Allocate(100);
    step("taken");
    domain_.Free(*block);
  });
  ASSERT_TRUE(child.RunTo("taken"));
  child.Stop();
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kThorough), 0);
  EXPECT_EQ(domain_.heap().Find(*block).address, *block);
  child.Continue();
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(BurialTest, WhoCalledExecveHasLeft) {
  const pid_t pid = ForkMortal([] {
    TakeMemory();
    execl("/bin/sleep", "sleep", "1000", nullptr);
    _exit(1);
  });
  while (domain_.BuryTheDead(Evidence::kThorough) == 0) std::this_thread::yield();
  EXPECT_EQ(Stats().in_use, before_);
  KillAndReap(pid);
}

// The blocks of an object are the object's, whoever added them.
TEST_F(BurialTest, WhatTheDeadAddedToAnObjectStays) {
  using Words = std::vector<int, Allocator<int>>;
  const Shared<Words> words;
  Child child([&](auto& step) {
    words->assign(10'000, 7);
    TakeMemory();
    step("added");
  });
  ASSERT_TRUE(child.RunTo("added"));
  child.Kill();
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 1);
  EXPECT_EQ(words->size(), 10'000u);
  EXPECT_EQ(words->back(), 7);
}

TEST_F(BurialTest, GrandchildrenAreBuriedByWhoeverIsLeft) {
  Inherited<pid_t> grandchild;
  Inherited<Gate> gone;
  Child child([&](auto& step) {
    TakeMemory();
    const pid_t pid = fork();
    if (pid == 0) {
      TakeMemory();
      gone->Wait();
      _exit(0);
    }
    *grandchild = pid;
    step("forked");
  });
  ASSERT_TRUE(child.RunTo("forked"));
  EXPECT_EQ(Processes(), 3u);
  child.Kill();
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kThorough), 1);
  EXPECT_EQ(Processes(), 2u);
  gone->Open();
  // Nobody here can wait for it.
  while (domain_.BuryTheDead(Evidence::kThorough) == 0) std::this_thread::yield();
}

TEST_F(BurialTest, BuryingTwiceIsBuryingOnce) {
  Child child([](auto& step) {
    TakeMemory();
    step("taken");
  });
  ASSERT_TRUE(child.RunTo("taken"));
  const auto id = [&] {
    for (auto entry = table().Next(0);; entry = table().Next(entry.id)) {
      if (entry.pid == child.pid()) return entry.id;
    }
  }();
  child.Kill();
  std::vector<std::thread> undertakers;
  for (int i = 0; i < 4; ++i) undertakers.emplace_back([&] { domain_.Bury(id); });
  for (std::thread& undertaker : undertakers) undertaker.join();
  EXPECT_EQ(table().Find(id).kind, Kind::kFree);
  EXPECT_EQ(Stats().in_use, before_);
  domain_.Bury(id);  // of a slot that may be another's by now
}

// Killed perhaps before its first instruction: who has waited for it has proof.
TEST_F(BurialTest, WhoIsKilledAtBirthIsBuriedByItsParent) {
  for (int i = 0; i < (kSanitized ? 50 : 500); ++i) {
    const pid_t pid = ForkMortal([] { pause(); });
    const ProcessId id = Domain::LastForked();
    KillAndReap(pid);
    domain_.Bury(id);
    EXPECT_EQ(Processes(), 1u);
  }
}

// Not only for blocks of the same size.
TEST_F(BurialTest, MemoryOfSmallBlocksIsAllMemoryAgain) {
  const size_t free = domain_.heap().Stats().free;
  Child child([&](auto& step) {
    for (int i = 0; i < 200'000; ++i) ASSERT_TRUE(domain_.Allocate(64).ok());
    step("taken");
  });
  ASSERT_TRUE(child.RunTo("taken"));
  child.Kill();
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 1);
  const HeapStats stats = domain_.heap().Stats();
  // Kept for the next, or given back to the kernel; an empty slab a size and arena is neither.
  EXPECT_LE(stats.committed - stats.free - stats.in_use, size_t{4} << 20);
  EXPECT_GE(stats.free + (size_t{4} << 20), free);
}

TEST_F(BurialTest, AThousandForksLeaveNoTrace) {
  const size_t committed = Stats().committed;
  for (int i = 0; i < (kSanitized ? 200 : 2000); ++i) {
    const pid_t pid = ForkMortal([] { TakeMemory(); });
    ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  }
  // Slots are short from time to time, and then the dead are buried, although nobody asks.
  EXPECT_LE(Processes(), 64u);
  domain_.BuryTheDead(Evidence::kQuick);
  EXPECT_LE(Stats().committed, committed + (8 << 20));
}

TEST_F(BurialTest, WhoIsShortOfMemoryBuriesTheDead) {
  const pid_t pid = ForkMortal([] { TakeMemory(); });
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_EQ(Processes(), 2u);
  EXPECT_FALSE(domain_.Allocate(size_t{1} << 46).ok());  // no domain has so much
  EXPECT_EQ(Processes(), 1u);
  EXPECT_EQ(Stats().in_use, before_);
}

// It may be stopped with all locks of the heap: who forks, joins and buries goes on, and
// what waits for it comes back later.
TEST_F(BurialTest, WhoIsStoppedInsideTheHeapHoldsUpNobody) {
  Child dead([](auto& step) {
    TakeMemory();
    step("taken");
  });
  ASSERT_TRUE(dead.RunTo("taken"));
  Child holder([](auto& step) {
    const testing::HeapLocks locks;
    step("inside");
  });
  ASSERT_TRUE(holder.RunTo("inside"));
  holder.Stop();
  dead.Kill();
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 0);
  EXPECT_EQ(Processes(), 3u);
  const pid_t pid = ForkMortal([] {});
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 1);  // it had nothing
  holder.Continue();
  EXPECT_EQ(holder.Finish(), 0);
  EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 2);
}

// Where its time is over it looks for the dead, and has no more time for each of them.
TEST_F(BurialTest, AWaitThatIsOverIsHeldUpByOneBurialAtMost) {
  constexpr size_t kMortals = 4;
  const testing::SharedWord word(0);
  before_ = Stats().in_use;
  std::vector<std::unique_ptr<Child>> mortals;
  for (size_t i = 0; i < kMortals; ++i) {
    mortals.push_back(std::make_unique<Child>([](auto& step) {
      TakeMemory();
      step("taken");
    }));
    ASSERT_TRUE(mortals.back()->RunTo("taken"));
  }
  Child holder([](auto& step) {
    const testing::HeapLocks locks;
    step("inside");
  });
  ASSERT_TRUE(holder.RunTo("inside"));
  holder.Stop();
  for (auto& mortal : mortals) mortal->Kill();
  auto begun = [&] {
    size_t count = 0;
    for (auto process = table().Next(0); process.kind != Kind::kFree;
         process = table().Next(process.id)) {
      count += process.kind == Kind::kDead;
    }
    return count;
  };
  domain_.sentry_post().looked.store(0);
  for (size_t i = 1; i <= kMortals; ++i) {
    const timespec deadline = internal::MonotonicDeadline(absl::Milliseconds(1));
    EXPECT_EQ(internal::Wait(*word, 0, {.deadline = &deadline}), internal::WaitResult::kTimedOut);
    EXPECT_EQ(begun(), i);
  }
  holder.Continue();
  EXPECT_EQ(holder.Finish(), 0);
}

TEST_F(BurialTest, ACopyThatForkDidNotMakeIsEndedAtItsFirstUse) {
  constexpr char kWords[] = "nobody knows of it: .*use fork";
  EXPECT_DEATH(EndAsACopy([] { (void)Domain::Current()->Allocate(1); }), kWords);
  EXPECT_DEATH(EndAsACopy([] { const RawValue<int> value; }), kWords);
  // Nor is it known by what its children would tell of themselves.
  EXPECT_DEATH(EndAsACopy([] {
                 const pid_t child = fork();
                 if (child == 0) {
                   const RawValue<int> value;
                   _exit(0);
                 }
                 testing::EndByTheSignalOf(child);
               }),
               kWords);
  // One that does not use what it inherited is nobody's business, nor are its children.
  auto exit_well = ::testing::ExitedWithCode(0);
  EXPECT_EXIT(EndAsACopy([] {}), exit_well, "");
  EXPECT_EXIT(EndAsACopy([] {
                if (fork() == 0) _exit(0);
              }),
              exit_well, "");
}

TEST_F(BurialTest, AForkThatFailsTakesNoSlot) {
  Child child([&] {
    const size_t processes = Processes();
    // So that what watches this test started before.
    for (const clock_t start = times(nullptr); times(nullptr) < start + 2;) {
    }
    ASSERT_TRUE(testing::LetFail(SYS_clone, EAGAIN));
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(fork(), -1);
      EXPECT_EQ(errno, EAGAIN);
    }
    EXPECT_EQ(Processes(), processes);
    EXPECT_EQ(Domain::LastForked(), 0u);
  });
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(BurialTest, AForkLeavesErrnoAlone) {
  errno = ENOTTY;
  const pid_t pid = fork();
  if (pid == 0) _exit(errno == ENOTTY ? 0 : 1);
  EXPECT_EQ(errno, ENOTTY);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST_F(BurialTest, WhoFoundNoSlotTakesOneWhenThereIs) {
  Child child([&] {
    const std::vector<ProcessId> all = TakeAllSlots();
    Inherited<Gate> room;
    const pid_t pid = fork();
    if (pid == 0) {
      room->Wait();
      TakeMemory();
      const auto entry = table().Find(domain_.ThisProcess().identity());
      _exit(entry.kind == Kind::kLive && entry.pid == getpid() ? 0 : 1);
    }
    EXPECT_EQ(Domain::LastForked(), 0u);
    table().ChildNotForked(all.back());
    room->Open();
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(domain_.BuryTheDead(Evidence::kQuick), 1);
    for (const ProcessId id : all) table().ChildNotForked(id);
  });
  EXPECT_EQ(child.Finish(), 0);
}

// Nobody will ever know whether it is gone.
TEST_F(BurialTest, WhatAChildWithoutASlotMayHaveStays) {
  Child maker([&] {
    auto value = std::make_unique<RawValue<int>>(7);
    const std::vector<ProcessId> all = TakeAllSlots();
    Inherited<Gate> dropped;
    const pid_t pid = fork();
    if (pid == 0) {
      dropped->Wait();
      _exit(**value == 7 ? 0 : 1);
    }
    EXPECT_EQ(Domain::LastForked(), 0u);
    for (const ProcessId id : all) table().ChildNotForked(id);
    value.reset();
    const RawValue<int> other(-1);
    dropped->Open();
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  });
  const ProcessId id = Domain::LastForked();
  EXPECT_EQ(maker.Finish(), 0);
  domain_.Bury(id);
  EXPECT_EQ(Processes(), 1u);
  EXPECT_GT(Stats().in_use, before_);
  before_ = Stats().in_use;  // for ever
}

TEST_F(BurialTest, ForksOfManyThreadsAreAllKnown) {
  constexpr int kThreads = 4;
  constexpr int kForks = kSanitized ? 10 : 50;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < kForks; ++n) {
        const pid_t pid = ForkMortal([] { TakeMemory(); });
        const ProcessId id = Domain::LastForked();
        EXPECT_NE(id, 0u);
        ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
        EXPECT_EQ(table().Find(id).pid, pid);
        domain_.Bury(id);
        EXPECT_NE(table().Find(id).kind, Kind::kLive);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace mp
