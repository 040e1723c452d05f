// tests/support/killer.h
//
// RunKiller: workers loop over what is tested, a random one is killed and
// replaced, again and again; the others have to go on.
//
//   const KillerReport report = RunKiller([&](Worker& worker) {
//     while (!worker.Stopping()) {
//       lock.Acquire();
//       ...
//       lock.Release();
//       worker.Progress();
//     }
//   });
//   EXPECT_TRUE(report.Clean()) << report.Summary();
//
// After each kill somebody must make progress before the next one. A hang is:
// all workers asleep without a context switch for `quiet`, or no progress for
// `patience`. The kills come from a seeded generator, but what they hit is the
// machine's choice: the seed repeats the pattern, not the run.

#ifndef MP_TESTS_SUPPORT_KILLER_H_
#define MP_TESTS_SUPPORT_KILLER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace mp::testing {

// What a worker shares with the killer; in memory that they share.
struct WorkerState {
  alignas(64) std::atomic<uint64_t> rounds{0};  // of all generations together
  std::atomic<bool> stopping{false};
};

// The worker's end.
class Worker {
 public:
  Worker(int index, uint64_t generation, WorkerState& state)
      : index_(index), generation_(generation), state_(state) {}

  int index() const { return index_; }                 // 0 … workers - 1
  uint64_t generation() const { return generation_; }  // 0, then 1 more a kill
  void Progress() { state_.rounds.fetch_add(1); }      // a round is done
  bool Stopping() const { return state_.stopping.load(); }

 private:
  const int index_;
  const uint64_t generation_;
  WorkerState& state_;
};

struct KillerOptions {
  KillerOptions();

  int workers = 4;  // at most 64
  int kills;        // default: 100, 20,000 with MP_STRESS, 30 under a sanitizer
  uint64_t seed;    // default: MP_SEED, else 1

  // A worker is killed between nothing and this long after the last progress.
  std::chrono::microseconds longest_life{3000};

  // For this share of the kills, another worker is stopped (SIGSTOP) around it.
  double stops = 0;

  std::chrono::milliseconds quiet{3000};
  std::chrono::milliseconds patience;  // default: 10 s, more under a sanitizer

  // In this process, after each kill, when nobody is stopped. May be empty.
  std::function<void()> after_kill;

  // In this process, when Stopping() has become true: wakes workers that sleep
  // for something that will not come any more. May be empty.
  std::function<void()> on_stop;

  // In this process, after a hang, when all workers have been killed: makes the
  // shared state anew, and the run goes on. Empty: the first hang ends it.
  std::function<void()> recover;
};

struct KillerReport {
  uint64_t seed = 0;
  int kills = 0;
  int replacements = 0;
  int stops = 0;
  int hangs = 0;
  int failures = 0;       // workers that ended by themselves, or badly
  uint64_t progress = 0;  // rounds of all workers
  std::string words;      // on the hangs and failures: who sleeps where

  bool Clean() const { return hangs == 0 && failures == 0; }
  std::string Summary() const;
};

// Runs `work` in worker processes until the kills are done, then lets them end.
// Prints the first line of the summary to stdout.
[[nodiscard]] KillerReport RunKiller(const std::function<void(Worker&)>& work,
                                     const KillerOptions& options = {});

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_KILLER_H_
