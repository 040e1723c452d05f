#include "tests/support/settings.h"

#include <cstdlib>
#include <string_view>

namespace mp::testing {

bool Stress() {
  const char* value = std::getenv("MP_STRESS");
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

uint64_t Seed(uint64_t otherwise) {
  const char* value = std::getenv("MP_SEED");
  if (value == nullptr || *value == '\0') return otherwise;
  return std::strtoull(value, nullptr, 0);
}

std::chrono::milliseconds HangLimit() {
  const char* value = std::getenv("MP_TEST_TIMEOUT");
  if (value != nullptr && *value != '\0') {
    return std::chrono::seconds(std::strtoul(value, nullptr, 10));
  }
  return std::chrono::seconds(60) * kSlowness;
}

}  // namespace mp::testing
