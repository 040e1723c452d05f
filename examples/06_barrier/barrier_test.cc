// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(BarrierExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/06_barrier/06_barrier"),
            mp::testing::LastBlockOf("examples/06_barrier/README.md"));
}
