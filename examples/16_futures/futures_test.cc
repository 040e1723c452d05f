// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(FuturesExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/16_futures/16_futures"),
            mp::testing::LastBlockOf("examples/16_futures/README.md"));
}
