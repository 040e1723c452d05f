#include "examples/01_wordcount/words.h"

#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace wordcount {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

WordCounts Count(const std::vector<std::string_view>& pieces) {
  WordCounter counter;
  for (const std::string_view piece : pieces) counter.Add(piece);
  return std::move(counter).Finish();
}

std::string Write(std::string_view content) {
  std::string path = ::testing::TempDir() + "/words_test_file";
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(WordCounterTest, LettersDigitsAndApostrophesAreWordsInLowerCase) {
  EXPECT_THAT(
      Count({"Don't stop: 42 DON'T--stop x2"}),
      UnorderedElementsAre(Pair("don't", 2), Pair("stop", 2), Pair("42", 1), Pair("x2", 1)));
}

TEST(WordCounterTest, EveryOtherByteSeparates) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool in_word =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '\'';
    EXPECT_EQ(Count({std::string("1") + c + "2"}).size(), in_word ? 1u : 2u) << byte;
  }
}

TEST(WordCounterTest, PiecesMayEndAnywhere) {
  const std::string_view text = "to be, or not\r\nto b\xc3\xa9";
  const WordCounts whole = Count({text});
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      EXPECT_EQ(Count({text.substr(0, i), text.substr(i, j - i), text.substr(j)}), whole)
          << i << " " << j;
    }
  }
}

TEST(WordCounterTest, NothingHasNoWords) {
  EXPECT_THAT(Count({}), IsEmpty());
  EXPECT_THAT(Count({"", " \n", ""}), IsEmpty());
}

TEST(CountFileTest, LongWordsAreOneWord) {
  const std::string word(200'000, 'z');
  const absl::StatusOr<FileWords> words = CountFile(Write("a " + word + " b"));
  ASSERT_TRUE(words.ok()) << words.status();
  EXPECT_THAT(words->counts, UnorderedElementsAre(Pair("a", 1), Pair(word, 1), Pair("b", 1)));
  EXPECT_EQ(words->bytes, 200'004u);
}

TEST(CountFileTest, NulInTheFirst8KiBIsBinary) {
  std::string text(100'000, ' ');
  text[8192] = '\0';
  EXPECT_TRUE(CountFile(Write(text)).ok());
  text[8191] = '\0';
  EXPECT_TRUE(absl::IsInvalidArgument(CountFile(Write(text)).status()));
}

TEST(CountFileTest, WhatCannotBeReadIsAnError) {
  EXPECT_TRUE(absl::IsNotFound(CountFile("/no/such/file").status()));
  EXPECT_FALSE(CountFile("/").ok());
}

TEST(KeepTopTest, MostFrequentFirstThenByWord) {
  std::vector<WordAndCount> words = {{"b", 2}, {"a'", 2}, {"c", 9}, {"a", 2}, {"d", 1}};
  KeepTop(words, 4);
  EXPECT_THAT(words, ElementsAre(Pair("c", 9), Pair("a", 2), Pair("a'", 2), Pair("b", 2)));
}

TEST(KeepTopTest, NoneAndMoreThanThereAreMeanAll) {
  for (const size_t top : {0, 2, 3}) {
    std::vector<WordAndCount> words = {{"a", 1}, {"b", 2}};
    KeepTop(words, top);
    EXPECT_THAT(words, ElementsAre(Pair("b", 2), Pair("a", 1)));
  }
}

}  // namespace
}  // namespace wordcount
