// tests/shared/gives_back.h
//
// GivesBackTest: a test under which the domain ends as it began, and is sound.

#ifndef MP_TESTS_SHARED_GIVES_BACK_H_
#define MP_TESTS_SHARED_GIVES_BACK_H_

#include <gtest/gtest.h>

#include <cstddef>

#include "absl/status/status.h"
#include "shared/domain.h"
#include "shared/inspect.h"

namespace mp::testing {

class GivesBackTest : public ::testing::Test {
 protected:
  ~GivesBackTest() override {
    EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
    EXPECT_EQ(Check(), absl::OkStatus());
  }

 private:
  const size_t before_ = [] {
    (void)Domain::Get();
    return Stats().in_use;
  }();
};

}  // namespace mp::testing

#endif  // MP_TESTS_SHARED_GIVES_BACK_H_
