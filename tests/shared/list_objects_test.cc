// ListObjects(): the directory, as a process of the family sees it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "tests/shared/heap_locks.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Child;
using ::testing::ElementsAre;
using testing::HeapLocks;
using testing::Inherited;
using testing::kSlowness;
using testing::Settle;
using testing::Steps;
using ::testing::UnorderedElementsAre;
using Numbers = std::vector<int, Allocator<int>>;

std::vector<ObjectInfo> Named(const std::string& name) {
  std::vector<ObjectInfo> found = ListObjects();
  std::erase_if(found, [&](const ObjectInfo& object) { return object.name != name; });
  return found;
}

// First: before anybody has made a domain.
TEST(ListObjectsTest, AProcessWithoutADomainHasNone) {
  if (Domain::Current() != nullptr) GTEST_SKIP() << "tests are shuffled";
  EXPECT_TRUE(ListObjects().empty());
  EXPECT_EQ(Domain::Current(), nullptr);
}

TEST(ListObjectsTest, TellsOfAnObjectFromItsMakingToItsEnd) {
  EXPECT_TRUE(Named("count").empty());
  {
    const RawValue<int> value(7, {.name = "count"});
    std::vector<ObjectInfo> found = Named("count");
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].type, "RawValue");
    EXPECT_EQ(found[0].address,
              reinterpret_cast<uintptr_t>((*Domain::Get())->heap().Find(value.Raw()).address));
    EXPECT_EQ(found[0].maker_pid, getpid());
    EXPECT_EQ(found[0].maker, (*Domain::Get())->ThisProcess().identity());
    EXPECT_EQ(found[0].handles, 1u);
    const std::vector<RawValue<int>> copies(3, value);
    EXPECT_EQ(Named("count")[0].handles, 4u);
    EXPECT_EQ(Named("count")[0].stakes, 1u);
    EXPECT_THAT(Named("count")[0].holders, ElementsAre(getpid()));
  }
  EXPECT_TRUE(Named("count").empty());
}

TEST(ListObjectsTest, ToldAreAllTypesInOrderOfAddress) {
  const RawValue<int> unnamed;
  const RawArray<char> array(3, {.name = "array"});
  const Shared<Numbers> numbers(10);
  std::vector<RawValue<int>> many;
  for (int i = 0; i < 3000; ++i) many.emplace_back(i);
  const std::vector<ObjectInfo> all = ListObjects();
  EXPECT_EQ(all.size(), 3003u);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const ObjectInfo& a, const ObjectInfo& b) {
    return a.address <= b.address;
  }));
  for (const std::string type : {"RawValue", "RawArray", "Shared"}) {
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const ObjectInfo& object) {
      return object.type == type;
    })) << type;
  }
}

