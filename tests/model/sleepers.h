// tests/model/sleepers.h
//
// Sleepers: who sleeps on which words, and in what order, as the kernel has it. A test in which
// actors sleep makes one; the futex calls and mutex calls of the model find it.
//
//   model.Make<Sleepers>();                     // before the actors run
//
// A sleeper is in the queue of each of its words until it goes on: who wakes one on a word takes
// the first of that word's queue, whether or not it was woken on another already. An actor that
// is killed is in no queue any more, and takes the wakes that it was given with it.

#ifndef MP_TESTS_MODEL_SLEEPERS_H_
#define MP_TESTS_MODEL_SLEEPERS_H_

#include <cstddef>
#include <cstdint>

namespace mp::model {

class Sleepers {
 public:
  Sleepers() { current_ = this; }

  // The one of the model that runs.
  static Sleepers& Current() { return *current_; }

  // By an actor, each between two steps ---------------------------------------------------

  // Puts it last in the queue of `word`.
  void Enter(const void* word);
  // Takes it out of all. Returns the last of its words that it was woken on, in the order of
  // Enter(); -1: none.
  int Leave();
  // How often it has slept since it was woken: counted by who lets it sleep.
  uint64_t& NapsInARow() { return Own().naps; }
  // Wakes the first `count` on `word`; returns how many. Where there is no Sleepers, nobody sleeps.
  static int Wake(const void* word, int count);

  // By anybody ----------------------------------------------------------------------------

  // For a number as ActorNumber() has it.
  bool IsAsleep(int actor) const;  // has entered, and was not woken
  bool IsWoken(int actor) const;   // was, and has not left
  bool IsIn(int actor, const void* word) const;

 private:
  static constexpr size_t kMostActors = 6;
  static constexpr size_t kMostWords = 8;
  static constexpr uint64_t kWoken = 0;

  struct Place {
    const void* word;  // nullptr: none
    uint64_t turn;     // in its queue, from 1 on; or kWoken
  };
  struct Sleeper {
    Place places[kMostWords];
    uint64_t naps;
  };

  static void LeaveAtDeath(void* sleeper);
  Sleeper& Own();
  const Sleeper& Of(int actor) const { return sleepers_[actor - 1]; }
  template <typename Visit>
  void ForEachOn(const void* word, const Visit& visit);
  int TakeOut(Sleeper& sleeper);

  static Sleepers* current_;

  Sleeper sleepers_[kMostActors] = {};
};

}  // namespace mp::model

#endif  // MP_TESTS_MODEL_SLEEPERS_H_
