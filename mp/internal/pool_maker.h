// PoolMaker: the one side of a PoolState that puts tasks and harvests them: its maker's process.
//
//   PoolMaker maker(state);
//   const uint32_t task = *maker.Allocate();
//   state[task].argument.SetBytes(...);
//   maker.Put(task);
//   state.WakeWorkers(1);
//   ...
//   maker.TakeFinished([&](uint32_t task) {
//     ... state[task].result ...
//     maker.Recycle(task);
//   });
//
// Threads: one at a time; but AwaitFinished(), LookForNews() and Look() beside others, too.
// Death:   its workers end with its process; nobody goes on with it.

#ifndef MP_MP_INTERNAL_POOL_MAKER_H_
#define MP_MP_INTERNAL_POOL_MAKER_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "mp/internal/pool_state.h"

namespace mp::internal {

class PoolMaker {
 public:
  explicit PoolMaker(PoolState& state) : state_(state) {}
  PoolMaker(const PoolMaker&) = delete;
  PoolMaker& operator=(const PoolMaker&) = delete;

  // A task to be filled in. kResourceExhausted: no memory, or there are as many as there can be.
  absl::StatusOr<uint32_t> Allocate();
  // Behind all others. Wakes nobody.
  void Put(uint32_t task);
  // One that was revoked, or harvested, and its values freed.
  void Recycle(uint32_t task);
  // One that was allocated, but is not put.
  void Unallocate(uint32_t task) { free_.push_back(task); }

  // Takes it back. False: a worker has taken it.
  [[nodiscard]] bool RevokeIfReady(uint32_t task) { return Revoke(task, TaskWord::Phase::kReady); }
  // From a worker, which learns of it when it is done. False: it is not taken, or finished.
  [[nodiscard]] bool RevokeIfTaken(uint32_t task) { return Revoke(task, TaskWord::Phase::kTaken); }

  // Those that were finished since the last call, the first one first.
  void TakeFinished(absl::FunctionRef<void(uint32_t task)> harvest);
  // Until `finished` has that number; or somebody of the family has died, or a worker has told
  // something, since `news` was what it is; at `deadline`, or when the thread is cancelled. It may
  // end for no reason.
  struct News {
    uint32_t deaths = 0;
    uint64_t events = 0;

    friend bool operator==(const News&, const News&) = default;
  };
  News LookForNews() const;
  void AwaitFinished(uint64_t until, const News& news, const timespec* deadline);
  // Its number when so many more are there than at the last harvest.
  uint64_t After(size_t more) const { return (harvested_ + more) & TaskEnd::kNumberMask; }
  // No more tasks: workers that find none leave.
  void Close();

  TaskWord Look(uint32_t task) const {
    return TaskWord::Of(state_[task].word.load(std::memory_order_acquire));
  }
  // How many were ever made: all tasks are below it.
  uint32_t bound() const { return made_; }

 private:
  struct Retired {
    uint64_t number;
    uint32_t task;
  };
  struct IsLater {
    bool operator()(const Retired& a, const Retired& b) const {
      return TaskEnd::IsBefore(b.number, a.number);
    }
  };

  bool Revoke(uint32_t task, TaskWord::Phase phase);
  void FreeRetired();

  PoolState& state_;
  uint64_t number_ = 0;     // of the last that was put
  uint64_t harvested_ = 0;  // the number of `finished` at the last harvest
  uint64_t passed_ = 0;     // head was there
  uint32_t last_ = 0;       // that; at first task 0, which is none
  uint32_t made_ = 1;
  size_t segments_ = 1;
  std::vector<uint32_t> free_;
  // Those that head may not have gone past (P1), the first of them on top.
  std::priority_queue<Retired, std::vector<Retired>, IsLater> retired_{
      IsLater(), std::vector<Retired>{{.number = 0, .task = 0}}};
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_POOL_MAKER_H_
