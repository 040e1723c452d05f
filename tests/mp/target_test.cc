// What can be run in a process, and how it gets its arguments.

#include "mp/internal/target.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/process.h"

namespace mp {
namespace {

template <class F, class... A>
requires Target<F, A...> absl::StatusOr<int> Call(F&& f, A&&... args) {
  return internal::StoreTarget(std::forward<F>(f), std::forward<A>(args)...)->Run();
}

int Add(int a, int b) { return a + b; }
int Length(const char* text) { return static_cast<int>(std::string_view(text).size()); }
int FirstOf(char text[]) { return text[0]; }

struct Counter {
  int Plus(int n) const { return count + n; }
  int Next() { return ++count; }
  int count = 10;
};

TEST(TargetTest, AFunctionIsCalled) {
  EXPECT_EQ(*Call(Add, 1, 2), 3);
  EXPECT_EQ(*Call(&Add, 1, 2), 3);
}

TEST(TargetTest, AStdFunctionAndAnAbslResultAreTakenAsTheyAre) {
  EXPECT_EQ(*Call(std::function<int(int)>([](int n) { return n; }), 4), 4);
  EXPECT_EQ(*Call([] {}), 0);
  EXPECT_EQ(*Call([] { return absl::OkStatus(); }), 0);
  EXPECT_EQ(Call([] { return absl::AbortedError("no"); }).status(), absl::AbortedError("no"));
}

TEST(TargetTest, AMemberFunctionIsCalledOnACopyOrThroughAPointer) {
  Counter counter;
  EXPECT_EQ(*Call(&Counter::Plus, counter, 5), 15);
  EXPECT_EQ(*Call(&Counter::Next, counter), 11);
  EXPECT_EQ(counter.count, 10);
  EXPECT_EQ(*Call(&Counter::Next, &counter), 11);
  EXPECT_EQ(*Call(&Counter::Next, std::ref(counter)), 12);
  EXPECT_EQ(*Call(&Counter::Plus, std::make_shared<Counter>(), 1), 11);
}

TEST(TargetTest, ALambdaMayHoldWhatOnlyMoves) {
  auto held = std::make_unique<int>(6);
  EXPECT_EQ(*Call([held = std::move(held)] { return *held; }), 6);
  EXPECT_EQ(*Call([n = 1]() mutable { return ++n; }), 2);
}

TEST(TargetTest, ArgumentsArePassedAsRvaluesWhereThatCompiles) {
  EXPECT_EQ(*Call([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(7)), 7);
  EXPECT_EQ(*Call([](std::vector<int>&& v) { return static_cast<int>(v.size()); },
                  std::vector<int>{1, 2}),
            2);
  EXPECT_EQ(
      *Call([](const std::string& s) { return static_cast<int>(s.size()); }, std::string("abc")),
      3);
}

TEST(TargetTest, AndAsLvaluesWhereNot) {
  const auto push = [](std::vector<int>& v) {
    v.push_back(1);
    return static_cast<int>(v.size());
  };
  std::vector<int> mine = {5};
  EXPECT_EQ(*Call(push, mine), 2);
  EXPECT_EQ(mine.size(), 1u);  // a copy, as in another process
  EXPECT_EQ(*Call([](auto& v) { return v.front(); }, mine), 5);
}

TEST(TargetTest, EachArgumentIsPassedInItsOwnWay) {
  const auto mixed = [](std::vector<int>& v, std::unique_ptr<int> p, const char* text,
                        std::string& name) {
    v.push_back(*p);
    name += text;
    return v.back() + static_cast<int>(name.size());
  };
  EXPECT_EQ(*Call(mixed, std::vector<int>(), std::make_unique<int>(10), "abc", std::string("de")),
            15);
}

TEST(TargetTest, ACallableThatNeedsToBeAnLvalueIsOne) {
  struct OnlyLvalue {
    int operator()() & { return 8; }
    int operator()() && = delete;
  };
  EXPECT_EQ(*Call(OnlyLvalue()), 8);
}

TEST(TargetTest, ALiteralTravelsAsAString) {
  EXPECT_EQ(
      *Call([](auto text) { return std::is_same_v<decltype(text), std::string> ? 1 : 0; }, "abc"),
      1);
  EXPECT_EQ(*Call([](std::string_view text) { return static_cast<int>(text.size()); }, "abc"), 3);
  EXPECT_EQ(*Call(&Length, "abcd"), 4);
}

TEST(TargetTest, ItIsACopyOfTheTextThatTravels) {
  char buffer[] = "before";
  const char* const text = buffer;
  const auto target = internal::StoreTarget(&Length, text);
  buffer[0] = '\0';
  EXPECT_EQ(*target->Run(), 6);
}

TEST(TargetTest, APointerThatMayBeWrittenToStaysAPointer) {
  char buffer[] = "x";
  EXPECT_EQ(*Call(&FirstOf, buffer), 'x');
}

// What is no target: a compiler says which of the conditions fails.

struct Pinned {
  Pinned() = default;
  Pinned(Pinned&&) = delete;
};

static_assert(!Target<int>);
static_assert(!Target<int (*)(int)>);
static_assert(!Target<int (*)(int), std::string>);
static_assert(!internal::CanBeCalledWithTheArguments<int (*)(int), std::string>);
static_assert(!Target<double (*)()>);
static_assert(!internal::ReturnsVoidOrIntOrStatus<double (*)()>);
static_assert(!Target<bool (*)()>);
static_assert(!Target<void (*)(Pinned&), Pinned>);
static_assert(!internal::CanBeCopiedOrMovedIntoTheProcess<void (*)(Pinned&), Pinned>);
static_assert(!Target<void (*)(std::unique_ptr<int>), std::unique_ptr<int>&>);
static_assert(!Target<Process>);
static_assert(!Target<Process&>);
static_assert(Target<void (*)(Process), Process>);

static_assert(!std::is_copy_constructible_v<Process>);
static_assert(std::is_nothrow_move_constructible_v<Process>);
static_assert(std::is_nothrow_move_assignable_v<Process>);
static_assert(!std::is_constructible_v<Process, int>);
static_assert(!std::is_convertible_v<void (*)(), Process>);

}  // namespace
}  // namespace mp
