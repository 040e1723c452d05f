// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(ConditionExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/04_condition/04_condition"),
            mp::testing::LastBlockOf("examples/04_condition/README.md"));
}
