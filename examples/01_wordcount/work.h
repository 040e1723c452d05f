// Work: which file is to be counted by whom, in memory that the processes share.
//
//   state     written by                              meaning
//   kToDo     who gives it back, who begins anew      nobody has it
//   0, 1...   the worker of that number, from kToDo   it counts the file
//   kDone     the same worker, under the lock         the tally has it
//
// Each change is one store, so that a death leaves the state before it or the one after
// it. Whoever makes a file kToDo starts the search at the front again; until then, or if
// it dies before that, nobody may find the file. So whoever buries a worker calls
// GiveBack(), also when it seems to have had no file, and a new worker looks again.

#ifndef MP_EXAMPLES_01_WORDCOUNT_WORK_H_
#define MP_EXAMPLES_01_WORDCOUNT_WORK_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <optional>
#include <vector>

#include "shared/allocator.h"

namespace wordcount {

class Work {
 public:
  explicit Work(size_t files) : states_(files) {
    for (std::atomic<int>& state : states_) state = kToDo;
  }

  // A file that is the worker's from now on; none: there is nothing to take.
  std::optional<size_t> Take(int worker) {
    for (size_t file; (file = next_.fetch_add(1)) < states_.size();) {
      int state = kToDo;
      if (states_[file].compare_exchange_strong(state, worker)) return file;
    }
    return std::nullopt;
  }

  // What the worker had is to do again. It is dead, and nobody has its number yet.
  void GiveBack(int worker) { ChangeToToDo(worker); }

  // Under the lock of the tally: it has all of the file now.
  void MarkDone(size_t file) { states_[file] = kDone; }
  // Under the same lock: it has nothing any more.
  void BeginAnew() { ChangeToToDo(kDone); }

  // Counted anew each time: a number kept beside the states could be wrong after a death.
  size_t Done() const { return std::count(states_.begin(), states_.end(), kDone); }

 private:
  static constexpr int kToDo = -1;
  static constexpr int kDone = -2;

  // What others do meanwhile to files in other states stays.
  void ChangeToToDo(int from) {
    for (std::atomic<int>& state : states_) {
      if (state == from) state = kToDo;
    }
    next_ = 0;
  }

  std::vector<std::atomic<int>, mp::Allocator<std::atomic<int>>> states_;
  std::atomic<size_t> next_ = 0;  // where to look for the next file to do
};

}  // namespace wordcount

#endif  // MP_EXAMPLES_01_WORDCOUNT_WORK_H_
