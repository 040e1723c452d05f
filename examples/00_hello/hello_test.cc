// The program prints what its documents say, and the README shows it as it is.

#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/example.h"

namespace {

using ::testing::HasSubstr;

constexpr char kOutput[] = "3 of 4 workers are done; nobody hangs\n";

// Bazel starts a test where its data lies as in the tree.
std::string ReadAll(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The first block of C++ in a document.
std::string FirstProgram(std::string_view document) {
  constexpr std::string_view kBegin = "\n```cpp\n";
  const size_t begin = document.find(kBegin);
  if (begin == document.npos) return "";
  document.remove_prefix(begin + kBegin.size());
  return std::string(document.substr(0, document.find("```\n")));
}

TEST(HelloTest, PrintsWhatItsDocumentsSay) {
  const std::string output = mp::testing::OutputOf("examples/00_hello/00_hello");
  EXPECT_EQ(output, kOutput);
  for (const char* document : {"README.md", "examples/00_hello/README.md"}) {
    EXPECT_THAT(ReadAll(document), HasSubstr(std::string("\n    ") + kOutput)) << document;
  }
}

TEST(HelloTest, TheReadmeShowsThisVeryProgram) {
  const std::string program = ReadAll("examples/00_hello/main.cc");
  EXPECT_THAT(program, HasSubstr("int main()"));
  EXPECT_EQ(FirstProgram(ReadAll("README.md")), program);
}

}  // namespace
