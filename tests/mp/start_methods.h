// tests/mp/start_methods.h
//
// For tests of all ways to start a process, or of those by which it inherits nothing.
//
//   class StartTest : public ::testing::TestWithParam<StartMethod> {};
//   INSTANTIATE_TEST_SUITE_P(All, StartTest, AllStartMethods(), StartMethodName);

#ifndef MP_TESTS_MP_START_METHODS_H_
#define MP_TESTS_MP_START_METHODS_H_

#include <gtest/gtest.h>

#include <string>

#include "mp/start_method.h"

namespace mp::testing {

inline auto AllStartMethods() {
  return ::testing::Values(StartMethod::kFork, StartMethod::kSpawn, StartMethod::kForkserver);
}

inline auto StartMethodsButFork() {
  return ::testing::Values(StartMethod::kSpawn, StartMethod::kForkserver);
}

inline std::string StartMethodName(const ::testing::TestParamInfo<StartMethod>& info) {
  switch (info.param) {
    case StartMethod::kFork:
      return "Fork";
    case StartMethod::kSpawn:
      return "Spawn";
    case StartMethod::kForkserver:
      return "Forkserver";
  }
  return "";
}

}  // namespace mp::testing

#endif  // MP_TESTS_MP_START_METHODS_H_
