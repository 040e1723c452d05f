#include "tests/support/symbols.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <cstdint>

namespace mp::testing {
namespace {

using ::testing::HasSubstr;

__attribute__((noinline)) int HiddenFunction(int x) { return x + 1; }

template <class Function>
uintptr_t AddressOf(Function* function) {
  return reinterpret_cast<uintptr_t>(function);
}

TEST(SymbolsTest, StaticFunctionHasAName) {
  EXPECT_EQ(NameOfAddress(AddressOf(&HiddenFunction)), "HiddenFunction(int)+0x0");
  EXPECT_EQ(NameOfAddress(AddressOf(&HiddenFunction) + 1), "HiddenFunction(int)+0x1");
}

TEST(SymbolsTest, FunctionOfALibraryHasAName) {
  EXPECT_THAT(NameOfAddress(AddressOf(&pthread_self)), HasSubstr("+0x"));
}

TEST(SymbolsTest, WhatIsNoCodeIsANumber) { EXPECT_EQ(NameOfAddress(0x10), "+0x10"); }

}  // namespace
}  // namespace mp::testing
