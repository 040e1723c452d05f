// Lanes: claimed by threads that sleep, given back, forgotten by children, reused.

#include "shared/internal/lane.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/shared_word.h"

namespace mp::internal {
namespace {

using mp::testing::Child;
using mp::testing::SharedWord;

class LaneTest : public ::testing::Test {
 protected:
  LaneTest() : domain_(**Domain::Get()), lanes_(domain_.lanes()) { mp::testing::Settle(); }

  // Of any process.
  int InUse() {
    int count = 0;
    for (uint32_t i = 0; i < lanes_.committed(); ++i) {
      count += lanes_[i].process.load() != 0;
    }
    return count;
  }
  uint64_t Self() { return domain_.ThisProcess().identity(); }

  Domain& domain_;
  LaneTable& lanes_;
};

TEST_F(LaneTest, AThreadHasOneLaneAndHoldsIt) {
  std::thread([&] {
    const int before = InUse();
    EXPECT_EQ(LaneTable::OfThisThreadIfAny(), nullptr);
    Lane* const lane = LaneForNotes();
    ASSERT_NE(lane, nullptr);
    EXPECT_EQ(LaneForNotes(), lane);
    EXPECT_EQ(LaneTable::OfThisThreadIfAny(), lane);
    EXPECT_EQ(lane->process.load(), Self());
    EXPECT_EQ(lane->alive.HolderTid(), syscall(SYS_gettid));
    EXPECT_EQ(lane->SleepsOn(), 0u);
    EXPECT_EQ(InUse(), before + 1);
    EXPECT_EQ(Check(), absl::OkStatus());
  }).join();
}

TEST_F(LaneTest, IsGivenBackAtTheEndOfTheThreadAndUsedAgain) {
  const int before = InUse();
  std::set<Lane*> seen;
  for (int i = 0; i < 100; ++i) {
    std::thread([&] { seen.insert(LaneForNotes()); }).join();
    EXPECT_EQ(InUse(), before);
  }
  EXPECT_LE(seen.size(), 32u);
  for (Lane* lane : seen) EXPECT_FALSE(lane->Held());
}

TEST_F(LaneTest, ManyThreadsOfManyProcessesHaveLanesOfTheirOwn) {
  constexpr int kThreads = 30;
  auto claim = [&] {
    std::set<Lane*> mine;
    std::vector<std::thread> threads;
    std::atomic<int> ready = 0;
    std::mutex mutex;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        Lane* lane = LaneForNotes();
        {
          const std::lock_guard lock(mutex);
          mine.insert(lane);
        }
        ++ready;
        while (ready < kThreads) std::this_thread::yield();
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(mine.size(), size_t{kThreads});
    EXPECT_FALSE(mine.contains(nullptr));
  };
  const int before = InUse();
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 4; ++i) children.push_back(std::make_unique<Child>(claim));
  for (auto& child : children) EXPECT_EQ(child->Finish(), 0);
  mp::testing::Settle();
  EXPECT_EQ(InUse(), before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_F(LaneTest, IsForgottenInAChild) {
  Lane* const lane = LaneForNotes();
  Child child([&] {
    EXPECT_EQ(LaneTable::OfThisThreadIfAny(), nullptr);
    EXPECT_NE(LaneForNotes(), lane);
    EXPECT_EQ(LaneForNotes()->process.load(), Self());
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(lane->process.load(), Self());
  EXPECT_TRUE(lane->Held());
}

TEST_F(LaneTest, ABurialFreesThem) {
  const int before = InUse();
  Child child([&](auto& step) {
    LaneForNotes();
    step("claimed");
  });
  ASSERT_TRUE(child.RunTo("claimed"));
  EXPECT_EQ(InUse(), before + 1);
  child.Kill();
  EXPECT_EQ(InUse(), before + 1);
  const uint32_t deaths = Deaths();
  domain_.BuryTheDead(Evidence::kQuick);
  EXPECT_EQ(InUse(), before);
  EXPECT_NE(Deaths(), deaths);
}

TEST_F(LaneTest, OfAThreadThatEndsWithoutItsDestructorsIsFreedAlone) {
  Child child([&](auto& step) {
    step("before");
    Lane* lane = nullptr;
    std::thread([&] {
      lane = LaneForNotes();
      // The guard of this thread has nothing to give back: the kernel tells of its end.
      LaneTable::ForgetInChild();
    }).join();
    while (lane->Held()) std::this_thread::yield();
    EXPECT_EQ(lane->process.load(), Self());
    EXPECT_TRUE(lanes_.FreeIfGone(*lane));
    EXPECT_EQ(lane->process.load(), 0u);
    EXPECT_FALSE(lanes_.FreeIfGone(*LaneForNotes()));
  });
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(LaneTest, NestedNotesAreAllKnown) {
  const SharedWord first(0);
  const SharedWord second(0);
  Lane* const lane = LaneForNotes();
  const auto address = [](const SharedWord& word) {
    return reinterpret_cast<uint64_t>(word.get());
  };
  {
    const SleepsOn outer(lane, *first);
    const SleepsOn same(lane, *first);
    EXPECT_EQ(lane->SleepsOn(), address(first));
    EXPECT_EQ(lane->notes[1].load(), 0u);
    lane->told.store(1);
    {
      const SleepsOn inner(lane, *second);
      EXPECT_EQ(lane->SleepsOn(), address(second));
      EXPECT_TRUE(lane->HasNoteOf(address(first)));
      EXPECT_EQ(lane->told.load(), 1u);
    }
    EXPECT_EQ(lane->SleepsOn(), address(first));
  }
  EXPECT_EQ(lane->SleepsOn(), 0u);
  const SleepsOn anew(lane, *first);
  EXPECT_EQ(lane->told.load(), 0u);
}

// In a domain of a small reserve, in which there are as many as there can be slots.
TEST_F(LaneTest, WhereNoneIsLeftThereIsNoneAndAWaitNaps) {
  const SharedWord word(0);
  Child child([&](auto& step) {
    uint32_t claimed = 0;
    for (Lane* lane; claimed < domain_.processes().slot_count() &&
                     (lane = lanes_.OfThisThread(Self())) != nullptr;
         ++claimed) {
      // As if it were another thread's.
      LaneTable::ForgetInChild();
    }
    EXPECT_EQ(LaneForNotes(), nullptr);
    step("all taken");
    while (word->load() == 0) Wait(*word, 0);
  });
  ASSERT_TRUE(child.RunTo("all taken"));
  child.Go();
  ASSERT_TRUE(child.WaitUntilAsleep());
  WakeAll(*word);
  EXPECT_EQ(child.Finish(), 0);
  mp::testing::Settle();
  EXPECT_NE(LaneForNotes(), nullptr);
}

}  // namespace
}  // namespace mp::internal
