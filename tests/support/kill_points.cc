#include "tests/support/kill_points.h"

#include <algorithm>
#include <bit>
#include <random>
#include <utility>

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

Routes::Routes(const Trace& trace) : trace_(trace) { Plan(); }

// A leg to i may begin anywhere from the last instruction before at the same address on: it begins
// where the fewest legs lead.
void Routes::Plan() {
  ways_.assign(trace_.size(), {});
  std::unordered_map<uintptr_t, size_t> last;  // where an address was last
  // Where a leg may begin, in order, each reached by fewer legs than all behind it: the first of
  // them that is not before i's last is the best for i.
  std::vector<size_t> best;
  size_t forked = 0;  // where a leg may begin at the earliest: behind the last fork
  for (size_t i = 0; i < trace_.size(); ++i) {
    if (i > 0) {
      size_t from = i - 1;
      if (!IsStep(i)) {
        const size_t same = std::exchange(last[trace_[i].address], i);
        from = *std::lower_bound(best.begin(), best.end(), std::max(same, forked));
      }
      ways_[i] = {from, ways_[from].legs + 1};
      if (trace_[i - 1].forks) forked = i;
    }
    while (!best.empty() && ways_[best.back()].legs >= ways_[i].legs) best.pop_back();
    best.push_back(i);
  }
}

// A breakpoint does not stop between the rounds of a string instruction.
bool Routes::IsStep(size_t i) const {
  return trace_[i].repeated || trace_[i - 1].forks || avoided_.contains(trace_[i].address);
}

std::vector<uintptr_t> Routes::To(size_t index) const {
  std::vector<uintptr_t> legs;
  for (size_t i = index; i > 0; i = ways_[i].from) {
    legs.push_back(IsStep(i) ? kStep : trace_[i].address);
  }
  std::reverse(legs.begin(), legs.end());
  return legs;
}

void Routes::Avoid(uintptr_t address) {
  avoided_.insert(address);
  Plan();
}

}  // namespace mp::testing
