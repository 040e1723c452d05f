#include "shared/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/object.h"
#include "shared/owner.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Child;
using ::testing::HasSubstr;
using testing::kSlowness;

// First: before anybody has made a domain.
TEST(InspectTest, AProcessWithoutADomainHasAnEmptyOne) {
  if (Domain::Current() != nullptr) GTEST_SKIP() << "tests are shuffled";
  EXPECT_EQ(Check(), absl::OkStatus());
  const DomainStats stats = Stats();
  EXPECT_EQ(stats.reserved, 0u);
  EXPECT_EQ(stats.in_use, 0u);
  EXPECT_TRUE(stats.by_type.empty());
  EXPECT_EQ(Domain::Current(), nullptr);
}

TEST(InspectTest, CountsByType) {
  Domain& domain = **Domain::Get();
  const DomainStats before = Stats();
  EXPECT_TRUE(before.by_type.empty()) << before.ToString();
  const RawValue<int> first;
  const RawValue<int> second(0, {.name = std::string(1000, 'n')});
  const RawArray<char> array(100'000);
  const Shared<std::vector<int, Allocator<int>>> vector(1000);
  void* const block = *domain.Allocate(5000);
  void* const message =
      *domain.heap().Allocate(100, 16, Owner::Message(array.data()), domain.ThisProcess());
  const DomainStats stats = Stats();
  EXPECT_EQ(stats.by_type.at("RawValue").count, 2u);
  EXPECT_GE(stats.by_type.at("RawValue").bytes, 1000u);
  EXPECT_LT(stats.by_type.at("RawValue").bytes, 2000u);
  EXPECT_EQ(stats.by_type.at("RawArray").count, 1u);
  EXPECT_GE(stats.by_type.at("RawArray").bytes, 100'000u);
  EXPECT_EQ(stats.by_type.at("Shared").count, 1u);
  EXPECT_GE(stats.by_type.at("Shared").bytes, 4000u);
  EXPECT_EQ(stats.by_type.at("process").count, 1u);
  EXPECT_GE(stats.by_type.at("process").bytes, 5000u);
  EXPECT_EQ(stats.by_type.at("message").count, 1u);
  EXPECT_EQ(stats.by_type.size(), 5u);
  size_t sum = 0;
  for (const auto& [type, usage] : stats.by_type) sum += usage.bytes;
  EXPECT_EQ(sum, stats.in_use);
  EXPECT_GE(stats.committed, stats.in_use);
  EXPECT_LE(stats.committed, stats.commit_limit);
  EXPECT_GT(stats.reserved, stats.committed);
  EXPECT_THAT(stats.ToString(), HasSubstr("RawArray: 1, "));
  EXPECT_THAT(stats.ToString(), HasSubstr("in use " + std::to_string(stats.in_use)));
  domain.Free(block);
  domain.Free(message);
}

// Breaks the owner of a block in a child, and says what Check() finds there.
std::string FoundBy(Owner owner) {
  std::string found;
  Domain& domain = **Domain::Get();
  void* const block = *domain.Allocate(100);
  domain.heap().SetOwner(block, owner);
  found = std::string(Check().message());
  domain.heap().SetOwner(block, domain.ThisProcess());
  domain.Free(block);
  EXPECT_EQ(Check(), absl::OkStatus());
  return found;
}

TEST(InspectTest, CheckNamesABlockWhoseObjectIsNone) {
  Domain& domain = **Domain::Get();
  int local = 0;
  EXPECT_THAT(FoundBy(Owner::Object(&local)), HasSubstr("its object lies outside the domain"));
  EXPECT_THAT(FoundBy(Owner::Object(nullptr)), HasSubstr("its object lies outside the domain"));
  void* const block = *domain.Allocate(100);
  EXPECT_THAT(FoundBy(Owner::Object(block)), HasSubstr("its object is in no cell"));
  domain.Free(block);
  const RawValue<int> value;
  EXPECT_THAT(FoundBy(Owner::Object(value.Raw())), HasSubstr("its object is in no cell"));
  EXPECT_THAT(FoundBy(Owner::Object(&domain)), HasSubstr("its object is in no cell"));
}

TEST(InspectTest, CheckNamesABlockOfADroppedObject) {
  Domain& domain = **Domain::Get();
  void* const block = *domain.Allocate(100);
  {
    const RawValue<int> value;
    const Heap::Block cell = domain.heap().Find(value.Raw());
    ASSERT_TRUE(cell.cell);
    domain.heap().SetOwner(block, Owner::Object(cell.address));
    EXPECT_EQ(Check(), absl::OkStatus());
    EXPECT_GE(Stats().by_type.at("RawValue").bytes, 100u);
  }
  EXPECT_THAT(std::string(Check().message()), HasSubstr("its object is in no cell"));
  domain.heap().SetOwner(block, domain.ThisProcess());
  domain.Free(block);
}

TEST(InspectTest, CheckNamesCellsThatAreNotTheirOwn) {
  Domain& domain = **Domain::Get();
  const RawValue<int> first;
  const RawValue<int> second;
  void* const a = domain.heap().Find(first.Raw()).address;
  void* const b = domain.heap().Find(second.Raw()).address;
  domain.heap().SetOwner(a, Owner::Object(b));
  EXPECT_THAT(std::string(Check().message()), HasSubstr("O1: a cell that another one owns"));
  domain.heap().SetOwner(a, Owner::Object(a));
  EXPECT_EQ(Check(), absl::OkStatus());

  auto* header = static_cast<internal::ObjectHeader*>(a);
  const uint64_t state = header->state.exchange(0);
  EXPECT_THAT(std::string(Check().message()), HasSubstr("O1: a cell with no type owns itself"));
  header->state.store(state);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(InspectTest, CheckNamesAnOverwrittenHeader) {
  (void)Domain::Get();
  auto& header = const_cast<internal::DomainHeader&>(Domain::Current()->header());
  ++header.magic;
  EXPECT_THAT(std::string(Check().message()), HasSubstr("header is overwritten"));
  --header.magic;
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Objects of all kinds are made and dropped; every look finds the domain whole.
void Churn(int rounds) {
  for (int i = 0; i < rounds; ++i) {
    const RawValue<int> value(i, {.name = "value"});
    const RawArray<char> array(static_cast<size_t>(i % 20'000));
    const RawArray<char> named(10, {.name = std::string(static_cast<size_t>(i % 9000), 'n')});
    const Shared<std::vector<int, Allocator<int>>> vector(static_cast<size_t>(i % 100));
    vector->push_back(i);
    vector.Reset(5);
  }
}

TEST(InspectTest, LooksWhileOthersWork) {
  (void)Domain::Get();
  constexpr int kRounds = 2000 / kSlowness;
  Child child([] { Churn(kRounds); });
  std::atomic<int> done = 0;
  std::thread thread([&] {
    Churn(kRounds);
    ++done;
  });
  int looks = 0;
  while (child.Running() || done == 0) {
    ASSERT_EQ(Check(), absl::OkStatus());
    const DomainStats stats = Stats();
    for (const auto& [type, usage] : stats.by_type) {
      ASSERT_TRUE(type == "RawValue" || type == "RawArray" || type == "Shared" || type == "process")
          << type;
    }
    ++looks;
  }
  thread.join();
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_GT(looks, 0);
  testing::Settle();  // what the child inherited
  EXPECT_EQ(Stats().in_use, 0u);
}

}  // namespace
}  // namespace mp
