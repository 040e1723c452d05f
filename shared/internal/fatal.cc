#include "shared/internal/fatal.h"

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace mp::internal {

void Fatal(std::string_view message) {
  std::string line = "mp: ";
  line.append(message).push_back('\n');
  // Nothing can be done about a stderr that cannot be written.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  std::abort();
}

}  // namespace mp::internal
