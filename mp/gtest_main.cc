#include <gtest/gtest.h>

#include "mp/init.h"

int main(int argc, char** argv) {
  mp::Init(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
