// Rounds: a leader calls, and each of the followers has to answer before the next call. With
// whatever a Way waits and wakes, one wake-up that is lost ends in a hang.
//
//   struct Way {
//     // Until done() is so, which is looked at each `limit`.
//     void AwaitCall(uint64_t round, absl::Duration limit, const auto& done) const;
//     // change() makes done() so, of all who await the call that ends `round`.
//     void Call(uint64_t round, const auto& change) const;
//     void AwaitAnswers(const auto& done) const;
//     void Answer(const auto& change) const;
//     // done() of all has become true, of whatever they await.
//     void Stop() const;
//   };
//   const Rounds<Way> rounds(kWorkers, NapEach(), Nap);
//   Run([&](Worker& worker) { rounds.Play(worker); }, [&] { rounds.Stop(); });
//
// Any of them may be killed at any time and be replaced by one with its index: what it was about
// to do is done anew.

#ifndef MP_TESTS_SYNC_ROUNDS_H_
#define MP_TESTS_SYNC_ROUNDS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "absl/time/time.h"
#include "tests/support/inherited.h"
#include "tests/support/killer.h"

namespace mp::testing {

template <typename Way>
class Rounds {
 public:
  // `workers`: at most 64. One of them calls nap() after so many rounds: the others then sleep
  // for long.
  Rounds(int workers, uint64_t nap_each, std::function<void()> nap)
      : workers_(static_cast<uint64_t>(workers)), nap_each_(nap_each), nap_(std::move(nap)) {}

  // The worker 0 leads.
  void Play(Worker& worker) const { worker.index() == 0 ? Lead(worker) : Follow(worker); }
  void Stop() const { way_.Stop(); }

 private:
  struct Board {
    std::atomic<uint64_t> round{1};
    std::array<std::atomic<uint64_t>, 64> answers;  // by worker: the last round that it answered
  };

  void Lead(Worker& worker) const {
    // Who led before may have died before it woke them.
    way_.Call(board_->round - 1, [] {});
    while (!worker.Stopping()) {
      const uint64_t round = board_->round;
      way_.AwaitAnswers([&] { return worker.Stopping() || AllAnswered(round); });
      if (worker.Stopping()) return;
      if (round % nap_each_ == 0) nap_();
      way_.Call(round, [&] { board_->round = round + 1; });
      worker.Progress();
    }
  }

  void Follow(Worker& worker) const {
    const auto index = static_cast<uint64_t>(worker.index());
    // One looks up by itself all the time.
    const absl::Duration limit = index == 1 ? absl::Milliseconds(1) : absl::InfiniteDuration();
    while (!worker.Stopping()) {
      const uint64_t round = board_->round;
      if ((round + nap_each_ / 2) % (nap_each_ * workers_) == index * nap_each_) nap_();
      way_.Answer([&] { board_->answers[index] = round; });
      way_.AwaitCall(round, limit, [&] { return worker.Stopping() || board_->round != round; });
      worker.Progress();
    }
  }

  bool AllAnswered(uint64_t round) const {
    const auto begin = board_->answers.begin();
    return std::all_of(begin + 1, begin + workers_,
                       [round](const auto& answer) { return answer == round; });
  }

  const uint64_t workers_;
  const uint64_t nap_each_;
  const Way way_;
  const std::function<void()> nap_;
  const Inherited<Board> board_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SYNC_ROUNDS_H_
