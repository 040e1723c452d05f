// An object whose maker has dropped it, and whom a child may still have.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/atomic.h"
#include "shared/internal/burial.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/owner.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"

namespace mp {

namespace {

using internal::Evidence;
using testing::AllIds;
using testing::Child;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::kSanitized;
using testing::Settle;

using Words = std::vector<int, Allocator<int>>;

class ObjectLimboTest : public ::testing::Test {
 protected:
  ObjectLimboTest() : domain_(**Domain::Get()) {
    { const RawValue<int> first; }
    Settle();
    before_ = Stats().in_use;
  }
  ~ObjectLimboTest() override {
    // Grandchildren end by themselves.
    while (AllIds().size() > 1) Settle();
    Settle();
    EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
    EXPECT_EQ(Check(), absl::OkStatus());
  }

  Domain& domain_;
  size_t before_;
};

TEST_F(ObjectLimboTest, AChildUsesWhatItsParentHasDropped) {
  std::optional<Lock> lock(std::in_place, LockOptions{.name = "jobs"});
  std::optional<RawArray<int>> array(std::in_place, size_t{10'000});
  (*array)[9'999] = 7;
  Child child([&](auto& step) {
    step("born");
    for (int i = 0; i < 100; ++i) {
      lock->Acquire();
      EXPECT_EQ((*array)[9'999]++, 7 + i);
      lock->Release();
    }
    step("used");
  });
  ASSERT_TRUE(child.RunTo("born"));
  lock.reset();
  array.reset();
  EXPECT_GT(Stats().in_use, before_ + 40'000);
  // Nothing that is made now is in their place.
  for (int i = 0; i < 100; ++i) {
    const Lock other;
    const RawArray<int> others(10'000);
    others[9'999] = 0;
  }
  ASSERT_TRUE(child.RunTo("used"));
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(ObjectLimboTest, ItIsGoodFromTheForkOn) {
  Inherited<Gate> dropped;
  for (int i = 0; i < (kSanitized ? 20 : 200); ++i) {
    auto value = std::make_unique<RawValue<int>>(i);
    const pid_t pid = ForkMortal([&] {
      dropped->Wait();
      if (**value != i) _exit(1);
    });
    value.reset();  // perhaps before the child has run at all
    const RawValue<int> other(-1);
    dropped->Open();
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
}

struct Counted {
  explicit Counted(int* count) : count(count) {}
  ~Counted() { ++*count; }
  int* count;
};

TEST_F(ObjectLimboTest, TheMakerEndsItWhenItsHeirsAreGone) {
  int ended = 0;
  { const Shared<Counted> at_once(&ended); }
  EXPECT_EQ(ended, 1);
  auto later = std::make_unique<Shared<Counted>>(&ended);
  Child child([](auto& step) { step("born"); });
  ASSERT_TRUE(child.RunTo("born"));
  later.reset();
  internal::EndObjectsInLimbo();
  EXPECT_EQ(ended, 1);
  child.Kill();
  internal::EndObjectsInLimbo();
  EXPECT_EQ(ended, 2);
  internal::EndObjectsInLimbo();
  EXPECT_EQ(ended, 2);
}

TEST_F(ObjectLimboTest, WhatWasMadeAfterTheForkEndsAtOnce) {
  Child child([](auto& step) { step("born"); });
  ASSERT_TRUE(child.RunTo("born"));
  const size_t before = Stats().in_use;
  for (int i = 0; i < 100; ++i) const RawArray<int> array(1000);
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(ObjectLimboTest, WhatWasDroppedBeforeTheForkEndedAtOnce) {
  int ended = 0;
  { const Shared<Counted> counted(&ended); }
  Child child([](auto& step) { step("born"); });
  ASSERT_TRUE(child.RunTo("born"));
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(ObjectLimboTest, GrandchildrenAreHeirsToo) {
  auto value = std::make_unique<RawValue<int>>(7);
  Inherited<Gate> dropped;
  Child child([&](auto& step) {
    Child grandchild([&](auto& inner) {
      inner("born");
      dropped->Wait();
      EXPECT_EQ(**value, 7);
    });
    ASSERT_TRUE(grandchild.RunTo("born"));
    step("both");
    EXPECT_EQ(grandchild.Finish(), 0);
  });
  ASSERT_TRUE(child.RunTo("both"));
  value.reset();
  const RawValue<int> other(-1);
  dropped->Open();
  EXPECT_EQ(child.Finish(), 0);
}

// It has what its parent inherited, however late it is born.
TEST_F(ObjectLimboTest, AGrandchildBornAfterTheDropIsAnHeirToo) {
  auto value = std::make_unique<RawValue<int>>(7);
  Inherited<Gate> parent_is_gone;
  Inherited<Gate> judged;
  Inherited<int> seen(0);
  Child child([&](auto& step) {
    step("born");
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      parent_is_gone->Wait();
      *seen = **value;
      judged->Open();
      _exit(0);
    }
    _exit(0);
  });
  ASSERT_TRUE(child.RunTo("born"));
  value.reset();
  EXPECT_EQ(child.Finish(), 0);
  Settle();
  const RawValue<int> other(-1);
  parent_is_gone->Open();
  judged->Wait();
  EXPECT_EQ(*seen, 7);
}

// While it is in limbo, an heir puts a handle into the domain, and then is no more.
TEST_F(ObjectLimboTest, ItComesBackFromThereWithAHandle) {
  int ended = 0;
  const Shared<std::optional<Shared<Counted>>> mailbox;
  auto counted = std::make_unique<Shared<Counted>>(&ended);
  Child child([&](auto& step) {
    step("born");
    mailbox->emplace(*counted);
    step("put");
  });
  ASSERT_TRUE(child.RunTo("born"));
  counted.reset();
  ASSERT_TRUE(child.RunTo("put"));
  child.Kill();
  Settle();
  EXPECT_EQ(ended, 0);
  {
    const Shared<Counted> again = **mailbox;
    mailbox->reset();
    EXPECT_EQ(ended, 0);
  }
  EXPECT_EQ(ended, 1);
}

TEST_F(ObjectLimboTest, AMakerThatDiesLeavesItToTheBurials) {
  Inherited<Gate> done;
  Child maker([&](auto& step) {
    auto words = std::make_unique<Shared<Words>>(size_t{10'000}, 7);
    const pid_t heir = fork();
    if (heir == 0) {
      done->Wait();
      _exit((*words)->back() == 7 ? 0 : 1);
    }
    words.reset();
    step("dropped");
  });
  ASSERT_TRUE(maker.RunTo("dropped"));
  maker.Kill();
  domain_.BuryTheDead(Evidence::kThorough);
  EXPECT_GT(Stats().in_use, before_ + 40'000);
  done->Open();
  // The heir ends by itself, and is nobody's here to wait for.
  while (domain_.BuryTheDead(Evidence::kThorough) == 0) std::this_thread::yield();
  EXPECT_EQ(Stats().in_use, before_);
}

TEST_F(ObjectLimboTest, AChildDoesNotEndWhatItsParentLeftInLimbo) {
  int ended = 0;
  auto counted = std::make_unique<Shared<Counted>>(&ended);
  Child first([](auto& step) { step("born"); });
  ASSERT_TRUE(first.RunTo("born"));
  counted.reset();
  Child second([&](auto& step) {
    step("born");
    internal::EndObjectsInLimbo();
    EXPECT_EQ(ended, 0);
  });
  ASSERT_TRUE(second.RunTo("born"));
  first.Kill();
  EXPECT_EQ(second.Finish(), 0);
  internal::EndObjectsInLimbo();
  EXPECT_EQ(ended, 1);
}

TEST_F(ObjectLimboTest, ThreadsForkAndDrop) {
  constexpr int kRounds = kSanitized ? 20 : 100;
  auto make_fork_and_drop = [] {
    for (int i = 0; i < kRounds; ++i) {
      auto value = std::make_unique<RawValue<int>>(i);
      const pid_t pid = ForkMortal([&] {
        if (**value != i) _exit(1);
      });
      value.reset();
      int status = -1;
      ASSERT_EQ(waitpid(pid, &status, 0), pid);
      EXPECT_EQ(status, 0);
    }
  };
  auto make_and_drop = [] {
    for (int i = 0; i < 20 * kRounds; ++i) const RawArray<int> array(100);
  };
  std::thread one(make_fork_and_drop);
  std::thread two(make_fork_and_drop);
  std::thread three(make_and_drop);
  one.join();
  two.join();
  three.join();
}

}  // namespace
}  // namespace mp
