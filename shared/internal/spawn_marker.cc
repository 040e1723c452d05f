#include "shared/internal/spawn_marker.h"

#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/strings/str_format.h"
#include "shared/internal/proof_of_death.h"

namespace mp::internal {
namespace {

constexpr std::string_view kPrefix = "MP_SPAWNED=";
constexpr const char* kName = "MP_SPAWNED";
constexpr char kSeparator = ':';

// At the beginning, each of one width.
constexpr size_t kPidDigits = 10;
constexpr size_t kTimeDigits = 20;

void WriteDigits(char* digits, size_t count, uint64_t number) {
  for (size_t i = count; i-- > 0; number /= 10) digits[i] = static_cast<char>('0' + number % 10);
}

// The number at the beginning of `text`, and the separator behind it, which are taken away; or the
// whole of it, where it is the last one. False: it is none, or does not fit.
template <typename Number>
bool TakeNumber(std::string_view& text, int base, Number& number, bool last = false) {
  const char* const end = text.data() + text.size();
  const auto [behind, error] = std::from_chars(text.data(), end, number, base);
  if (error != std::errc() || text.starts_with('-')) return false;
  if (last) return behind == end;
  if (behind == end || *behind != kSeparator) return false;
  text.remove_prefix(static_cast<size_t>(behind - text.data()) + 1);
  return true;
}

}  // namespace

std::string SpawnMarker::ToVariable() const {
  constexpr int kPidWidth = static_cast<int>(kPidDigits);
  constexpr int kTimeWidth = static_cast<int>(kTimeDigits);
  return absl::StrFormat("%s%0*d:%0*d:%d:%x:%x:%x", kPrefix, kPidWidth, 0, kTimeWidth, 0, fd, id,
                         payload, family);
}

void SpawnMarker::SetProcess(char* variable, pid_t pid, uint64_t now) {
  char* const digits = variable + kPrefix.size();
  WriteDigits(digits, kPidDigits, static_cast<uint64_t>(pid));
  WriteDigits(digits + kPidDigits + 1, kTimeDigits, now);
}

bool SpawnMarker::IsVariable(std::string_view entry) { return entry.starts_with(kPrefix); }

std::optional<SpawnMarker> SpawnMarker::FromEnvironment() {
  const char* const value = std::getenv(kName);
  if (value == nullptr) return std::nullopt;
  std::string_view text(value);
  SpawnMarker marker;
  pid_t pid = 0;
  uint64_t time = 0;
  if (!TakeNumber(text, 10, pid) || !TakeNumber(text, 10, time) ||
      !TakeNumber(text, 10, marker.fd) || !TakeNumber(text, 16, marker.id) ||
      !TakeNumber(text, 16, marker.payload) || !TakeNumber(text, 16, marker.family, true)) {
    return std::nullopt;
  }
  if (pid != getpid() || StartedLaterThan(time)) return std::nullopt;
  return marker;
}

void SpawnMarker::RemoveFromEnvironment() { unsetenv(kName); }

}  // namespace mp::internal
