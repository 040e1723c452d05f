// The program prints what its README says.

#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/example.h"

namespace {

using ::testing::HasSubstr;

TEST(ValueArrayTest, PrintsWhatItsReadmeSays) {
  const std::string output = mp::testing::OutputOf("examples/02_value_array/02_value_array");
  EXPECT_EQ(output, "3.1415927\n0 -1 -2 -3 -4 -5 -6 -7 -8 -9 \n");
  std::ifstream file("examples/02_value_array/README.md");
  const std::string readme{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(readme, HasSubstr("\n    3.1415927\n    0 -1 -2 -3 -4 -5 -6 -7 -8 -9\n"));
}

}  // namespace
