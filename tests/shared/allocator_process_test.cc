// Containers in the domain, among processes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/owner.h"
#include "shared/shared.h"
#include "tests/support/child.h"

namespace mp {
namespace {

using testing::Child;

using String = std::basic_string<char, std::char_traits<char>, Allocator<char>>;
using Words = std::vector<String, Allocator<String>>;

constexpr char kLong[] = "a text that is too long for the string itself";

Owner OwnerOf(const void* block) { return Domain::Current()->heap().Find(block).owner; }

// First: a family of its own, with a small domain.
TEST(AllocatorProcessTest, NoMemoryInOneProcessIsABadAllocThereAndMemoryComesBack) {
  if (Domain::Current() != nullptr) GTEST_SKIP() << "tests are shuffled";
  Child family([] {
    ASSERT_EQ(ConfigureDomain({.commit_limit = size_t{16} << 20}), absl::OkStatus());
    const Shared<Words> words;
    Child child([&] {
      EXPECT_THROW(
          {
            for (;;) words->emplace_back(100'000, 'x');
          },
          std::bad_alloc);
    });
    EXPECT_EQ(child.Finish(), 0);
    EXPECT_GT(words->size(), 100u);
    EXPECT_THROW(String(1'000'000, 'x'), std::bad_alloc);
    words.Reset();
    EXPECT_EQ(String(1'000'000, 'x').size(), 1'000'000u);
    EXPECT_EQ(Check(), absl::OkStatus());
  });
  EXPECT_EQ(family.Finish(), 0);
}

TEST(AllocatorProcessTest, OnAChildsStackTheChildOwnsTheMemory) {
  const Owner parent = (**Domain::Get()).ThisProcess();
  const size_t before = Stats().in_use;
  Child child([&](auto& step) {
    const Owner self = Domain::Current()->ThisProcess();
    EXPECT_NE(self, parent);
    const Words words(3, kLong);
    EXPECT_EQ(OwnerOf(words.data()), self);
    EXPECT_EQ(OwnerOf(words[0].data()), self);
    const Allocator<int> allocator;
    EXPECT_EQ(allocator, Allocator<int>());
    step("built");
  });
  ASSERT_TRUE(child.RunTo("built"));
  EXPECT_GT(Stats().in_use, before);
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(Stats().in_use, before);
}

TEST(AllocatorProcessTest, WhatAKilledChildHadOnItsStackIsFoundByItsName) {
  Domain& domain = **Domain::Get();
  const size_t before = Stats().in_use;
  const Shared<uint64_t> id;
  Child child([&](auto& step) {
    *id = domain.ThisProcess().identity();
    const Words words(100, kLong);
    const Words large(1, String(100'000, 'x'));
    step("built");
  });
  ASSERT_TRUE(child.RunTo("built"));
  child.Kill();
  EXPECT_GT(Stats().in_use, before + 100'000);
  domain.heap().FreeOwnedBy(Owner::Process(*id), {}, domain.ThisProcess());
  EXPECT_EQ(Stats().by_type.count("process"), 0u) << Stats().ToString();
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST(AllocatorProcessTest, ThreadsAndProcessesAllocateAtOnce) {
  (void)Domain::Get();
  auto work = [] {
    for (int round = 0; round < 50; ++round) {
      Words words;
      for (int i = 0; i < 20; ++i) words.emplace_back(static_cast<size_t>(i * 100), 'x');
      for (const String& word : words) {
        EXPECT_EQ(word.find_first_not_of('x'), String::npos);
      }
    }
  };
  Child first(work);
  Child second(work);
  work();
  EXPECT_EQ(first.Finish(), 0);
  EXPECT_EQ(second.Finish(), 0);
  EXPECT_EQ(Stats().in_use, 0u);
  EXPECT_EQ(Check(), absl::OkStatus());
}

struct StringHash {
  size_t operator()(const String& string) const {
    return std::hash<std::string_view>()(std::string_view(string.data(), string.size()));
  }
};

TEST(AllocatorProcessTest, ForkedChildrenGrowAFlatHashMap) {
  using Map = absl::flat_hash_map<String, int, StringHash, std::equal_to<>,
                                  Allocator<std::pair<const String, int>>>;
  {
    // Empty, so that a child makes its first table.
    const Shared<Map> map;
    constexpr int kEach = 1000;
    for (int part = 0; part < 4; ++part) {
      Child child([&] {
        for (int i = 0; i < kEach; ++i) {
          map->emplace(String(kLong) + std::to_string(part * kEach + i).c_str(), part * kEach + i);
        }
        for (int i = 0; i < kEach / 2; ++i) {
          map->erase(String(kLong) + std::to_string(part * kEach + i).c_str());
        }
      });
      EXPECT_EQ(child.Finish(), 0);
    }
    EXPECT_EQ(map->size(), 2000u);
    for (const auto& [key, value] : *map) {
      EXPECT_EQ(key, String(kLong) + std::to_string(value).c_str());
    }
    EXPECT_EQ(Stats().by_type.count("process"), 0u) << Stats().ToString();
  }
  EXPECT_EQ(Stats().in_use, 0u);
}

}  // namespace
}  // namespace mp
