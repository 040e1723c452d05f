// Bytes that nobody has sent: never a crash, never more memory than a multiple of the bytes that
// are there, and what is taken for a value is one, which can be sent in its turn.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "tests/support/settings.h"
#include "tests/support/status_matchers.h"

namespace {

// What this thread has allocated and not freed, and the most that was, since somebody began to
// count.
thread_local ptrdiff_t live = 0;
thread_local ptrdiff_t peak = 0;

[[maybe_unused]] void* Allocate(size_t size) {
  void* const block = std::malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  live += static_cast<ptrdiff_t>(malloc_usable_size(block));
  peak = std::max(peak, live);
  return block;
}
[[maybe_unused]] void Free(void* block) {
  if (block == nullptr) return;
  live -= static_cast<ptrdiff_t>(malloc_usable_size(block));
  std::free(block);
}

}  // namespace

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MP_HAS_OPERATORS_OF_ITS_OWN
#endif
#endif
// Not those of Clang's ThreadSanitizer, with which nothing is counted.
#ifndef MP_HAS_OPERATORS_OF_ITS_OWN
void* operator new(size_t size) { return Allocate(size); }
void* operator new[](size_t size) { return Allocate(size); }
void operator delete(void* block) noexcept { Free(block); }
void operator delete[](void* block) noexcept { Free(block); }
void operator delete(void* block, size_t) noexcept { Free(block); }
void operator delete[](void* block, size_t) noexcept { Free(block); }
#endif

