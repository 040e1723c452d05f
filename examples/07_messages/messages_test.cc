// The program prints what its README says.

#include <gtest/gtest.h>

#include "tests/support/example.h"

TEST(MessagesExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf("examples/07_messages/07_messages"),
            mp::testing::LastBlockOf("examples/07_messages/README.md"));
}
