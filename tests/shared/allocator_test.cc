// What one process sees of Allocator.

#include "shared/allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/inspect.h"
#include "shared/owner.h"
#include "shared/shared.h"

namespace mp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using String = std::basic_string<char, std::char_traits<char>, Allocator<char>>;
using Words = std::vector<String, Allocator<String>>;

// Long enough to be on the heap.
constexpr char kLong[] = "a text that is too long for the string itself";

// Small, so that a test can use it up.
const absl::Status configured =
    ConfigureDomain({.reserve = size_t{256} << 20, .commit_limit = size_t{32} << 20});

// What a test makes it gives back.
class AllocatorTest : public ::testing::Test {
 protected:
  ~AllocatorTest() override {
    EXPECT_EQ(Stats().in_use, 0u) << Stats().ToString();
    EXPECT_EQ(Check(), absl::OkStatus());
  }

  Domain& domain_ = **Domain::Get();
  Owner OwnerOf(const void* block) { return domain_.heap().Find(block).owner; }
  // The object that `value` lies in the cell of.
  Owner ObjectAt(const void* value) { return Owner::Object(domain_.heap().Find(value).address); }
};

TEST_F(AllocatorTest, IsOneThatContainersTake) {
  EXPECT_EQ(configured, absl::OkStatus());
  using Traits = std::allocator_traits<Allocator<int>>;
  static_assert(std::is_same_v<Traits::rebind_alloc<double>, Allocator<double>>);
  static_assert(std::is_same_v<Traits::pointer, int*>);
  static_assert(!Traits::propagate_on_container_copy_assignment::value);
  static_assert(!Traits::propagate_on_container_move_assignment::value);
  static_assert(!Traits::propagate_on_container_swap::value);
  static_assert(!Traits::is_always_equal::value);
  static_assert(std::is_nothrow_copy_constructible_v<Allocator<int>>);
  static_assert(std::is_nothrow_move_constructible_v<Allocator<int>>);
  static_assert(std::is_constructible_v<Allocator<int>, Allocator<double>>);
  static_assert(std::is_convertible_v<Allocator<double>, Allocator<int>>);
  static_assert(!std::is_convertible_v<Owner, Allocator<int>>);
}

TEST_F(AllocatorTest, AllocatesAlignedAndFrees) {
  struct alignas(1024) Wide {
    char bytes[1024];
  };
  Allocator<Wide> allocator;
  Wide* const block = allocator.allocate(3);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 1024, 0u);
  EXPECT_TRUE(domain_.Contains(block));
  EXPECT_EQ(OwnerOf(block), domain_.ThisProcess());
  allocator.deallocate(block, 3);
  allocator.deallocate(allocator.allocate(0), 0);
}

TEST_F(AllocatorTest, OnAStackTheProcessOwnsTheMemory) {
  Words words;
  words.emplace_back(kLong);
  EXPECT_EQ(OwnerOf(words.data()), domain_.ThisProcess());
  EXPECT_EQ(OwnerOf(words[0].data()), domain_.ThisProcess());
}

TEST_F(AllocatorTest, OnTheProgramsHeapTheProcessOwnsTheMemory) {
  const auto words = std::make_unique<Words>(2, kLong);
  EXPECT_EQ(OwnerOf(words->data()), domain_.ThisProcess());
}

TEST_F(AllocatorTest, InAnObjectTheObjectOwnsTheMemory) {
  const Shared<Words> words(1, kLong);
  const Owner object = ObjectAt(words.get());
  EXPECT_EQ(words->get_allocator().owner(), object);
  for (int i = 0; i < 100; ++i) words->emplace_back(kLong);
  EXPECT_EQ(OwnerOf(words->data()), object);
  for (const String& word : *words) EXPECT_EQ(OwnerOf(word.data()), object);
}

TEST_F(AllocatorTest, InALargeObjectToo) {
  struct Large {
    std::array<char, 20'000> bytes;
    Words words;
  };
  const Shared<Large> large;
  large->words.emplace_back(kLong);
  const Owner object = OwnerOf(large.get());
  EXPECT_EQ(object.kind(), Owner::Kind::kObject);
  EXPECT_EQ(OwnerOf(large->words.data()), object);
  EXPECT_EQ(OwnerOf(large->words[0].data()), object);
}

