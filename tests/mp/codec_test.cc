// What can be sent, and that it arrives as it was; what cannot, and how that is said.

#include "mp/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <bitset>
#include <cereal/cereal.hpp>
#include <cereal/types/base_class.hpp>
#include <cereal/types/queue.hpp>
#include <cereal/types/vector.hpp>
#include <chrono>
#include <complex>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <forward_list>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "tests/support/status_matchers.h"

namespace mp {

// What a Connection will be.
struct Line {
  int descriptor = -1;
  bool operator==(const Line&) const = default;
};
template <>
struct TravelsOnlyThroughConnection<Line> : std::true_type {};
template <>
struct Codec<Line> {
  static void Encode(const Line& line, Encoder& encoder) {
    if (encoder.via() != Via::kConnection) encoder.Fail("a Line outside of a Line");
    encoder.Put(line.descriptor);
  }
  static Line Decode(Decoder& decoder) {
    if (decoder.via() != Via::kConnection) decoder.Fail("a Line outside of a Line");
    return {decoder.Get<int>()};
  }
};

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

template <class T>
std::string BytesOf(const T& value) {
  absl::StatusOr<std::string> bytes = EncodeToString(value);
  EXPECT_THAT(bytes, IsOk());
  return bytes.ok() ? *bytes : "";
}
template <class T>
absl::StatusOr<T> SentAndReceived(const T& value) {
  return DecodeFromString<T>(BytesOf(value));
}
template <class T>
void ExpectArrives(const T& value) {
  const absl::StatusOr<T> arrived = SentAndReceived(value);
  ASSERT_THAT(arrived.status(), IsOk());
  EXPECT_TRUE(*arrived == value) << TypeName<T>();
}

// Bytes -----------------------------------------------------------------------------------------

enum class Fruit : uint8_t { kApple = 1, kPear };
struct Point {
  int x;
  double y;
  bool operator==(const Point&) const = default;
};
struct Frame {
  int id;
  char payload[4000];
};
union Word {
  int a;
  float b;
};
class Opaque {  // its members are not to be seen
 public:
  explicit Opaque(int n) : n_(n) {}
  bool operator==(const Opaque&) const = default;

