// What one process sees of Shared.

#include "shared/shared.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "tests/shared/gives_back.h"

namespace mp {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::GivesBackTest;
using ::testing::HasSubstr;

using String = std::basic_string<char, std::char_traits<char>, Allocator<char>>;
using Words = std::vector<String, Allocator<String>>;
using Index = std::map<String, Words, std::less<>, Allocator<std::pair<const String, Words>>>;

// Long enough to be on the heap.
constexpr char kLong[] = "a text that is too long for the string itself";

class SharedTest : public GivesBackTest {};

struct Counted {
  explicit Counted(int value) : value(value) { ++alive; }
  Counted(const Counted& other) : value(other.value) { ++alive; }
  ~Counted() { --alive; }
  int value;
  static inline int alive = 0;
};

TEST_F(SharedTest, HandleIsOnePointer) {
  static_assert(sizeof(Shared<Words>) == sizeof(void*));
  static_assert(std::is_copy_constructible_v<Shared<Words>>);
  static_assert(std::is_copy_assignable_v<Shared<Words>>);
  static_assert(std::is_nothrow_move_constructible_v<Shared<Words>>);
}

TEST_F(SharedTest, TakesWhatItsTypeTakes) {
  struct Pair {
    Pair(int, const std::string&) {}
  };
  static_assert(std::is_constructible_v<Shared<int>>);
  static_assert(std::is_constructible_v<Shared<int>, int>);
  static_assert(!std::is_constructible_v<Shared<int>, int, int>);
  static_assert(!std::is_constructible_v<Shared<int>, std::string>);
  static_assert(!std::is_default_constructible_v<Shared<Pair>>);
  static_assert(std::is_constructible_v<Shared<Pair>, int, const char*>);
  static_assert(std::is_constructible_v<Shared<std::unique_ptr<int>>, std::nullptr_t>);
  // Not by accident.
  static_assert(!std::is_convertible_v<int, Shared<int>>);
}

struct Any {
  Any() = default;
  template <typename T>
  explicit Any(T&&) : made_of_something(true) {}
  bool made_of_something = false;
};

// Even where T could be made of anything, handles included.
TEST_F(SharedTest, CopiesOfAHandleAreNotCopiesOfTheObject) {
  const Shared<Any> any;
  Shared<Any> lvalue = any;
  const Shared<Any> from_lvalue(lvalue);
  const Shared<Any> from_rvalue(std::move(lvalue));
  EXPECT_EQ(from_lvalue.get(), any.get());
  EXPECT_EQ(from_rvalue.get(), any.get());
  EXPECT_FALSE(any->made_of_something);
}

TEST_F(SharedTest, IsAnObjectInTheDomain) {
  const Shared<int> number(42);
  EXPECT_TRUE(Domain::Current()->Contains(number.get()));
  EXPECT_EQ(*number, 42);
  *number = 43;
  const Shared<int> copy = number;
  EXPECT_EQ(*copy, 43);
  EXPECT_EQ(*Shared<int>(), 0);
}

TEST_F(SharedTest, PassesReferencesAndRvalues) {
  auto value = std::make_unique<int>(7);
  int* const address = value.get();
  const Shared<std::unique_ptr<int>> taken(std::move(value));
  EXPECT_EQ(taken->get(), address);

  struct Reference {
    explicit Reference(int& target) : target(&target) {}
    int* target;
  };
  int target = 0;
  EXPECT_EQ(Shared<Reference>(target)->target, &target);
}

TEST_F(SharedTest, TheLastHandleDestroysIt) {
  {
    std::optional<Shared<Counted>> counted(std::in_place, 5);
    EXPECT_EQ(Counted::alive, 1);
    {
      const Shared<Counted> copy = *counted;
      counted.reset();
      EXPECT_EQ(Counted::alive, 1);
      EXPECT_EQ(copy->value, 5);
    }
    EXPECT_EQ(Counted::alive, 0);
  }
  Shared<Counted> a(1);
  const Shared<Counted> b(2);
  EXPECT_EQ(Counted::alive, 2);
  a = b;
  EXPECT_EQ(Counted::alive, 1);
  EXPECT_EQ(a->value, 2);
}

TEST_F(SharedTest, LargerThanACellHasABlock) {
  struct Large {
    std::array<char, 100'000> bytes = {};
  };
  {
    const Shared<Large> large;
    EXPECT_GE(Stats().by_type["Shared"].bytes, sizeof(Large));
    large->bytes.back() = 'x';
    EXPECT_EQ(large->bytes.front(), 0);
  }
  // At the limits of a cell, and past them.
  const Shared<std::array<char, 1024>> largest;
  const Shared<std::array<char, 1025>> next;
  (*largest)[1023] = (*next)[1024] = 'x';
}

TEST_F(SharedTest, OverAlignedObjectsAreAligned) {
  auto check = []<size_t kAlignment>(std::integral_constant<size_t, kAlignment>) {
    struct alignas(kAlignment) Aligned {
      char byte = 1;
    };
    const std::array<Shared<Aligned>, 3> objects;
    for (const Shared<Aligned>& object : objects) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(object.get()) % kAlignment, 0u) << kAlignment;
      EXPECT_EQ(object->byte, 1);
    }
  };
  check(std::integral_constant<size_t, 1>());
  check(std::integral_constant<size_t, 16>());
  check(std::integral_constant<size_t, 64>());
  check(std::integral_constant<size_t, 128>());
  check(std::integral_constant<size_t, 1024>());
  check(std::integral_constant<size_t, 4096>());
}