TEST(ListObjectsTest, BytesAreThoseOfAllBlocksOfTheObject) {
  const Shared<Numbers> numbers;
  const auto bytes = [] { return ListObjects().at(0).bytes; };
  const size_t empty = bytes();
  EXPECT_GT(empty, 0u);
  EXPECT_LT(empty, 500u);
  numbers->reserve(100);  // of a slab
  EXPECT_GE(bytes(), empty + 400);
  EXPECT_LT(bytes(), empty + 1000);
  numbers->reserve(100'000);  // pages
  EXPECT_GE(bytes(), empty + 400'000);
  EXPECT_EQ(bytes(), Stats().by_type.at("Shared").bytes);
}

TEST(ListObjectsTest, NamesOfAnyLengthHaveTheirFirst255Bytes) {
  for (const size_t length : {1, 15, 16, 254, 255, 256, 5000, 20'000}) {
    const std::string name(length, 'n');
    const RawValue<int> value(0, {.name = name});
    const std::vector<ObjectInfo> all = ListObjects();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].name, name.substr(0, 255)) << length;
  }
}

TEST(ListObjectsTest, AProcessSeesTheObjectsOfOthers) {
  const RawValue<int> mine(0, {.name = "parent's"});
  const pid_t parent = getpid();
  Child child([&](Steps& step) {
    EXPECT_EQ(Named("parent's").at(0).maker_pid, parent);
    std::optional<RawValue<int>> value;
    value.emplace(0, RawValueOptions{.name = "child's"});
    step("made");
    value.reset();
    step("dropped");
    value.emplace(0, RawValueOptions{.name = "orphan"});
    step("made another");
  });
  ASSERT_TRUE(child.RunTo("made"));
  ASSERT_EQ(Named("child's").size(), 1u);
  EXPECT_EQ(Named("child's")[0].maker_pid, child.pid());
  ASSERT_TRUE(child.RunTo("dropped"));
  EXPECT_TRUE(Named("child's").empty());
  ASSERT_TRUE(child.RunTo("made another"));
  EXPECT_EQ(Named("orphan").at(0).maker_pid, child.pid());
  const uint64_t maker = Named("orphan").at(0).maker;
  child.Kill();
  EXPECT_EQ(Named("orphan").at(0).maker_pid, 0) << "gone";
  EXPECT_EQ(Named("orphan").at(0).maker, maker);
  Settle();
  EXPECT_TRUE(Named("orphan").empty());
}

TEST(ListObjectsTest, WhoHasHandlesAndWhereThereAreSome) {
  const Shared<std::optional<RawValue<int>>> mailbox;
  mailbox->emplace(7, RawValueOptions{.name = "sent"});
  EXPECT_EQ(Named("sent").at(0).stakes, 1u);
  EXPECT_THAT(Named("sent").at(0).holders, ElementsAre());
  Child child([&](Steps& step) {
    const std::optional<RawValue<int>> mine = *mailbox;
    const std::optional<RawValue<int>> copy = mine;
    step("copied");
  });
  ASSERT_TRUE(child.RunTo("copied"));
  EXPECT_EQ(Named("sent").at(0).stakes, 2u);
  EXPECT_THAT(Named("sent").at(0).holders, ElementsAre(child.pid()));
  {
    const RawValue<int> mine = **mailbox;
    EXPECT_EQ(Named("sent").at(0).stakes, 3u);
    EXPECT_THAT(Named("sent").at(0).holders, UnorderedElementsAre(getpid(), child.pid()));
  }
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_THAT(Named("sent").at(0).holders, ElementsAre());
}

TEST(ListObjectsTest, WhoHasALockAndWhoSleepsOnIt) {
  const Lock lock({.name = "jobs"});
  const Lock other({.name = "others"});
  EXPECT_EQ(Named("jobs").at(0).acquired_by, 0);
  lock.Acquire();
  EXPECT_EQ(Named("jobs").at(0).acquired_by, getpid());
  // Clang's analysis does not know that they end with it.
  auto acquire = [&] { (void)lock.Acquire(absl::InfiniteDuration()); };
  Child first(acquire);
  Child second(acquire);
  first.WaitUntilAsleep();
  second.WaitUntilAsleep();
  EXPECT_THAT(Named("jobs").at(0).sleepers, UnorderedElementsAre(first.pid(), second.pid()));
  EXPECT_THAT(Named("others").at(0).sleepers, ElementsAre());
  first.Kill();
  Settle();
  EXPECT_THAT(Named("jobs").at(0).sleepers, ElementsAre(second.pid()));
  lock.Release();
  EXPECT_EQ(second.Finish(), 0);
  EXPECT_THAT(Named("jobs").at(0).sleepers, ElementsAre());
  EXPECT_EQ(Named("jobs").at(0).acquired_by, 0) << "it died with it";
}

TEST(ListObjectsTest, AnswersWhileAnotherProcessIsStoppedWithTheLocksOfTheHeap) {
  const RawValue<int> value(0, {.name = "there"});
  Child child([](Steps& step) {
    const HeapLocks locks;
    step("holds them");
  });
  ASSERT_TRUE(child.RunTo("holds them"));
  child.Stop();
  EXPECT_EQ(Named("there").size(), 1u);
  child.Continue();
  EXPECT_EQ(child.Finish(), 0);
}

// Objects and blocks of all sizes come and go, so that spans and slabs do.
void Churn(int rounds) {
  for (int i = 0; i < rounds; ++i) {
    const RawValue<int> value(i, {.name = "passing"});
    const RawArray<char> array(static_cast<size_t>(i % 50 * 1000),
                               {.name = std::string(static_cast<size_t>(i % 9000), 'n')});
    std::vector<Shared<Numbers>> vectors;
    for (int n = 0; n < 20; ++n) vectors.emplace_back(static_cast<size_t>(i % 100 * n));
  }
}

// What no heap in motion may hide, or show twice.
class Lasting {
 public:
  Lasting() {
    for (int i = 0; i < 300; ++i) {
      const std::string name = "lasting " + std::to_string(i);
      values_.emplace_back(i, RawValueOptions{.name = name});
      names_.push_back(name);
      // So that they lie in many slabs, with others between them.
      if (i % 30 == 0) between_.emplace_back(size_t{20'000});
    }
    between_.clear();
  }

  void ExpectListed() const {
    std::vector<std::string> found;
    for (const ObjectInfo& object : ListObjects()) {
      if (object.name.starts_with("lasting")) {
        found.push_back(object.name);
        EXPECT_EQ(object.type, "RawValue");
      } else {
        EXPECT_TRUE(object.name.empty() || object.name == "passing" ||
                    object.name.find_first_not_of('n') == std::string::npos)
            << object.name;
      }
    }
    EXPECT_THAT(found, ::testing::UnorderedElementsAreArray(names_));
  }

 private:
  std::vector<RawValue<int>> values_;
  std::vector<RawArray<char>> between_;
  std::vector<std::string> names_;
};

TEST(ListObjectsTest, MissesNothingThatStaysWhileOthersWork) {
  const Lasting lasting;
  Child child([] { Churn(1000 / kSlowness); });
  std::thread thread([] { Churn(500 / kSlowness); });
  int looks = 0;
  do {
    lasting.ExpectListed();
    ++looks;
  } while (child.Running() && !::testing::Test::HasFailure());
  thread.join();
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_GT(looks, 0);
}

TEST(ListObjectsTest, MissesNothingThatStaysWhereverAnotherIsStopped) {
  const Lasting lasting;
  Inherited<std::atomic<bool>> enough(false);
  Child child([&] {
    while (!*enough) Churn(1);
  });
  for (int i = 0; i < 200 / kSlowness && !::testing::Test::HasFailure(); ++i) {
    child.Stop();
    lasting.ExpectListed();
    child.Continue();
  }
  *enough = true;
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