TEST_F(AllocatorTest, InABlockOfAProcessThatProcessOwnsTheMemory) {
  // Of some other process, as its word in the domain says.
  const Owner other = Owner::Process(12345);
  void* const place =
      *domain_.heap().Allocate(sizeof(Words), alignof(Words), other, domain_.ThisProcess());
  auto* words = new (place) Words;
  words->emplace_back(kLong);
  EXPECT_EQ(OwnerOf(words->data()), other);
  EXPECT_EQ(OwnerOf(words->back().data()), other);
  words->~Words();
  domain_.Free(place);
}

TEST_F(AllocatorTest, AnExplicitOwnerHoldsOutsideTheDomain) {
  const Shared<int> number;
  const Owner object = ObjectAt(number.get());
  std::vector<int, Allocator<int>> numbers{Allocator<int>(object)};
  numbers.resize(10);
  EXPECT_EQ(OwnerOf(numbers.data()), object);
  // And holds for what it is copied to on the way.
  std::list<int, Allocator<int>> list{Allocator<int>(object)};
  list.push_back(1);
  EXPECT_EQ(OwnerOf(&list.front()), object);
}

TEST_F(AllocatorTest, EqualIsWhatMayHandOverItsMemory) {
  const Shared<int> number;
  const Allocator<int> process;
  EXPECT_EQ(process, Allocator<int>());
  EXPECT_EQ(process, Allocator<double>());
  EXPECT_NE(process, Allocator<int>(ObjectAt(number.get())));
  EXPECT_EQ(Allocator<double>(ObjectAt(number.get())), Allocator<int>(ObjectAt(number.get())));
}

TEST_F(AllocatorTest, WhatIsMovedIntoAnObjectIsReowned) {
  const Shared<Words> words;
  const Owner object = ObjectAt(words.get());
  String local = kLong;
  words->push_back(std::move(local));
  words->insert(words->begin(), String(kLong));
  words->emplace_back(String(kLong));
  words->resize(5, String(kLong));
  String assigned = kLong;
  (*words)[4] = std::move(assigned);
  for (const String& word : *words) {
    EXPECT_EQ(word, kLong);
    EXPECT_EQ(OwnerOf(word.data()), object);
  }
  Words whole(3, kLong);
  *words = std::move(whole);
  EXPECT_EQ(OwnerOf(words->data()), object);
  for (const String& word : *words) EXPECT_EQ(OwnerOf(word.data()), object);
  Words copied(4, kLong);
  *words = copied;
  for (const String& word : *words) EXPECT_EQ(OwnerOf(word.data()), object);
}

TEST_F(AllocatorTest, WhatIsMovedOutOfAnObjectIsReowned) {
  const Shared<Words> words(3, kLong);
  const String taken = std::move(words->back());
  EXPECT_EQ(taken, kLong);
  Words local;
  local = std::move(*words);
  EXPECT_EQ(OwnerOf(local.data()), domain_.ThisProcess());
  EXPECT_EQ(OwnerOf(local[0].data()), domain_.ThisProcess());
  const Words copy = *words;
}

TEST_F(AllocatorTest, MovesByWayOfAThirdSwapWhatSwapMayNot) {
  const Shared<Words> words(3, kLong);
  Words local(2, kLong);
  Words third = std::move(local);
  local = std::move(*words);
  *words = std::move(third);
  EXPECT_EQ(local.size(), 3u);
  EXPECT_EQ(OwnerOf(local.data()), domain_.ThisProcess());
  EXPECT_EQ(OwnerOf(local[0].data()), domain_.ThisProcess());
  EXPECT_EQ(words->size(), 2u);
  EXPECT_EQ(OwnerOf(words->data()), ObjectAt(words.get()));
  EXPECT_EQ(OwnerOf(words->at(0).data()), ObjectAt(words.get()));
}

TEST_F(AllocatorTest, WithinAnObjectMemoryIsHandedOver) {
  struct Two {
    Words a;
    Words b;
  };
  const Shared<Two> two;
  two->a.emplace_back(kLong);
  const void* const data = two->a.data();
  two->b = std::move(two->a);
  EXPECT_EQ(two->b.data(), data);
  std::swap(two->a, two->b);
  EXPECT_EQ(two->a.data(), data);
}

TEST_F(AllocatorTest, ACopyOfAContainerBelongsToItsOwnPlace) {
  const Shared<Words> a(2, kLong);
  const Words local = *a;
  EXPECT_EQ(OwnerOf(local.data()), domain_.ThisProcess());
  const Shared<Words> b(local);
  EXPECT_EQ(OwnerOf(b->data()), ObjectAt(b.get()));
  EXPECT_EQ(OwnerOf((*b)[0].data()), ObjectAt(b.get()));
}

