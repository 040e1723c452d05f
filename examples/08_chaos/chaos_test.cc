// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(ChaosExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/08_chaos/08_chaos"),
            mp::testing::LastBlockOf("examples/08_chaos/README.md"));
}
