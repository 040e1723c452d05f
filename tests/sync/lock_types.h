// tests/sync/lock_types.h
//
// The locks, for suites of what holds for each of them.
//
//   template <typename L>
//   class LockTest : public ::testing::Test {};
//   TYPED_TEST_SUITE(LockTest, Locks, LockNames);

#ifndef MP_TESTS_SYNC_LOCK_TYPES_H_
#define MP_TESTS_SYNC_LOCK_TYPES_H_

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "sync/lock.h"
#include "sync/rlock.h"

namespace mp::testing {

using Locks = ::testing::Types<Lock, RLock>;

class LockNames {
 public:
  template <typename L>
  static std::string GetName(int) {
    return kName<L>;
  }

  // As messages have it, too.
  template <typename L>
  static constexpr const char* kName = std::is_same_v<L, Lock> ? "Lock" : "RLock";
};

}  // namespace mp::testing

#endif  // MP_TESTS_SYNC_LOCK_TYPES_H_