 private:
  int n_;
};

TEST(CodecTest, NumbersEnumsAndPlainStructsTravelAsTheirBytes) {
  ExpectArrives(true);
  ExpectArrives('x');
  ExpectArrives(int8_t{-3});
  ExpectArrives(std::numeric_limits<uint64_t>::max());
  ExpectArrives(0.1f);
  ExpectArrives(2.5L);
  ExpectArrives(Fruit::kPear);
  ExpectArrives(std::byte{7});
  ExpectArrives(Point{3, 0.5});
  ExpectArrives(Opaque(5));
  ExpectArrives(std::array<Point, 2>{Point{1, 2}, Point{3, 4}});
  EXPECT_EQ(BytesOf(uint32_t{0x01020304}), std::string("\4\3\2\1"));
  EXPECT_EQ(BytesOf(Point{}).size(), sizeof(Point));
  Frame frame{7, "seven"};
  EXPECT_STREQ(SentAndReceived(frame)->payload, "seven");
  EXPECT_EQ(SentAndReceived(Word{.b = 1.5f})->b, 1.5f);

  static_assert(kFixedSize<Point> == sizeof(Point));
  static_assert(kFixedSize<Frame> == sizeof(Frame));
  static_assert(kFixedSize<std::array<int, 3>> == 12);
  static_assert(kFixedSize<absl::Duration> == sizeof(absl::Duration));
  static_assert(kFixedSize<std::string> == 0);
  static_assert(kFixedSize<std::optional<int>> == 0);  // its flag is to be checked
  static_assert(kFixedSize<std::variant<int, float>> == 0);
}

TEST(CodecTest, ABoolThatIsNeitherIsDataLoss) {
  EXPECT_THAT(DecodeFromString<bool>("\2"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("bool")));
  struct Flags {
    int n;
    bool on[2];
  };
  static_assert(kFixedSize<Flags> == 8);
  std::string bytes = BytesOf(Flags{1, {true, false}});
  EXPECT_THAT(DecodeFromString<Flags>(bytes), IsOk());
  const std::string two = BytesOf(std::vector<Flags>{{1, {true, false}}, {2, {false, true}}});
  bytes[5] = 2;
  EXPECT_THAT(DecodeFromString<Flags>(bytes), StatusIs(absl::StatusCode::kDataLoss));
  std::string wrong = two;
  wrong[1 + 8 + 4] = 3;
  EXPECT_THAT(DecodeFromString<std::vector<Flags>>(two), IsOk());
  EXPECT_THAT(DecodeFromString<std::vector<Flags>>(wrong), StatusIs(absl::StatusCode::kDataLoss));
  Flags flags;
  std::memcpy(&flags, bytes.data(), sizeof(flags));
  EXPECT_FALSE(BytesAreValue(flags));
}

TEST(CodecTest, ABitsetHasNoBitsPastItsEnd) {
  ExpectArrives(std::bitset<70>("1010011"));
  std::string bytes = BytesOf(std::bitset<70>(5));
  bytes[15] = 1;
  EXPECT_THAT(DecodeFromString<std::bitset<70>>(bytes).status(),
              StatusIs(absl::StatusCode::kDataLoss));
}

// The standard library and Abseil ----------------------------------------------------------------

TEST(CodecTest, ContainersArriveAsTheyWere) {
  ExpectArrives(std::string());
  ExpectArrives(std::string("a\0b", 3));
  ExpectArrives(std::u16string(u"\u00e4"));
  ExpectArrives(std::vector<int>{1, 2, 3});
  ExpectArrives(std::vector<double>());
  ExpectArrives(std::vector<std::string>{"", "one", std::string(10000, 'x'), "two"});
  for (size_t n : {0, 1, 7, 8, 9, 64, 65}) {
    std::vector<bool> bits(n);
    for (size_t i = 0; i < n; i += 3) bits[i] = true;
    ExpectArrives(bits);
  }
  ExpectArrives(std::deque<int>{4, 5});
  ExpectArrives(std::list<std::string>{"a", "b"});
  ExpectArrives(std::forward_list<int>{1, 2, 3});
  ExpectArrives(std::set<std::string>{"x", "y"});
  ExpectArrives(std::multiset<int>{1, 1, 2});
  ExpectArrives(std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}});
  ExpectArrives(std::multimap<int, std::string>{{1, "a"}, {1, "b"}});
  ExpectArrives(std::unordered_map<int, std::string>{{1, "a"}, {2, "b"}});
  ExpectArrives(std::unordered_set<std::string>{"p", "q"});
  ExpectArrives(std::unordered_multimap<int, int>{{1, 2}, {1, 3}});
  ExpectArrives(absl::flat_hash_map<std::string, int>{{"a", 1}, {"b", 2}});
  ExpectArrives(std::array<std::string, 3>{"a", "", "c"});
  ExpectArrives(std::array<std::string, 0>{});
  ExpectArrives(std::map<int, std::map<int, std::set<std::string>>>{{1, {{2, {"x"}}}}, {3, {}}});
}

TEST(CodecTest, PairsOptionalsAndVariantsArriveAsTheyWere) {
  ExpectArrives(std::pair<int, std::string>(1, "a"));
  ExpectArrives(std::tuple<>());
  ExpectArrives(std::tuple<int, std::string, std::tuple<double>>(1, "b", 2.0));
  ExpectArrives(std::tuple<std::tuple<int>>(std::tuple<int>(3)));
  ExpectArrives(std::optional<int>());
  ExpectArrives(std::optional<int>(3));
  ExpectArrives(std::optional<std::optional<std::string>>(std::in_place, std::nullopt));
  using Shape = std::variant<std::monostate, int, std::string, std::vector<int>>;
  ExpectArrives(Shape());
  ExpectArrives(Shape(5));
  ExpectArrives(Shape("text"));
  ExpectArrives(std::vector<Shape>{std::vector<int>{1, 2}, "x", 7});
  ExpectArrives(std::monostate());
}

TEST(CodecTest, TimesAndComplexNumbersArriveAsTheyWere) {
  ExpectArrives(std::chrono::nanoseconds(5));
  ExpectArrives(std::chrono::system_clock::now());
  ExpectArrives(std::complex<double>(1, 2));
  ExpectArrives(absl::Seconds(1.5));
  ExpectArrives(-absl::InfiniteDuration());
  ExpectArrives(absl::Now());
}

