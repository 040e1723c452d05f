// What two threads, or two processes, see of Shared.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/peer.h"

namespace mp {
namespace {

using testing::Child;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::PeerNames;
using testing::Peers;
using testing::Settle;
using testing::ThreadPeer;

using String = std::basic_string<char, std::char_traits<char>, Allocator<char>>;
using Words = std::vector<String, Allocator<String>>;
using Index = std::map<String, Words, std::less<>, Allocator<std::pair<const String, Words>>>;

constexpr char kLong[] = "a text that is too long for the string itself";

template <typename P>
class SharedPeerTest : public ::testing::Test {};
TYPED_TEST_SUITE(SharedPeerTest, Peers, PeerNames);

TYPED_TEST(SharedPeerTest, BothGrowOneContainer) {
  const Lock lock;
  const Shared<Index> index;
  auto work = [&] {
    for (int i = 0; i < 100; ++i) {
      const LockGuard guard(lock);
      (*index)[String("key ") + std::to_string(i % 10).c_str()].emplace_back(kLong);
    }
  };
  TypeParam first(work);
  TypeParam second(work);
  work();
  EXPECT_EQ(first.Finish(), 0);
  EXPECT_EQ(second.Finish(), 0);
  EXPECT_EQ(index->size(), 10u);
  for (const auto& [key, words] : *index) {
    EXPECT_EQ(words.size(), 30u);
    EXPECT_THAT(words, Each(kLong));
  }
  index->clear();
  EXPECT_EQ(Check(), absl::OkStatus());
}

TYPED_TEST(SharedPeerTest, AtomicsInItNeedNoLock) {
  const Shared<std::atomic<int>> counter(0);
  auto work = [&] {
    for (int i = 0; i < 1000; ++i) counter->fetch_add(1);
  };
  TypeParam first(work);
  TypeParam second(work);
  EXPECT_EQ(first.Finish(), 0);
  EXPECT_EQ(second.Finish(), 0);
  EXPECT_EQ(*counter, 2000);
}

TYPED_TEST(SharedPeerTest, HandlesAreCopiedByAllAtOnce) {
  (void)Domain::Get();
  const size_t before = Stats().in_use;
  {
    const Shared<Words> words(1, kLong);
    auto work = [&] {
      for (int i = 0; i < 1000; ++i) {
        const Shared<Words> copy = words;
        const std::vector<Shared<Words>> copies(5, copy);
        EXPECT_EQ(copies[3]->size(), 1u);
      }
    };
    TypeParam first(work);
    TypeParam second(work);
    work();
    EXPECT_EQ(first.Finish(), 0);
    EXPECT_EQ(second.Finish(), 0);
    EXPECT_EQ((*words)[0], kLong);
  }
  EXPECT_EQ(Stats().in_use, before);
}

TEST(SharedProcessTest, WhatAChildGrewSurvivesItsDeath) {
  (void)Domain::Get();
  const size_t before = Stats().in_use;
  {
    const Shared<Words> words;
    Child child([&](auto& step) {
      for (int i = 0; i < 1000; ++i) words->emplace_back(kLong);
      words->push_back(String(100'000, 'x'));
      step("grown");
    });
    ASSERT_TRUE(child.RunTo("grown"));
    child.Kill();
    Settle();
    ASSERT_EQ(words->size(), 1001u);
    EXPECT_EQ((*words)[999], kLong);
    EXPECT_EQ(words->back().find_first_not_of('x'), String::npos);
    words->emplace_back(kLong);
    EXPECT_EQ(Stats().by_type.count("process"), 0u) << Stats().ToString();
    EXPECT_EQ(Check(), absl::OkStatus());
  }
  EXPECT_EQ(Stats().in_use, before);
}

TEST(SharedProcessTest, WhatAChildMovedInSurvivesItsDeath) {
  const Shared<Words> words;
  Child child([&](auto& step) {
    Words local(10, kLong);
    String string = kLong;
    *words = std::move(local);
    words->push_back(std::move(string));
    words->insert(words->end(), {String(kLong), String(kLong)});
    step("moved");
  });
  ASSERT_TRUE(child.RunTo("moved"));
  child.Kill();
  Settle();
  EXPECT_EQ(words->size(), 13u);
  EXPECT_THAT(*words, Each(kLong));
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(SharedProcessTest, AfterAHalfDoneChangeResetBuildsItAnew) {
  const Lock lock;
  const Shared<Words> words;
  const size_t empty = Stats().in_use;
  Child child([&](auto& step) {
    lock.Acquire();
    for (int i = 0; i < 100; ++i) words->emplace_back(kLong);
    memset(static_cast<void*>(words.get()), 0x5a, sizeof(Words) / 2);  // half-done
    step("torn");
    lock.Release();
  });
  ASSERT_TRUE(child.RunTo("torn"));
  child.Kill();
  const LockGuard guard(lock);
  ASSERT_TRUE(guard.owner_died());
  words.Reset();
  lock.MarkConsistent();
  EXPECT_EQ(Stats().in_use, empty);
  words->emplace_back(kLong);
  EXPECT_THAT(*words, ElementsAre(kLong));
}

TEST(SharedProcessTest, AChildMayResetWhatItsParentMade) {
  const Shared<Words> words(100, kLong);
  Child child([&] {
    words.Reset(2, "x");
    words->emplace_back(kLong);
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_THAT(*words, ElementsAre("x", "x", kLong));
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(SharedProcessTest, AnObjectLivesUntilItsMakerDropsItsLastHandle) {
  (void)Domain::Get();
  const size_t before = Stats().in_use;
  std::optional<Shared<Words>> words(std::in_place, 1, kLong);
  Child child([&](auto& step) {
    std::optional<Shared<Words>> copy = words;
    words.reset();
    EXPECT_EQ((**copy)[0], kLong);
    copy.reset();
    step("dropped");
  });
  ASSERT_TRUE(child.RunTo("dropped"));
  EXPECT_EQ((**words)[0], kLong);
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ((**words)[0], kLong);
  words.reset();
  EXPECT_EQ(Stats().in_use, before);
}

TEST(SharedProcessTest, AnObjectOutlivesItsMakerWithAHandleInTheDomain) {
  struct Mailbox {
    std::optional<Shared<Words>> words;
  };
  const Shared<Mailbox> mailbox;
  const size_t before = Stats().in_use;
  Child child([&] { mailbox->words.emplace(1, kLong); });
  EXPECT_EQ(child.Finish(), 0);
  Settle();
  EXPECT_EQ((**mailbox->words)[0], kLong);
  (*mailbox->words)->emplace_back(kLong);
  mailbox->words.reset();
  EXPECT_EQ(Stats().in_use, before);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// While a child may use the handle that it inherited, the cell is nobody else's.
TEST(SharedProcessTest, AnInheritedHandleIsNeverToAnotherObject) {
  for (int i = 0; i < 20; ++i) {
    auto inherited = std::make_unique<Shared<int>>(1);
    Child child([&](auto& step) {
      step("inherited");
      const Shared<int> own(2);
      EXPECT_NE(own.get(), inherited->get());
      EXPECT_EQ(**inherited, 1);
      inherited.reset();
      const Shared<int> next(3);
      EXPECT_EQ(*own, 2);
      EXPECT_EQ(Check(), absl::OkStatus());
    });
    ASSERT_TRUE(child.RunTo("inherited"));
    inherited.reset();
    EXPECT_EQ(child.Finish(), 0);
  }
  Settle();
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Handles in the domain that others copy, move and destroy never end an object that its
// maker still has.
TEST(SharedProcessTest, HandlesThatOthersMadeDoNotCount) {
  Settle();
  using Numbers = std::vector<Shared<int>, Allocator<Shared<int>>>;
  const Shared<int> number(7);
  const Shared<Numbers> numbers;
  numbers->push_back(number);
  Child child([&] {
    for (int i = 0; i < 100; ++i) numbers->push_back(number);  // moves ours, too
  });
  EXPECT_EQ(child.Finish(), 0);
  numbers->clear();
  const Shared<int> another(8);
  EXPECT_NE(number.get(), another.get());
  EXPECT_EQ(*number, 7);
  EXPECT_EQ(Stats().by_type.at("Shared").count, 3u);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(SharedProcessTest, ChildrenWithThreadsInTheParentMakeObjects) {
  const Shared<Words> words;
  const RawValue<int> done(0);
  ThreadPeer busy([&](auto& step) {
    step("started");
    for (int i = 0; i < 2000; ++i) {
      const Shared<Words> own(3, kLong);
      own->clear();
    }
  });
  ASSERT_TRUE(busy.RunTo("started"));
  busy.Go();
  for (int i = 0; i < 10; ++i) {
    Child child([&] {
      const Shared<Words> own(3, kLong);
      words->emplace_back(own->front());
      ++*done;
    });
    EXPECT_EQ(child.Finish(), 0);
  }
  busy.Finish();
  EXPECT_EQ(*done, 10);
  EXPECT_THAT(*words, Each(kLong));
  words->clear();
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
