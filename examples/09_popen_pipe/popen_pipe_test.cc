// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(PopenPipeExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/09_popen_pipe/09_popen_pipe"),
            mp::testing::LastBlockOf("examples/09_popen_pipe/README.md"));
}
