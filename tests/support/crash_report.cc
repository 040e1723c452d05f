#include <stdio.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "tests/support/crash.h"

namespace mp::testing {
namespace {

constexpr size_t kMostLines = 60;

const char* NameOf(BadPoint::Kind kind) {
  switch (kind) {
    case BadPoint::Kind::kHang:
      return "hang";
    case BadPoint::Kind::kLostWakeup:
      return "lost wake-up";
    case BadPoint::Kind::kFailure:
      return "failure";
  }
  return "?";
}

std::string_view Function(const BadPoint& point) {
  const std::string_view where = point.where;
  return where.substr(0, where.rfind('+'));
}

bool Alike(const BadPoint& a, const BadPoint& b) {
  return a.kind == b.kind && a.asleep == b.asleep && Function(a) == Function(b);
}

// Of the points first … last, which are alike.
std::string Line(const BadPoint& first, const BadPoint& last) {
  std::string text = std::string("  ") + NameOf(first.kind) + " when killed ";
  if (first.asleep) text += "asleep ";
  text += "at instruction " + std::to_string(first.instruction);
  if (&first != &last) text += "-" + std::to_string(last.instruction);
  text += ", " + first.where;
  if (&first != &last) text += " to " + last.where.substr(Function(last).size());
  return text + ": " + first.what + "\n";
}

}  // namespace

bool CrashReport::Clean() const { return error.empty() && points > 0 && bad.empty(); }

std::string CrashReport::Headline() const {
  char text[512];
  snprintf(text, sizeof(text),
           "crash sweep \"%s\": %zu instructions, %zu sleeps, %zu kills (%zu "
           "by steps), "
           "%zu missed, %zu hangs, %zu lost wake-ups, %zu failures; seed %llu, "
           "%.2f s, "
           "%.0f kills/s",
           name.c_str(), instructions, sleeps, points, stepped, missed, hangs, lost_wakeups,
           failures, static_cast<unsigned long long>(seed), seconds,
           static_cast<double>(points) / std::max(seconds, 1e-9));
  return error.empty() ? text : text + ("; given up: " + error);
}

std::string CrashReport::Summary() const {
  std::string text = Headline() + "\n";
  size_t lines = 0;
  for (size_t first = 0; first < bad.size();) {
    if (++lines > kMostLines) {
      return text + "  and " + std::to_string(bad.size() - first) + " more points\n";
    }
    size_t last = first;
    while (last + 1 < bad.size() && Alike(bad[first], bad[last + 1])) ++last;
    text += Line(bad[first], bad[last]);
    first = last + 1;
  }
  return text;
}

}  // namespace mp::testing
