// tests/model/explore.h
//
// Explore: runs a few actors, which stand for processes, in every order of their steps, and with
// a death at every step. A step is one operation of an Atomic, one call of a mutex, or one of
// those below: the real code, compiled with the atomics and mutex calls of a model (the target
// :library), with nothing else between the steps.
//
//   struct State { Journal journal; Word one, two; };   // no pointers out of it
//
//   const Report report = Explore({.name = "journal: a commit", .kills = 1}, [](Model& model) {
//     State& state = model.Make<State>();                 // zero; the same address in each run
//     state.journal.Init();
//     model.Actor("writer", [&] { ... });
//     model.Actor("reader", [&] { ...; model.Require(one == two, "torn"); });
//     model.Always([&] { return Broken(state); });        // after each step; "": nothing is wrong
//     model.Check([&] { return Broken(state); });         // when all have ended or were killed
//   });
//   EXPECT_TRUE(report.Clean()) << report.Summary();
//
// Memory    sequentially consistent. A barrier that is missing is not found, a step that is.
// Death     An actor that is killed does nothing any more, and no destructor runs. Its mutexes
//           are the next one's, who gets EOWNERDEAD. One that ends leaves the same.
// Deadlock  Nobody can take a step, and not all have ended: a failure, as a failed Require().
//           With `last_resorts` a wait that has an end may come to it first.
// Failure   The first one ends the exploration. Summary() shows every step of that schedule, and
//           the numbers that Options::replay takes to run it alone, under a debugger say.
//
// How all schedules are so few (`reduce`)
//   Runs that meet are one from there on: what is still to come depends on the bytes of what
//   was made with Make(), and for each actor on what it saw in its steps. Hence:
//     - what is shared is made with Make(); all that an actor learns of it, it learns in steps,
//       or says with Note(). Notes of the model itself ("who has it") belong there, too. What is
//       not made so no actor writes.
//     - nothing else may differ from run to run: clocks stand still, a pid is that of the actor.
//   A step on what no other actor and no check ever touches, or what nobody ever writes, is not
//   a step. Who shares what is learned in passing; then the exploration starts anew.
//
// What is not all: `kills`, `timeouts` and `last_resorts` bound how many there are in a schedule,
// `preemptions` how often an actor that could go on has to stand back. Summary() says which were in
// force.

#ifndef MP_TESTS_MODEL_EXPLORE_H_
#define MP_TESTS_MODEL_EXPLORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace mp::model {

class Explorer;

struct Options {
  std::string name;
  int kills = 0;
  int timeouts = 0;                     // of waits that have an end, at any time
  int last_resorts = 0;                 // of those, more where nobody can go on otherwise
  int preemptions = -1;                 // -1: any number
  bool reduce = true;                   // false: each schedule to its end, each step a step
  int64_t most_schedules = 20'000'000;  // more than these are a failure
  std::string replay = {};              // this one only
};

struct Report {
  int64_t schedules = 0;  // how many were run, in part or to the end
  int64_t ended = 0;      // to the end; the others met one that had been there
  int64_t longest = 0;    // in steps
  std::string bounds;
  std::string failure;  // with the schedule; "": none

  bool Clean() const { return failure.empty(); }
  std::string Summary() const;
};

using ActorId = int;

class Model {
 public:
  // Before the actors run ------------------------------------------------------------

  template <typename T, typename... Args>
  T& Make(Args&&... args) {
    static_assert(std::is_trivially_destructible_v<T>);
    return *new (MakeBytes(sizeof(T), alignof(T))) T{std::forward<Args>(args)...};
  }
  void* MakeBytes(size_t size, size_t alignment);

  // By an actor: a fork, which is a step. What `body` captures of its stack it must copy, and
  // that of an actor may be gone before.
  ActorId Actor(std::string_view name, std::function<void()> body);
  // It is not killed.
  void Spare(ActorId actor);
  // Runs `set_up` with the number and pid of an actor.
  void As(ActorId actor, const std::function<void()>& set_up);

  // Of this variable, which the library has once for each thread, each actor has its own: what
  // it is now, at first.
  template <typename T>
  void PerActor(T& variable) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));
    AddPerActor(&variable, sizeof(T));
  }

  void Always(std::function<std::string()> broken);
  void Check(std::function<std::string()> broken);

  // By actors --------------------------------------------------------------------------

  void Require(bool holds, std::string_view otherwise);
  // A step: waits until `ready`, which looks at the run's state only, and changes nothing.
  void Await(const char* what, std::function<bool()> ready);
  // A step: what is now. `look` may be several reads, and a number that they come to.
  uint64_t Look(const char* what, const std::function<uint64_t()>& look);
  // Mixes what was learned by other means into what the actor saw.
  void Note(uint64_t value);

  // By anybody; an actor asks within Await() or Look() -----------------------------------

  bool Ended(ActorId actor) const;  // or was killed
  bool Killed(ActorId actor) const;
  int Actors() const;
  // The pid that getpid() gives it, and whose pid it is; -1: nobody's.
  static int PidOf(ActorId actor);
  ActorId ActorOf(int pid) const;

 private:
  friend class Explorer;
  explicit Model(Explorer& explorer) : explorer_(explorer) {}
  void AddPerActor(void* variable, size_t size);
  Explorer& explorer_;
};

Report Explore(const Options& options, const std::function<void(Model&)>& build);

// Whether an exploration runs the calling code.
bool Exploring();
// The pid of who runs.
int ModelPid();
// The Model that runs now: for what stands in for functions of the library.
Model& CurrentModel();

}  // namespace mp::model

#endif  // MP_TESTS_MODEL_EXPLORE_H_