TEST(CodecTest, StatusesArriveWithTheirTextAndPayloads) {
  ExpectArrives(absl::OkStatus());
  absl::Status status = absl::AbortedError("gone");
  ExpectArrives(status);
  status.SetPayload("a/b", absl::Cord("payload"));
  ExpectArrives(status);
  ExpectArrives(absl::StatusOr<std::string>("fine"));
  ExpectArrives(absl::StatusOr<std::string>(status));
  // That of an error may not be OK.
  EXPECT_THAT(DecodeFromString<absl::StatusOr<int>>(std::string("\0", 1)),
              StatusIs(absl::StatusCode::kDataLoss));
}

// Pointers ---------------------------------------------------------------------------------------

struct Node {
  int value = 0;
  std::shared_ptr<Node> next;
};
struct Tree {
  std::string name;
  std::vector<Tree> children;
  bool operator==(const Tree&) const = default;
};
struct List {
  std::unique_ptr<List> rest;
};

TEST(CodecTest, SmartPointersCarryWhatTheyPointTo) {
  EXPECT_EQ(*SentAndReceived(std::unique_ptr<int>()), nullptr);
  EXPECT_EQ(**SentAndReceived(std::make_unique<std::string>("a")), "a");
  EXPECT_EQ(**SentAndReceived(std::unique_ptr<const int>(new int(3))), 3);
  EXPECT_EQ(*SentAndReceived(std::shared_ptr<int>()), nullptr);
  EXPECT_EQ(**SentAndReceived(std::make_shared<const std::string>("b")), "b");
}

TEST(CodecTest, WhatIsSharedIsSharedAgain) {
  const auto a = std::make_shared<std::string>("a");
  const auto b = std::make_shared<std::string>("a");
  using Pointers = std::vector<std::shared_ptr<std::string>>;
  const auto arrived = SentAndReceived(Pointers{a, b, a, nullptr});
  ASSERT_THAT(arrived, IsOk());
  EXPECT_EQ((*arrived)[0], (*arrived)[2]);
  EXPECT_NE((*arrived)[0], (*arrived)[1]);
  EXPECT_EQ(*(*arrived)[1], "a");
  EXPECT_EQ((*arrived)[3], nullptr);

  const auto with_weak = SentAndReceived(std::pair(a, std::weak_ptr<std::string>(a)));
  ASSERT_THAT(with_weak, IsOk());
  EXPECT_EQ(with_weak->second.lock(), with_weak->first);
}

TEST(CodecTest, ACircleArrivesAsACircle) {
  const auto first = std::make_shared<Node>(Node{1, std::make_shared<Node>(Node{2, nullptr})});
  first->next->next = first;
  const auto arrived = SentAndReceived(first);
  ASSERT_THAT(arrived, IsOk());
  EXPECT_EQ((*arrived)->next->value, 2);
  EXPECT_EQ((*arrived)->next->next, *arrived);

  // One that does not arrive leaves nothing behind: the address sanitizer would tell.
  EXPECT_THAT(DecodeFromString<std::shared_ptr<Node>>(BytesOf(first) + "x"),
              StatusIs(absl::StatusCode::kDataLoss));
  first->next->next = nullptr;
  (*arrived)->next->next = nullptr;
}

struct Base {
  virtual ~Base() = default;
  int n = 0;
  template <class A>
  void serialize(A& archive) {
    archive(n);
  }
};
struct Derived : Base {};

TEST(CodecTest, APointerToADerivedObjectIsNotCutToItsBase) {
  std::unique_ptr<Base> base = std::make_unique<Base>();
  base->n = 4;
  EXPECT_EQ((*SentAndReceived(base))->n, 4);
  base = std::make_unique<Derived>();
  EXPECT_THAT(EncodeToString(base),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("derived")));
}

// Structs ----------------------------------------------------------------------------------------

struct Mixed {
  std::string names[2];
  int numbers[2][3];
  std::optional<std::string> note;
  Point point;
  bool operator==(const Mixed&) const = default;
};
struct Constant {
  const std::string text;
  bool operator==(const Constant&) const = default;
};
struct Bits {
  unsigned a : 3;
  unsigned b : 29;
  bool operator==(const Bits&) const = default;
};
struct Many {
  int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12;
  int b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11;
  std::string last;
  bool operator==(const Many&) const = default;
};
struct TooMany {
  Many many;
  std::string a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12;
  std::string b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12;
};
struct Nothing {
  bool operator==(const Nothing&) const = default;
};

