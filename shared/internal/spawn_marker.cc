#include "shared/internal/spawn_marker.h"

#include <unistd.h>

#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_format.h"

namespace mp::internal {
namespace {

constexpr std::string_view kPrefix = "MP_SPAWNED=";
constexpr const char* kName = "MP_SPAWNED";

// At the beginning, of one width.
constexpr size_t kPidDigits = 10;

}  // namespace

std::string SpawnMarker::ToVariable() const {
  return absl::StrFormat("%s%0*d:%d:%x:%x:%x", kPrefix, static_cast<int>(kPidDigits), 0, fd, id,
                         payload, family);
}

void SpawnMarker::SetPid(char* variable, pid_t pid) {
  char* digit = variable + kPrefix.size() + kPidDigits;
  for (size_t i = 0; i < kPidDigits; ++i, pid /= 10) *--digit = static_cast<char>('0' + pid % 10);
}

bool SpawnMarker::IsVariable(std::string_view entry) { return entry.starts_with(kPrefix); }

std::optional<SpawnMarker> SpawnMarker::FromEnvironment() {
  const char* const text = std::getenv(kName);
  if (text == nullptr) return std::nullopt;
  SpawnMarker marker;
  pid_t pid = 0;
  int end = -1;
  const int read = std::sscanf(text, "%10d:%d:%" SCNx64 ":%" SCNx64 ":%" SCNx64 "%n", &pid,
                               &marker.fd, &marker.id, &marker.payload, &marker.family, &end);
  if (read != 5 || end < 0 || text[end] != '\0' || pid != getpid()) return std::nullopt;
  return marker;
}

void SpawnMarker::RemoveFromEnvironment() { unsetenv(kName); }

}  // namespace mp::internal
