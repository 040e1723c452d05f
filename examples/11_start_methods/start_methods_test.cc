// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(StartMethodsExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/11_start_methods/11_start_methods"),
            mp::testing::LastBlockOf("examples/11_start_methods/README.md"));
}
