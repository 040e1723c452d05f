// tests/support/kill_points.h
//
// The instructions that an operation executed once, and at which of them to
// kill it. Plain data: nothing here touches a process.

#ifndef MP_TESTS_SUPPORT_KILL_POINTS_H_
#define MP_TESTS_SUPPORT_KILL_POINTS_H_

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace mp::testing {

// One executed instruction.
struct Instruction {
  uintptr_t address = 0;
  bool syscall = false;   // it enters the kernel
  bool forks = false;     // and makes a process or a thread there
  bool slept = false;     // and slept there
  bool repeated = false;  // all rounds but the first of a string instruction (rep)
};

// All of them in order. The last is where the operation was complete, or where
// it slept for ever.
class Trace {
 public:
  void Add(const Instruction& instruction);

  size_t size() const { return instructions_.size(); }
  const Instruction& operator[](size_t i) const { return instructions_[i]; }

  // How often the address of instruction i was passed before it.
  size_t Round(size_t i) const { return rounds_[i]; }
  bool IsLastRound(size_t i) const;

 private:
  std::vector<Instruction> instructions_;
  std::vector<size_t> rounds_;
  std::unordered_map<uintptr_t, size_t> passed_;
};

// To kill it before instruction `index`, or while it sleeps in it.
struct KillPoint {
  size_t index = 0;
  bool asleep = false;

  friend bool operator==(const KillPoint&, const KillPoint&) = default;
};

// At most `sample` points in order, spread evenly, each a random one of its
// stretch; 0: all points. Whatever the sample, there are the first and the
// last, those before and after each system call, and all sleeps.
//
// The rounds of a long loop are alike, and the late ones are slow to reach. So
// of what is executed again and again, these rounds are points: the first 8
// (with sample 0: 64), then each that is a power of two, and the last.
std::vector<KillPoint> ChoosePoints(const Trace& trace, size_t sample, uint64_t seed);

// How to bring a process from the first instruction to others with few stops. Of a stop is known
// only the address: a process runs until it is next there. So to the hundredth round of a loop
// leads a hundred times an address within; but what all rounds of ten loops call is reached in the
// last one by way of an instruction that only that loop has. What forks is stepped over: a copy of
// the process would stop at the breakpoint, too, and nobody would be there.
class Routes {
 public:
  explicit Routes(const Trace& trace);

  // Each leg: the address to run to, where it stands now not counting; or kStep.
  static constexpr uintptr_t kStep = 0;
  std::vector<uintptr_t> To(size_t index) const;

  // From now on no leg ends at `address`, since a process did not come by there.
  void Avoid(uintptr_t address);

 private:
  // Of each instruction: whence the last leg to it is, and how many there are.
  struct Way {
    size_t from = 0;
    size_t legs = 0;
  };

  void Plan();
  bool IsStep(size_t i) const;

  const Trace& trace_;
  std::vector<Way> ways_;
  std::unordered_set<uintptr_t> avoided_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_KILL_POINTS_H_