TEST(CodecTest, AStructTravelsMemberByMember) {
  ExpectArrives(Mixed{{"a", "b"}, {{1, 2, 3}, {4, 5, 6}}, "note", {1, 2}});
  ExpectArrives(Tree{"root", {{"left", {}}, {"right", {{"leaf", {}}}}}});
  ExpectArrives(Constant{"text"});
  ExpectArrives(Bits{5, 77});
  ExpectArrives(Many{1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                     13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, "last"});
  ExpectArrives(Nothing());
  ExpectArrives(std::vector<Nothing>(3));
  static_assert(!Encodable<TooMany>);
}

// Classes that say so themselves ------------------------------------------------------------------

class Member {
 public:
  Member() = default;
  Member(int n, std::string s) : n_(n), s_(std::move(s)) {}
  bool operator==(const Member&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(n_), cereal::make_nvp("s", s_), more_);
  }

 private:
  int n_ = 0;
  std::string s_;
  std::map<std::string, std::vector<int>> more_ = {{"x", {1, 2}}};
};

struct Free {
  int n;
  explicit Free(int number = 0) : n(number) {}
  bool operator==(const Free&) const = default;
};
template <class Archive>
void serialize(Archive& archive, Free& free) {
  archive& free.n;
}

struct Split {
  std::vector<int> even;
  bool loaded = false;
  explicit Split(std::vector<int> numbers = {}) : even(std::move(numbers)) {}
  template <class Archive>
  void save(Archive& archive) const {
    archive(cereal::make_size_tag(even.size()));
    for (const int n : even) archive(n / 2);
  }
  template <class Archive>
  void load(Archive& archive) {
    size_t size = 0;
    archive(cereal::make_size_tag(size));
    even.resize(size);
    for (int& n : even) {
      archive(n);
      n *= 2;
    }
    loaded = true;
  }
};

struct Minimal {
  std::string text;
  explicit Minimal(std::string t = "") : text(std::move(t)) {}
  bool operator==(const Minimal&) const = default;
  template <class Archive>
  std::string save_minimal(const Archive&) const {
    return text + "!";
  }
  template <class Archive>
  void load_minimal(const Archive&, const std::string& saved) {
    text = saved.substr(0, saved.size() - 1);
  }
};

struct Versioned {
  int n = 0;
  uint32_t version = 0;
  std::string text = {};  // else its bytes would do
  template <class Archive>
  void serialize(Archive& archive, uint32_t v) {
    version = v;
    archive(n, text);
  }
};

class Hidden {  // nothing of it is public
 public:
  static Hidden Of(int n) {
    Hidden hidden;
    hidden.n_ = n;
    return hidden;
  }
  bool operator==(const Hidden&) const = default;

 private:
  friend class cereal::access;
  Hidden() = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(n_);
  }
  int n_ = 0;
};

struct Heir : Member {
  double d = 0;
  bool operator==(const Heir&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::base_class<Member>(this), d);
  }
};

struct Raw {
  char bytes[4] = {};
  int* scratch = nullptr;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::binary_data(bytes, sizeof(bytes)));
  }
};

struct Silent {
  std::string not_sent;
  explicit Silent(std::string s = "default") : not_sent(std::move(s)) {}
  template <class Archive>
  void serialize(Archive&) {}
};

TEST(CodecTest, CerealsConventionsAreFollowed) {
  ExpectArrives(Member(3, "three"));
  ExpectArrives(std::vector<Member>{Member(1, "a"), Member(2, "b")});
  ExpectArrives(Free(4));
  ExpectArrives(Minimal("min"));
  ExpectArrives(Hidden::Of(6));
  const auto split = SentAndReceived(Split({2, 4, 6}));
  ASSERT_THAT(split, IsOk());
  EXPECT_EQ(split->even, (std::vector<int>{2, 4, 6}));
  EXPECT_TRUE(split->loaded);
  Heir heir;
  heir.d = 2.5;
  ExpectArrives(heir);
  Raw raw;
  std::memcpy(raw.bytes, "abc", 4);
  EXPECT_STREQ(SentAndReceived(raw)->bytes, "abc");
  EXPECT_EQ((**SentAndReceived(std::make_shared<Member>(5, "five"))), Member(5, "five"));
  ExpectArrives(std::map<std::string, Hidden>{{"a", Hidden::Of(1)}});
}

TEST(CodecTest, ATypeOfTheLibraryWithAHeaderOfCerealsTravels) {
  std::queue<int> queue;
  queue.push(1);
  queue.push(2);
  ExpectArrives(queue);
}

