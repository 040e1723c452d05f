#include "mp/internal/pool_maker.h"

#include <time.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/internal/futex.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp::internal {

using Phase = TaskWord::Phase;

absl::StatusOr<uint32_t> PoolMaker::Allocate() {
  if (free_.empty()) {
    static_cast<void>(state_.Skip());
    FreeRetired();
  }
  if (!free_.empty()) {
    const uint32_t task = free_.back();
    free_.pop_back();
    return task;
  }
  if (made_ == PoolState::kMostTasks) {
    return absl::ResourceExhaustedError(
        absl::StrCat(state_.Describe(), ": ", made_,
                     " tasks are not done; put fewer at once (chunksize, max_in_flight)"));
  }
  const uint32_t room = PoolState::kFirstSegment * ((uint32_t{1} << segments_) - 1);
  if (made_ == room) {
    if (!state_.AddSegment(segments_)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          state_.Describe(), ": no memory for more than ", made_, " tasks: see MP_COMMIT_LIMIT"));
    }
    ++segments_;
  }
  return made_++;
}

void PoolMaker::FreeRetired() {
  passed_ = TaskEnd::Of(state_.head.load(std::memory_order_acquire)).number;
  while (!retired_.empty() && TaskEnd::IsBefore(retired_.top().number, passed_)) {
    free_.push_back(retired_.top().task);
    retired_.pop();
  }
}

void PoolMaker::Put(uint32_t task) {
  number_ = (number_ + 1) & TaskEnd::kNumberMask;
  PoolTask& it = state_[task];
  it.next.store(0, std::memory_order_relaxed);
  it.word.store(TaskWord{number_, Phase::kReady}.word(), std::memory_order_relaxed);
  // In one order with worker_sleeps: either who is about to sleep sees it, or WakeWorkers() it.
  state_[last_].next.store(uint64_t{task} + 1, std::memory_order_seq_cst);
  last_ = task;
}

void PoolMaker::Recycle(uint32_t task) {
  const uint64_t number = Look(task).number;
  if (TaskEnd::IsBefore(number, passed_)) {
    free_.push_back(task);
  } else {
    retired_.push({.number = number, .task = task});
  }
}

bool PoolMaker::Revoke(uint32_t task, Phase phase) {
  TaskWord as = Look(task);
  if (as.phase != phase) return false;
  uint64_t expected = as.word();
  as.phase = Phase::kRevoked;
  return state_[task].word.compare_exchange_strong(expected, as.word(), std::memory_order_acq_rel);
}

void PoolMaker::TakeFinished(absl::FunctionRef<void(uint32_t task)> harvest) {
  uint64_t seen = state_.finished.load(std::memory_order_relaxed);
  TaskEnd end;
  do {
    end = TaskEnd::Of(seen);
    harvested_ = end.number;
    if (end.task == 0) return;
  } while (!state_.finished.compare_exchange_weak(seen, TaskEnd{end.number, 0}.word(),
                                                  std::memory_order_acquire));
  FreeRetired();
  // The last one is first.
  uint64_t before = 0;
  for (uint64_t task = end.task; task != 0;) {
    Word& link = state_[static_cast<uint32_t>(task - 1)].finished;
    const uint64_t next = link.load(std::memory_order_relaxed);
    link.store(before, std::memory_order_relaxed);
    before = task;
    task = next;
  }
  for (uint64_t task = before; task != 0;) {
    const auto index = static_cast<uint32_t>(task - 1);
    task = state_[index].finished.load(std::memory_order_relaxed);
    harvest(index);
  }
}

PoolMaker::News PoolMaker::LookForNews() const {
  return {.deaths = Deaths(), .events = state_.events.load(std::memory_order_acquire)};
}

void PoolMaker::AwaitFinished(uint64_t until, const News& news, const timespec* deadline) {
  // More than these take longer than a sleep; each look takes the word away from the workers.
  constexpr size_t kFew = 16;
  const auto is_there = [&] {
    const uint64_t number = TaskEnd::Of(state_.finished.load(std::memory_order_acquire)).number;
    return !TaskEnd::IsBefore(number, until) || LookForNews() != news;
  };
  const uint64_t now = TaskEnd::Of(state_.finished.load(std::memory_order_acquire)).number;
  if (!TaskEnd::IsBefore(now + kFew, until) && SpinUntil(is_there)) return;
  state_.maker_wants.store(PoolState::Want(until), std::memory_order_seq_cst);
  const uint64_t seen = state_.finished.load(std::memory_order_seq_cst);
  if (is_there()) return;
  Wait(LowHalf(state_.finished), static_cast<uint32_t>(seen),
       {.deadline = deadline, .deaths = &news.deaths, .spin = false, .nap = false});
}

void PoolMaker::Close() {
  state_.closed.store(1, std::memory_order_seq_cst);
  state_.puts.fetch_add(1, std::memory_order_seq_cst);
  // Whatever `worker_sleeps` says: the last one who was woken may not yet have said that others
  // sleep, too.
  FutexWake(state_.puts, kWakeAll);
}

}  // namespace mp::internal