// All of the standard containers, in an object, with elements that allocate.
template <typename Container>
void Fill(Container& container, int i) {
  using Value = typename Container::value_type;
  if constexpr (std::is_same_v<Value, String>) {
    container.insert(container.end(), String(kLong) + std::to_string(i).c_str());
  } else {
    container.emplace(String(kLong) + std::to_string(i).c_str(), String(kLong));
  }
}
template <typename Container>
class AllocatorContainerTest : public AllocatorTest {};
using Pair = std::pair<const String, String>;
struct StringHash {
  size_t operator()(const String& string) const {
    return std::hash<std::string_view>()(std::string_view(string.data(), string.size()));
  }
};
using Containers = ::testing::Types<
    std::vector<String, Allocator<String>>, std::deque<String, Allocator<String>>,
    std::list<String, Allocator<String>>, std::set<String, std::less<>, Allocator<String>>,
    std::map<String, String, std::less<>, Allocator<Pair>>,
    std::multimap<String, String, std::less<>, Allocator<Pair>>,
    std::unordered_map<String, String, StringHash, std::equal_to<>, Allocator<Pair>>,
    absl::flat_hash_map<String, String, StringHash, std::equal_to<>, Allocator<Pair>>>;
TYPED_TEST_SUITE(AllocatorContainerTest, Containers);

TYPED_TEST(AllocatorContainerTest, EverythingIsTheObjects) {
  const Shared<TypeParam> container;
  for (int i = 0; i < 100; ++i) Fill(*container, i);
  EXPECT_EQ(container->size(), 100u);
  EXPECT_EQ(Stats().by_type.count("process"), 0u) << Stats().ToString();
  container->erase(container->begin());
  const Shared<TypeParam> copy(*container);
  EXPECT_TRUE(*copy == *container);
  EXPECT_EQ(Stats().by_type.count("process"), 0u) << Stats().ToString();
  container->clear();
  container.Reset();
  for (int i = 0; i < 10; ++i) Fill(*container, i);
  EXPECT_EQ(container->size(), 10u);
}

TEST_F(AllocatorTest, ElementsWithoutAllocatorsAreBuiltAsUsual) {
  struct Point {
    int x = 1;
    int y = 2;
  };
  const Shared<std::vector<Point, Allocator<Point>>> points(3);
  EXPECT_EQ(points->back().x + points->back().y, 3);
  const Shared<std::vector<int, Allocator<int>>> numbers(100);
  EXPECT_EQ(numbers->at(99), 0);
  const Shared<std::vector<std::unique_ptr<int>, Allocator<std::unique_ptr<int>>>> pointers;
  pointers->push_back(std::make_unique<int>(1));
  pointers->clear();
}

TEST_F(AllocatorTest, NestedPairsAndOptionalsFollow) {
  using Entry = std::pair<String, std::pair<int, Words>>;
  const Shared<std::vector<Entry, Allocator<Entry>>> entries;
  entries->emplace_back(kLong, std::pair<int, Words>(1, Words(2, kLong)));
  entries->push_back(Entry(kLong, {2, Words(1, kLong)}));
  EXPECT_EQ(Stats().by_type.count("process"), 0u) << Stats().ToString();
}

TEST_F(AllocatorTest, NoMemoryIsABadAllocThatSaysWhy) {
  const Shared<Words> words;
  const Shared<Words> other(1, kLong);
  std::string what;
  try {
    for (;;) words->emplace_back(100'000, 'x');
  } catch (const std::bad_alloc& e) {
    what = e.what();
  }
  EXPECT_THAT(what, HasSubstr("commit limit"));
  EXPECT_THAT(what, HasSubstr("MP_COMMIT_LIMIT"));
  EXPECT_GT(words->size(), 100u);
  // Everything goes on.
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_EQ(words->back().size(), 100'000u);
  other->front() += "!";
  words->clear();
  words->emplace_back(kLong);
}

TEST_F(AllocatorTest, MoreThanCanBeCountedIsABadArrayLength) {
  Allocator<int64_t> allocator;
  EXPECT_THROW((void)allocator.allocate(std::numeric_limits<size_t>::max() / 4),
               std::bad_array_new_length);
  EXPECT_THROW((void)allocator.allocate(std::numeric_limits<size_t>::max() / 16), std::bad_alloc);
}

}  // namespace
}  // namespace mp
