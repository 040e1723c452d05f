#include "mp/internal/pool_state.h"

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "shared/domain.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp::internal {

using Phase = TaskWord::Phase;

bool PoolState::Init(uint32_t workers_count) {
  for (Word& segment : segments) segment.store(0, std::memory_order_relaxed);
  head.store(0, std::memory_order_relaxed);  // task 0, which is as good as taken
  finished.store(0, std::memory_order_relaxed);
  puts.store(0, std::memory_order_relaxed);
  worker_sleeps.store(0, std::memory_order_relaxed);
  maker_wants.store(0, std::memory_order_relaxed);
  events.store(0, std::memory_order_relaxed);
  closed.store(0, std::memory_order_relaxed);
  broken.store(0, std::memory_order_relaxed);
  const absl::StatusOr<void*> records = Domain::Current()->Allocate(
      workers_count * sizeof(WorkerRecord), alignof(WorkerRecord), Owner::Object(this));
  if (!records.ok()) return false;
  for (uint32_t w = 0; w < workers_count; ++w) {
    auto* const record = new (static_cast<WorkerRecord*>(*records) + w) WorkerRecord;
    record->Reset();
  }
  workers.store(reinterpret_cast<uint64_t>(*records), std::memory_order_relaxed);
  return AddSegment(0);
}

bool PoolState::AddSegment(size_t segment) {
  const uint32_t tasks = kFirstSegment << segment;
  const absl::StatusOr<void*> memory =
      Domain::Current()->Allocate(tasks * sizeof(PoolTask), PoolTask::kLine, Owner::Object(this));
  if (!memory.ok()) return false;
  auto* const first = static_cast<PoolTask*>(*memory);
  for (uint32_t i = 0; i < tasks; ++i) {
    auto* const task = new (first + i) PoolTask;
    task->word.store(0, std::memory_order_relaxed);
    task->next.store(0, std::memory_order_relaxed);
    task->argument.Clear();
    task->result.Clear();
  }
  segments[segment].store(reinterpret_cast<uint64_t>(first), std::memory_order_relaxed);
  return true;
}

void PoolState::FreeBlocks() {
  // The name is freed with the cell.
  const auto* const its_name = reinterpret_cast<const void*>(name.load(std::memory_order_relaxed));
  Domain::Current()->FreeOwnedBy(Owner::Object(this), {&its_name, 1});
}

uint32_t PoolState::TakeOrSkip(const uint32_t* w) {
  for (;;) {
    uint64_t seen = head.load(std::memory_order_acquire);
    const TaskEnd end = TaskEnd::Of(seen);
    const uint64_t next = (*this)[end.task].next.load(std::memory_order_acquire);
    if (next == 0) {
      // If head has moved on, that task may be a later one by now.
      if (head.load(std::memory_order_acquire) == seen) return kNone;
      continue;
    }
    const auto task = static_cast<uint32_t>(next - 1);
    const TaskEnd after = {.number = (end.number + 1) & TaskEnd::kNumberMask, .task = task};
    Word& word = (*this)[task].word;
    uint64_t what = word.load(std::memory_order_acquire);
    const TaskWord as = TaskWord::Of(what);
    bool taken = false;
    if (as.number == after.number && as.phase == Phase::kReady) {
      if (w == nullptr) return task;
      // Before: it is ready, and who comes next takes it.
      // After:  it is this worker's: the maker finds it by the word when it learns of the death.
      //         Who comes next moves head on (P2).
      // Test:   PoolCrashTest.ATakenTaskIsFound
      taken = word.compare_exchange_strong(what, TaskWord{after.number, Phase::kTaken, *w}.word(),
                                           std::memory_order_acq_rel);
    }
    // Where head has moved on meanwhile, its number has.
    head.compare_exchange_strong(seen, after.word(), std::memory_order_acq_rel);
    if (taken) return task;
  }
}

bool PoolState::MayHaveTask() const {
  const TaskEnd end = TaskEnd::Of(head.load(std::memory_order_seq_cst));
  return (*this)[end.task].next.load(std::memory_order_seq_cst) != 0;
}

uint32_t PoolState::AwaitTask(uint32_t w) {
  const auto may_go = [this] { return MayHaveTask() || IsClosed(); };
  std::optional<SleepsOn> note;  // until it has its task: its death passes a wake on
  bool slept = false;
  for (;;) {
    const uint32_t seen = puts.load(std::memory_order_acquire);
    const bool last = IsClosed();
    const uint32_t task = Take(w);
    if (task != kNone) {
      if (slept && MayHaveTask()) WakeWorkers(1);
      return task;
    }
    if (last) return kNone;
    if (SpinUntil(may_go)) continue;
    if (!note.has_value()) note.emplace(LaneForNotes(), puts);
    worker_sleeps.store(1, std::memory_order_seq_cst);
    if (may_go()) continue;
    Wait(puts, seen, {.spin = false});
    slept = true;
    // Who woke this one has taken it back, and others may sleep.
    worker_sleeps.store(1, std::memory_order_seq_cst);
  }
}

void PoolState::WakeWorkers(int count) {
  // Who does not say yet that it sleeps will look once more (PoolMaker::Put()).
  if (worker_sleeps.load(std::memory_order_seq_cst) == 0) return;
  worker_sleeps.store(0, std::memory_order_seq_cst);
  // Who has said so, and is not there yet, does not sleep.
  puts.fetch_add(1, std::memory_order_seq_cst);
  FutexWake(puts, count);
}

bool PoolState::Finish(uint32_t task, uint32_t w, bool failed) {
  PoolTask& it = (*this)[task];
  TaskWord as = TaskWord::Of(it.word.load(std::memory_order_relaxed));
  as.phase = Phase::kTaken;
  as.worker = w;
  uint64_t taken = as.word();
  as.phase = failed ? Phase::kFailed : Phase::kDone;
  // Before: it was taken by a worker that has died.
  // After:  its result is there, whatever becomes of the worker (P3).
  // Test:   PoolCrashTest.AResultIsThereOrItsTaskIsLost
  if (!it.word.compare_exchange_strong(taken, as.word(), std::memory_order_acq_rel)) return false;
  uint64_t seen = finished.load(std::memory_order_relaxed);
  TaskEnd end;
  do {
    end = TaskEnd::Of(seen);
    it.finished.store(end.task, std::memory_order_relaxed);
    end = {.number = end.number + 1, .task = task + 1};
  } while (!finished.compare_exchange_weak(seen, end.word(), std::memory_order_seq_cst));
  WakeMakerAt(end.number);
  return true;
}

void PoolState::Tell() {
  events.fetch_add(1, std::memory_order_seq_cst);
  uint64_t seen = finished.load(std::memory_order_relaxed);
  TaskEnd end;
  do {
    end = TaskEnd::Of(seen);
    ++end.number;
  } while (!finished.compare_exchange_weak(seen, end.word(), std::memory_order_seq_cst));
  WakeMaker();
}

void PoolState::WakeMakerAt(uint64_t number) {
  const uint64_t wants = maker_wants.load(std::memory_order_seq_cst);
  if (wants == 0) return;
  if (!TaskEnd::IsBefore(number, wants)) WakeMaker();
}

void PoolState::WakeMaker() {
  if (maker_wants.load(std::memory_order_seq_cst) == 0) return;
  maker_wants.store(0, std::memory_order_relaxed);
  // Who dies before this has changed the word that the maker sleeps on: its burial wakes it.
  FutexWake(LowHalf(finished), kWakeAll);
}

}  // namespace mp::internal
