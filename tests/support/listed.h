// tests/support/listed.h
//
// Listed: an object as the directory of its domain has it.
//
//   const Event event({.name = "ready"});
//   EXPECT_EQ(Listed("ready")->type, "Event");

#ifndef MP_TESTS_SUPPORT_LISTED_H_
#define MP_TESTS_SUPPORT_LISTED_H_

#include <optional>
#include <string_view>

#include "shared/inspect.h"

namespace mp::testing {

// The first one of that name; nothing: there is none.
inline std::optional<ObjectInfo> Listed(std::string_view name) {
  for (const ObjectInfo& object : ListObjects()) {
    if (object.name == name) return object;
  }
  return std::nullopt;
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_LISTED_H_