TEST(CodecTest, WhatSavesNothingTakesAByteSoThatLengthsCanBeChecked) {
  const auto arrived = SentAndReceived(std::vector<Silent>(5, Silent("x")));
  ASSERT_THAT(arrived, IsOk());
  EXPECT_EQ(arrived->size(), 5u);
  EXPECT_EQ(BytesOf(Silent()).size(), 1u);
}

struct Color {
  uint32_t rgb = 0;
  std::string_view name;  // would be refused
  bool operator==(const Color&) const = default;
};
struct Even {
  int n = 0;
};

}  // namespace

template <>
struct Codec<Color> {
  static void Encode(const Color& color, Encoder& encoder) {
    encoder.Put(color.rgb);
    encoder.Put(std::string(10000, 'c'));  // gone when this returns
  }
  static Color Decode(Decoder& decoder) {
    Color color{decoder.Get<uint32_t>(), ""};
    if (decoder.Get<std::string>() != std::string(10000, 'c')) decoder.Fail("not that string");
    return color;
  }
};
template <>
struct Codec<Even> {
  static absl::Status Encode(const Even& even, Encoder& encoder) {
    if (even.n % 2 != 0) return absl::OutOfRangeError("odd");
    encoder.PutBytes(&even.n, sizeof(even.n));
    return absl::OkStatus();
  }
  static absl::StatusOr<Even> Decode(Decoder& decoder) {
    Even even;
    decoder.GetBytes(&even.n, sizeof(even.n));
    if (even.n % 2 != 0) return absl::DataLossError("odd");
    return even;
  }
};

}  // namespace mp

CEREAL_CLASS_VERSION(mp::Versioned, 9)

namespace mp {
namespace {

TEST(CodecTest, AVersionTravelsWithItsClass) {
  const auto arrived = SentAndReceived(std::vector<Versioned>{{1}, {2}});
  ASSERT_THAT(arrived, IsOk());
  EXPECT_EQ((*arrived)[0].version, 9u);
  EXPECT_EQ((*arrived)[1].version, 9u);
  EXPECT_EQ((*arrived)[1].n, 2);
}

TEST(CodecTest, ACodecOfTheUsersGoesFirst) {
  ExpectArrives(Color{0x123456, ""});
  ExpectArrives(std::vector<std::pair<int, Color>>{{1, {2, ""}}, {3, {4, ""}}});
  static_assert(kFixedSize<Even> == 0);
  EXPECT_EQ(SentAndReceived(Even{4})->n, 4);
  EXPECT_THAT(EncodeToString(std::vector<Even>{{2}, {3}}),
              StatusIs(absl::StatusCode::kOutOfRange, AllOf(HasSubstr("odd"), HasSubstr("Even"))));
  EXPECT_THAT(DecodeFromString<Even>(std::string("\3\0\0\0", 4)),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("odd")));
}

// As those that protoc writes.
class Message {
 public:
  std::string text;
  bool SerializeToString(std::string* bytes) const {
    *bytes = "p:" + text;
    return text != "bad";
  }
  bool ParseFromArray(const void* bytes, int size) {
    const std::string_view all(static_cast<const char*>(bytes), static_cast<size_t>(size));
    if (!all.starts_with("p:")) return false;
    text = all.substr(2);
    return true;
  }
  bool operator==(const Message&) const = default;