template <size_t kSize>
struct Throws {
  explicit Throws(bool now) : text(kLong, Allocator<char>()) {
    if (now) throw std::runtime_error("no");
  }
  std::array<char, kSize> bytes;
  String text;
};

TEST_F(SharedTest, AConstructorThatThrowsLeavesNothing) {
  EXPECT_THROW(Shared<Throws<1>>(true), std::runtime_error);
  EXPECT_THROW(Shared<Throws<10'000>>(true), std::runtime_error);
  EXPECT_THROW((void)Shared<Throws<1>>::Create(true), std::runtime_error);
}

TEST_F(SharedTest, CreateTellsOfNoMemory) {
  struct Huge {
    std::array<char, size_t{1} << 40> bytes;
  };
  const absl::StatusOr<Shared<Huge>> huge = Shared<Huge>::Create();
  EXPECT_EQ(huge.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_DEATH(Shared<Huge>(), AllOf(HasSubstr("mp: Shared: cannot be made (1099511627776 bytes)"),
                                     HasSubstr("MP_RESERVE")));
  const absl::StatusOr<Shared<int>> small = Shared<int>::Create(3);
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(**small, 3);
}

TEST_F(SharedTest, ContainersHaveTheirMemoryInTheDomainAndWithTheObject) {
  const Shared<Words> words(3, kLong);
  ASSERT_EQ(words->size(), 3u);
  words->push_back("short");
  words->emplace_back(kLong);
  EXPECT_TRUE(Domain::Current()->Contains(words->data()));
  EXPECT_TRUE(Domain::Current()->Contains(words->back().data()));
  const DomainStats stats = Stats();
  EXPECT_EQ(stats.by_type.at("Shared").count, 1u);
  EXPECT_GT(stats.by_type.at("Shared").bytes, 4 * sizeof(kLong));
  EXPECT_EQ(stats.by_type.count("process"), 0u);
}

TEST_F(SharedTest, ContainersNest) {
  const Shared<Index> index;
  (*index)["first"].emplace_back(kLong);
  (*index)[kLong].emplace_back(kLong);
  index->try_emplace(String("third"), 2, String(kLong));
  index->emplace("fourth", Words{String(kLong), String("x")});
  EXPECT_EQ(index->size(), 4u);
  // Nothing of it is the process's.
  EXPECT_EQ(Stats().by_type.count("process"), 0u);
  (*index)["first"].clear();
  index->erase(String(kLong));
  EXPECT_THAT((*index)["fourth"], ElementsAre(kLong, "x"));
  EXPECT_EQ(Stats().by_type.count("process"), 0u);
}

TEST_F(SharedTest, BuiltOfAContainerOfTheProcessItCopies) {
  Words local = {String(kLong), String("x")};
  const Shared<Words> moved(std::move(local));
  const Shared<Words> copied(*moved);
  EXPECT_THAT(*moved, ElementsAre(kLong, "x"));
  EXPECT_THAT(*copied, ElementsAre(kLong, "x"));
  local = Words();
  local.shrink_to_fit();
  EXPECT_EQ(Stats().by_type.count("process"), 0u);
}

TEST_F(SharedTest, StructsOfContainersFollowTheirPlace) {
  struct Table {
    Words names;
    Index index;
    int rows = 0;
  };
  const Shared<Table> table;
  table->names.emplace_back(kLong);
  table->index[kLong].emplace_back(kLong);
  EXPECT_EQ(Stats().by_type.count("process"), 0u);
  table.Reset();
  EXPECT_TRUE(table->names.empty());
  table->names.emplace_back(kLong);
}

TEST_F(SharedTest, ResetGivesBackTheBlocksOfTheObjectAndNoOthers) {
  const Shared<Words> other(1, kLong);
  const Shared<Words> words;
  void* const mine = *Domain::Current()->Allocate(100);
  const size_t empty = Stats().in_use;
  Words* const address = words.get();
  for (int i = 0; i < 1000; ++i) words->emplace_back(std::string(20'000, 'x'));
  EXPECT_GT(Stats().in_use, empty + 20'000'000);
  words.Reset();
  EXPECT_EQ(Stats().in_use, empty);
  EXPECT_EQ(words.get(), address);
  EXPECT_TRUE(words->empty());
  EXPECT_THAT(*other, ElementsAre(kLong));
  words->emplace_back(kLong);
  EXPECT_THAT(*words, ElementsAre(kLong));
  words.Reset(2, "again");
  EXPECT_THAT(*words, ElementsAre("again", "again"));
  Domain::Current()->Free(mine);
}

TEST_F(SharedTest, ResetKeepsTheObjectsOwnMemory) {
  const Shared<int> number(1);
  number.Reset(2);
  // What is made next lies elsewhere.
  const Shared<int> another(3);
  const Shared<std::array<char, 5000>> large;
  large.Reset();
  const Shared<std::array<char, 5000>> another_large;
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_NE(static_cast<void*>(number.get()), another.get());
  EXPECT_NE(large.get(), another_large.get());
  EXPECT_EQ(*number, 2);
  EXPECT_EQ(Stats().by_type.at("Shared").count, 4u);
}

TEST_F(SharedTest, ResetDoesNotLookAtWhatWasLeft) {
  const Shared<Words> words(10, kLong);
  memset(static_cast<void*>(words.get()), 0xff, sizeof(Words));
  words.Reset();
  EXPECT_TRUE(words->empty());
  words->emplace_back(kLong);
}

template <size_t kSize>
void ThrowingReset() {
  std::optional<Shared<Throws<kSize>>> object(std::in_place, false);
  EXPECT_THROW(object->Reset(true), std::runtime_error);
  object->Reset(false);
  EXPECT_EQ((*object)->text, kLong);
  EXPECT_THROW(object->Reset(true), std::runtime_error);
  // There is nothing to destroy, but a cell and its memory to give back.
  object.reset();
}

TEST_F(SharedTest, AResetThatThrowsCanBeDoneAgainOrDropped) {
  ThrowingReset<1>();
  ThrowingReset<10'000>();
}

TEST_F(SharedTest, HandlesLiveInObjects) {
  struct Node {
    int value = 0;
    std::vector<Shared<Node>, Allocator<Shared<Node>>> children;
  };
  const Shared<Node> root;
  root->children.emplace_back();
  root->children.emplace_back()->value = 1;
  root->children[1]->children.emplace_back();
  EXPECT_EQ(Stats().by_type.at("Shared").count, 4u);
  root->children.pop_back();
  EXPECT_EQ(Stats().by_type.at("Shared").count, 2u);
}

TEST_F(SharedTest, AtomicsNeedNoLock) {
  const Shared<std::atomic<int>> counter(5);
  counter->fetch_add(2);
  EXPECT_EQ(counter->load(), 7);
}

}  // namespace
}  // namespace mp
