// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(PoolSurvivesExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/15_pool_survives/15_pool_survives"),
            mp::testing::LastBlockOf("examples/15_pool_survives/README.md"));
}