namespace mp {
namespace {

using testing::IsOk;
using testing::StatusIs;

// A node of a container of one byte each, or an empty class that takes a byte; and what the text of
// an error and the tables of the decoder take.
constexpr size_t kMostPerByte = 256;
constexpr size_t kMostBeside = 16384;

template <class T>
absl::StatusOr<T> DecodeCounted(const std::string& bytes) {
  live = 0;
  peak = 0;
  absl::StatusOr<T> value = DecodeFromString<T>(bytes);
  EXPECT_LE(peak, static_cast<ptrdiff_t>(kMostPerByte * bytes.size() + kMostBeside))
      << TypeName<T>() << " of " << bytes.size() << " bytes";
  return value;
}

using Random = std::mt19937_64;

// Changes a few things about `bytes`, such as mistakes and malice would.
void Mutate(std::string& bytes, Random& random) {
  const auto below = [&random](size_t n) { return static_cast<size_t>(random() % n); };
  for (size_t changes = 1 + below(4); changes > 0; --changes) {
    const size_t at = below(bytes.size() + 1);
    switch (below(8)) {
      case 0:
        if (at < bytes.size()) bytes[at] ^= static_cast<char>(1 << below(8));
        break;
      case 1:
        if (at < bytes.size()) bytes[at] = static_cast<char>(random());
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(at, 1 + below(3), static_cast<char>(random()));
        break;
      case 4:
        bytes.erase(at, 1 + below(4));
        break;
      case 5:  // a length of much
        bytes.insert(at, std::string(1 + below(9), '\xff') + '\1');
        break;
      case 6:
        bytes.insert(at, bytes.substr(below(bytes.size() + 1), 1 + below(16)));
        break;
      default:
        if (at < bytes.size()) bytes[at] = static_cast<char>(below(4));
        break;
    }
  }
}

template <class T>
void Fuzz(const T& value) {
  const uint64_t seed = testing::Seed(20);
  const absl::StatusOr<std::string> good = EncodeToString(value);
  ASSERT_THAT(good.status(), IsOk());
  ASSERT_THAT(DecodeCounted<T>(*good).status(), IsOk()) << TypeName<T>();
  Random random(seed);
  const int rounds = (testing::Stress() ? 200'000 : 4000) / (testing::kSanitized ? 2 : 1);
  for (int round = 0; round < rounds && !::testing::Test::HasFailure(); ++round) {
    std::string bytes = *good;
    Mutate(bytes, random);
    const absl::StatusOr<T> decoded = DecodeCounted<T>(bytes);
    if (decoded.ok()) {
      EXPECT_THAT(EncodeToString(*decoded).status(), IsOk());
    } else {
      EXPECT_THAT(decoded.status(), StatusIs(absl::StatusCode::kDataLoss));
    }
  }
  EXPECT_FALSE(::testing::Test::HasFailure()) << TypeName<T>() << ", MP_SEED=" << seed;
}

class CodecFuzzTest : public ::testing::Test {};

struct Empty {
  bool operator==(const Empty&) const = default;
};
struct Flags {
  bool a;
  std::array<bool, 3> b;
  std::bitset<11> c;
};
struct Tree {
  std::string name;
  std::vector<Tree> children;
  std::optional<bool> flag;
};
struct Node {
  int n = 0;
  std::shared_ptr<Node> next;
  std::weak_ptr<Node> back;
};
class Convention {
 public:
  template <class Archive>
  void serialize(Archive& archive) {
    archive(n_, text_, more_);
  }

 private:
  int n_ = 3;
  std::string text_ = "text";
  std::map<int, std::unique_ptr<std::string>> more_;
};
class Nothing {
 public:
  Nothing() {}
  template <class Archive>
  void serialize(Archive&) {}

 private:
  std::string not_sent_;
};
// Makes room for as many as it was told, as loaders of cereal's do.
class Resizes {
 public:
  template <class Archive>
  void save(Archive& archive) const {
    archive(cereal::make_size_tag(values_.size()));
    for (const auto& value : values_) archive(value);
  }
  template <class Archive>
  void load(Archive& archive) {
    size_t size = 0;
    archive(cereal::make_size_tag(size));
    values_.resize(size);
    for (auto& value : values_) archive(value);
  }

 private:
  std::vector<double> values_ = {1, 2, 3};
};

TEST_F(CodecFuzzTest, Plain) {
  Fuzz(Flags{true, {false, true, true}, 0x7ff});
  Fuzz(std::vector<Flags>(3, Flags{true, {false, true, true}, 5}));
  Fuzz(std::tuple<bool, char, double>(true, 'x', 2.5));
}
TEST_F(CodecFuzzTest, Sequences) {
  Fuzz(std::string("some text"));
  Fuzz(std::u32string(U"text"));
  Fuzz(std::vector<int>{1, 2, 3, 4});
  Fuzz(std::vector<std::string>{"a", "bc", "", "def"});
  Fuzz(std::vector<bool>{true, false, true, true, false, true, false, false, true});
  Fuzz(std::deque<uint8_t>{1, 2, 3});
  Fuzz(std::list<std::pair<int, std::string>>{{1, "a"}, {2, "b"}});
  Fuzz(std::forward_list<uint8_t>{1, 2, 3});
  Fuzz(std::vector<Empty>(7));
  Fuzz(std::vector<Nothing>(7));
  Fuzz(std::vector<std::vector<std::vector<uint8_t>>>{{{1, 2}, {}}, {}, {{3}}});
  Fuzz(std::array<std::vector<std::string>, 2>{std::vector<std::string>{"a"}, {}});
}
TEST_F(CodecFuzzTest, Associative) {
  Fuzz(std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {2, 3}}});
  Fuzz(std::set<uint8_t>{1, 2, 3});
  Fuzz(std::multimap<uint8_t, bool>{{1, true}, {1, false}});
  Fuzz(std::unordered_map<uint8_t, std::set<std::string>>{{1, {"a", "b"}}, {2, {}}});
  Fuzz(std::unordered_set<uint8_t>{1, 2, 3, 4});
}
TEST_F(CodecFuzzTest, Sums) {
  Fuzz(std::optional<std::optional<bool>>(true));
  Fuzz(std::vector<std::variant<std::monostate, bool, std::string, std::vector<uint8_t>>>{
      true, "a", std::vector<uint8_t>{1}, std::monostate()});
  absl::Status status = absl::AbortedError("text");
  status.SetPayload("url", absl::Cord("payload"));
  Fuzz(status);
  Fuzz(absl::StatusOr<std::string>("text"));
}
TEST_F(CodecFuzzTest, Recursive) {
  Fuzz(Tree{"root", {{"a", {{"b", {}, true}}, {}}, {"c", {}, false}}, {}});
}
TEST_F(CodecFuzzTest, Pointers) {
  const auto first = std::make_shared<Node>(Node{1, nullptr, {}});
  first->next = std::make_shared<Node>(Node{2, first, first});
  // What is decoded whole is a circle, too, which is only there until here.
  const absl::StatusOr<std::string> bytes = EncodeToString(first);
  ASSERT_THAT(bytes.status(), IsOk());
  Random random(testing::Seed(20));
  for (int round = 0; round < 4000; ++round) {
    std::string mutant = *bytes;
    Mutate(mutant, random);
    absl::StatusOr<std::shared_ptr<Node>> decoded = DecodeCounted<std::shared_ptr<Node>>(mutant);
    if (!decoded.ok()) {
      EXPECT_THAT(decoded.status(), StatusIs(absl::StatusCode::kDataLoss));
    }
    for (std::shared_ptr<Node> node = decoded.value_or(nullptr); node != nullptr;) {
      node = std::exchange(node->next, nullptr);
    }
  }
  first->next->next = nullptr;
  Fuzz(std::vector<std::shared_ptr<std::string>>(3, std::make_shared<std::string>("shared")));
  Fuzz(std::pair(std::make_shared<uint16_t>(1), std::unique_ptr<uint16_t>()));
}
TEST_F(CodecFuzzTest, Conventions) {
  Fuzz(Convention());
  Fuzz(std::vector<Convention>(3));
  Fuzz(Resizes());
}

template <class T>
void TakesNoMoreThanThereIs() {
  for (const size_t tail : {size_t{0}, size_t{1000}, size_t{100'000}}) {
    for (const char filler : {'\0', '\1', '\x7f'}) {
      for (const uint64_t length : {uint64_t{1} << 20, uint64_t{1} << 32, uint64_t{1} << 61,
                                    ~uint64_t{0}, uint64_t{tail}, uint64_t{tail} / 8}) {
        Encoder encoder;
        encoder.PutNumber(length);
        const std::string rest(tail, filler);
        encoder.PutBytes(rest.data(), rest.size());
        (void)DecodeCounted<T>(encoder.ToString());
      }
    }
  }
}
TEST_F(CodecFuzzTest, NoLengthTakesMoreThanThereIs) {
  TakesNoMoreThanThereIs<std::string>();
  TakesNoMoreThanThereIs<std::vector<double>>();
  TakesNoMoreThanThereIs<std::vector<bool>>();
  TakesNoMoreThanThereIs<std::vector<Empty>>();
  TakesNoMoreThanThereIs<std::vector<Nothing>>();
  TakesNoMoreThanThereIs<std::vector<std::string>>();
  TakesNoMoreThanThereIs<std::vector<std::vector<std::vector<int>>>>();
  TakesNoMoreThanThereIs<std::vector<std::array<std::string, 50>>>();
  TakesNoMoreThanThereIs<std::unordered_map<int, std::string>>();
  TakesNoMoreThanThereIs<std::map<std::string, std::vector<int>>>();
  TakesNoMoreThanThereIs<std::deque<int>>();
  TakesNoMoreThanThereIs<std::vector<Tree>>();
  TakesNoMoreThanThereIs<Resizes>();
  TakesNoMoreThanThereIs<std::vector<Resizes>>();
}

}  // namespace
}  // namespace mp
