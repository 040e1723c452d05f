// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(PoolExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/13_pool/13_pool"),
            mp::testing::LastBlockOf("examples/13_pool/README.md"));
}
