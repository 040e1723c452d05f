#include "tests/support/kill_points.h"

#include <algorithm>
#include <bit>
#include <random>

namespace mp::testing {
namespace {

bool IsIndispensable(const Trace& trace, size_t i) {
  return i == 0 || i + 1 == trace.size() || trace[i].syscall || trace[i - 1].syscall;
}

bool IsLikeOthers(const Trace& trace, size_t i, size_t all_rounds) {
  return trace.Round(i) >= all_rounds && !std::has_single_bit(trace.Round(i)) &&
         !trace.IsLastRound(i);
}

}  // namespace

void Trace::Add(const Instruction& instruction) {
  instructions_.push_back(instruction);
  size_t& passed = passed_[instruction.address];
  if (instruction.repeated) {
    rounds_.push_back(passed - 1);  // of the same pass as its first round
  } else {
    rounds_.push_back(passed++);
  }
}

bool Trace::IsLastRound(size_t i) const {
  return rounds_[i] + 1 == passed_.at(instructions_[i].address);
}

std::vector<KillPoint> ChoosePoints(const Trace& trace, size_t sample, uint64_t seed) {
  const size_t all_rounds = sample == 0 ? 64 : 8;
  std::vector<size_t> chosen, others;
  for (size_t i = 0; i < trace.size(); ++i) {
    if (IsIndispensable(trace, i)) {
      chosen.push_back(i);
    } else if (!IsLikeOthers(trace, i, all_rounds)) {
      others.push_back(i);
    }
  }
  const size_t wanted = sample == 0 ? others.size() : sample - std::min(sample, chosen.size());
  const size_t stretches = std::min(wanted, others.size());
  // Not a standard distribution: those differ between libraries.
  std::mt19937_64 random(seed);
  for (size_t s = 0; s < stretches; ++s) {
    const size_t begin = others.size() * s / stretches;
    const size_t end = others.size() * (s + 1) / stretches;
    chosen.push_back(others[begin + random() % (end - begin)]);
  }
  std::sort(chosen.begin(), chosen.end());

  std::vector<KillPoint> points;
  for (const size_t i : chosen) {
    points.push_back({i, false});
    if (trace[i].slept) points.push_back({i, true});
  }
  return points;
}

Route RouteTo(const Trace& trace, size_t index) {
  return {trace[index].address, trace.Round(index), trace[index].repeated ? 1u : 0u};
}

}  // namespace mp::testing
