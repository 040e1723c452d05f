// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(PoolProgressExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/14_pool_progress/14_pool_progress"),
            mp::testing::LastBlockOf("examples/14_pool_progress/README.md"));
}
