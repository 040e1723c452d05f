// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(ClientServerExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/10_client_server/10_client_server"),
            mp::testing::LastBlockOf("examples/10_client_server/README.md"));
}
