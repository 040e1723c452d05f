// The program prints what its README says.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/support/example.h"

namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr char kLast[] = "never more than 3: yes; free seats: 3";

TEST(SemaphoreExampleTest, PrintsWhatItsReadmeSays) {
  const std::string output = mp::testing::OutputOf("examples/03_semaphore/03_semaphore");
  const std::vector<std::string> lines = absl::StrSplit(output, '\n');
  ASSERT_EQ(lines.size(), 12u) << output;
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(lines[i], MatchesRegex("now running: [0-9]( [0-9])?( [0-9])?"));
  }
  EXPECT_EQ(lines[10], kLast);
  EXPECT_EQ(lines[11], "");
  std::ifstream readme("examples/03_semaphore/README.md");
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(readme), {}),
              HasSubstr(absl::StrCat("\n    ", kLast, "\n")));
}

}  // namespace
