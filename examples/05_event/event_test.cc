// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(EventExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/05_event/05_event"),
            mp::testing::LastBlockOf("examples/05_event/README.md"));
}
