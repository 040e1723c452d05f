// The program prints what its README says.

#include <stdio.h>

#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

using ::testing::HasSubstr;

TEST(ValueArrayTest, PrintsWhatItsReadmeSays) {
  FILE* const program = popen("examples/02_value_array/02_value_array", "r");
  ASSERT_NE(program, nullptr);
  std::string output;
  for (int c; (c = getc(program)) != EOF;) output.push_back(static_cast<char>(c));
  EXPECT_EQ(pclose(program), 0);
  EXPECT_EQ(output, "3.1415927\n0 -1 -2 -3 -4 -5 -6 -7 -8 -9 \n");
  std::ifstream file("examples/02_value_array/README.md");
  const std::string readme{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(readme, HasSubstr("\n    3.1415927\n    0 -1 -2 -3 -4 -5 -6 -7 -8 -9\n"));
}

}  // namespace