 private:
  void* arena_ = nullptr;
};

TEST(CodecTest, AProtobufMessageIsTakenAsItIs) {
  Message message;
  message.text = "hello";
  ExpectArrives(message);
  EXPECT_EQ(BytesOf(message), "\7p:hello");
  ExpectArrives(std::vector<Message>{message, {}});
  EXPECT_THAT(DecodeFromString<Message>("\1x"), StatusIs(absl::StatusCode::kDataLoss));
  message.text = "bad";
  EXPECT_THAT(EncodeToString(message), StatusIs(absl::StatusCode::kInvalidArgument));
}

// Errors -----------------------------------------------------------------------------------------

struct Throws {
  int what = 0;
  explicit Throws(int n = 0) : what(n) {}
  template <class Archive>
  void save(Archive& archive) const {
    if (what == 1) throw std::runtime_error("not today");
    if (what == 2) throw 3;
    archive(what);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(what);
    if (what == 3) throw std::runtime_error("not then");
    if (what == 4) throw std::bad_alloc();
  }
};
struct Swallows {
  char first = 'a';
  std::string text = "text";
  template <class Archive>
  void save(Archive& archive) const {
    archive(first, text);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(first);
    try {
      archive(text);
    } catch (...) {
      text = "none";
    }
  }
};

TEST(CodecTest, WhatUsersThrowBecomesAStatus) {
  EXPECT_THAT(EncodeToString(Throws(1)),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("not today")));
  EXPECT_THAT(EncodeToString(Throws(2)), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(SentAndReceived(Throws(3)),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("not then")));
  EXPECT_THAT(SentAndReceived(Throws(4)), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(SentAndReceived(Throws(5)), IsOk());
  // A failure that somebody caught is one still.
  EXPECT_THAT(SentAndReceived(Swallows()), IsOk());
  EXPECT_THAT(DecodeFromString<Swallows>("a"), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(CodecTest, BadBytesSayWhichTypeAndWhere) {
  EXPECT_THAT(DecodeFromString<std::vector<int>>("\x64xyz"),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("std::vector<int>"), HasSubstr("byte 1 of 4"),
                             HasSubstr("length of 100"))));
  EXPECT_THAT(DecodeFromString<int>("abc"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("4 bytes")));
  EXPECT_THAT(
      DecodeFromString<int>("abcde"),
      StatusIs(absl::StatusCode::kDataLoss, AllOf(HasSubstr("byte 4 of 5"), HasSubstr("more"))));
  EXPECT_THAT(DecodeFromString<std::string>(""), StatusIs(absl::StatusCode::kDataLoss));
  using Choice = std::variant<int, std::string>;
  EXPECT_THAT(DecodeFromString<Choice>(std::string("\2\0", 2)),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(DecodeFromString<std::set<int8_t>>("\2aa"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("key")));
  EXPECT_THAT(DecodeFromString<std::vector<bool>>("\1\2"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(DecodeFromString<std::string>(std::string(11, '\xff')),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("64 bits")));
  EXPECT_THAT(DecodeFromString<std::shared_ptr<int>>("\2abcd"),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(DecodeFromString<std::optional<int>>("\2abcd"),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST(CodecTest, NestingIsBounded) {
  List list;
  for (int i = 0; i < 200; ++i) list = List{std::make_unique<List>(std::move(list))};
  EXPECT_THAT(SentAndReceived(list), IsOk());
  for (int i = 0; i < 100; ++i) list = List{std::make_unique<List>(std::move(list))};
  EXPECT_THAT(EncodeToString(list),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("deep")));
  EXPECT_THAT(DecodeFromString<List>(std::string(1'000'000, '\1')),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("deep")));
}

TEST(CodecTest, LongPartsAreCopiedOnceAndInOrder) {
  const std::vector<std::string> long_ones = {std::string(5000, 'a'), "short",
                                              std::string(100'000, 'b'), std::string(4096, 'c')};
  Encoder encoder;
  ASSERT_THAT(Encode(long_ones, encoder), IsOk());
  std::string bytes(encoder.size() + 1, '#');
  encoder.CopyTo(bytes.data());
  EXPECT_EQ(bytes.back(), '#');
  bytes.pop_back();
  EXPECT_EQ(*DecodeFromString<std::vector<std::string>>(bytes), long_ones);
}

// What travels only through a Connection ----------------------------------------------------------

struct HasLine {
  std::string name;
  std::vector<Line> lines;
};
struct HidesLine {  // nobody sees that it has one
  Line line;
  explicit HidesLine(Line l = {}) : line(l) {}
  template <class Archive>
  void serialize(Archive& archive) {
    archive(line);
  }
};

TEST(CodecTest, AConnectionTravelsOnlyThroughAConnection) {
  static_assert(!Encodable<Line> && EncodableThroughConnection<Line>);
  static_assert(!Encodable<HasLine> && EncodableThroughConnection<HasLine>);
  static_assert(!Encodable<std::optional<std::pair<int, Line>>>);
  Encoder encoder(Via::kConnection);
  ASSERT_THAT(Encode(HasLine{"a", {{3}, {4}}}, encoder), IsOk());
  const std::string bytes = encoder.ToString();
  Decoder decoder(bytes, {}, Via::kConnection);
  EXPECT_EQ(Decode<HasLine>(decoder)->lines, (std::vector<Line>{{3}, {4}}));

  EXPECT_THAT(EncodeToString(HidesLine(Line{3})), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(DecodeFromString<HidesLine>("abcd"), StatusIs(absl::StatusCode::kDataLoss));
}

// What cannot be sent ----------------------------------------------------------------------------

struct HasPointer {
  int n;
  const char* text;
};
struct HasArrayOfPointers {
  struct Inner {
    int* pointers[3];
  } inner[2];
};
struct HasReference {
  int& n;
};
struct HasMutex {
  std::mutex mutex;
};
struct HasPrivates {
  explicit HasPrivates(std::string s) : s_(std::move(s)) {}

 private:
  std::string s_;
};
struct Abstract {
  virtual ~Abstract() = default;
  virtual void F() = 0;
};
struct OnlySaves {
  OnlySaves() {}
  std::string s;
  template <class Archive>
  void save(Archive& archive) const {
    archive(s);
  }
};
struct DerivedStruct : Point {
  std::string more;
};
struct FreesNothing {
  void operator()(int*) const {}
};
[[maybe_unused]] int Function(int n) { return n; }
[[maybe_unused]] const auto kLambda = [](int n) { return n; };
[[maybe_unused]] const auto kCapture = [n = 3] { return n; };

static_assert(Encodable<Member> && Encodable<Tree> && Encodable<Node> && Encodable<Color>);
static_assert(Encodable<std::vector<std::map<std::string, std::variant<int, Tree>>>>);
static_assert(!Encodable<int*> && !Encodable<const char*> && !Encodable<void*>);
static_assert(!Encodable<int&> && !Encodable<const std::string&> && !Encodable<void>);
static_assert(!Encodable<std::nullptr_t>);
static_assert(!Encodable<std::vector<int*>> && !Encodable<std::map<int, std::string*>>);
static_assert(!Encodable<std::pair<int, int&>> && !Encodable<std::tuple<const char*>>);
static_assert(!Encodable<std::optional<int*>> && !Encodable<std::array<int*, 3>>);
static_assert(!Encodable<HasPointer> && !Encodable<HasArrayOfPointers> && !Encodable<HasReference>);
static_assert(!Encodable<std::vector<HasPointer>> && !Encodable<std::shared_ptr<HasPointer>>);
static_assert(!Encodable<std::string_view> && !Encodable<std::span<int>>);
static_assert(!Encodable<absl::Span<const int>> && !Encodable<std::initializer_list<int>>);
static_assert(!Encodable<std::vector<std::string_view>>);
static_assert(!Encodable<std::reference_wrapper<int>>);
static_assert(!Encodable<decltype(&Function)> && !Encodable<decltype(Function)>);
static_assert(!Encodable<int Point::*> && !Encodable<void (Base::*)()>);
static_assert(!Encodable<decltype(kLambda)> && !Encodable<std::remove_const_t<decltype(kLambda)>>);
static_assert(!Encodable<std::remove_const_t<decltype(kCapture)>>);
static_assert(!Encodable<std::vector<std::remove_const_t<decltype(kCapture)>>>);
static_assert(!Encodable<std::function<void()>> && !Encodable<std::vector<std::function<int()>>>);
static_assert(!Encodable<std::atomic<int>> && !Encodable<std::atomic_flag>);
static_assert(!Encodable<std::mutex> && !Encodable<HasMutex> && !Encodable<pthread_mutex_t>);
static_assert(!Encodable<std::condition_variable> && !Encodable<std::thread>);
static_assert(!Encodable<std::vector<int>::iterator>);
static_assert(!Encodable<HasPrivates> && !Encodable<Abstract> && !Encodable<OnlySaves>);
static_assert(!Encodable<std::unique_ptr<Abstract>>);
static_assert(!Encodable<DerivedStruct>);
static_assert(!Encodable<std::unique_ptr<int[]>> && !Encodable<std::shared_ptr<void>>);
static_assert(!Encodable<std::unique_ptr<int, FreesNothing>>);

// Names ------------------------------------------------------------------------------------------

TEST(CodecTest, TypesHaveNamesAndHashes) {
  EXPECT_EQ(TypeName<int>(), "int");
  EXPECT_EQ(TypeName<std::vector<int>>().substr(0, 16), "std::vector<int>");
  EXPECT_THAT(std::string(TypeName<Tree>()), HasSubstr("Tree"));
  static_assert(TypeHash<int>() != TypeHash<unsigned>());
  static_assert(TypeHash<std::vector<int>>() == TypeHash<std::vector<int>>());
  static_assert(TypeHash<int>() != 0);
}

}  // namespace
}  // namespace mp
