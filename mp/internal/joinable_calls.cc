#include "mp/internal/joinable_calls.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/message_queue.h"
#include "shared/domain.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/object.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp::internal {

absl::StatusOr<JoinableState*> JoinableCalls::Make(size_t maxsize, int max_deliveries,
                                                   std::string_view name) {
  if (max_deliveries < 0) {
    return absl::InvalidArgumentError(absl::StrCat(max_deliveries, " deliveries at most"));
  }
  bool has_memory = true;
  absl::StatusOr<JoinableState*> state =
      MakeObject<JoinableState>(ObjectType::kJoinableQueue, name, [&](JoinableState& made) {
        has_memory = JoinableRings::Init(made, QueueCalls::LimitFor(maxsize),
                                         static_cast<uint64_t>(max_deliveries));
      });
  if (!state.ok() || has_memory) return state;
  FreeCell(*state);
  return absl::ResourceExhaustedError("JoinableQueue: no memory for its first messages");
}

JoinableState* JoinableCalls::MakeOrDie(size_t maxsize, int max_deliveries, std::string_view name) {
  return OrCannotMake(Make(maxsize, max_deliveries, name), ObjectType::kJoinableQueue,
                      sizeof(JoinableState), name);
}

// To wake --------------------------------------------------------------------------------------
//
// Each change is committed before the word on which its waiters sleep changes. Who dies between
// leaves nobody asleep: they all sleep until there is a death, too.

void JoinableCalls::Wake(JoinableState& state, size_t count) {
  state.take_sleeps.store(0, std::memory_order_relaxed);
  FutexWord& news = LowHalf(state.news);
  news.fetch_add(1, std::memory_order_acq_rel);
  FutexWake(news, static_cast<int>(std::min<size_t>(count, kWakeAll)));
}

// After what may have brought something back, or ended the last lease, without the locks.
void JoinableCalls::TellTakers(JoinableState& state) {
  JoinableRings rings(state);
  if (state.put_bell.load(std::memory_order_relaxed) != 0 && rings.WouldTake()) {
    rings.RingForReturned();
  }
  if (state.take_sleeps.load(std::memory_order_relaxed) == 0) return;  // [A] with [B]
  if (state.shut.load(std::memory_order_relaxed) != 0) return Wake(state, kWakeAll);
  const uint64_t returned = state.returned.load(std::memory_order_relaxed);
  if (returned != 0) Wake(state, returned);
}

// After what may have finished the last one.
void JoinableCalls::TellJoiners(JoinableState& state) {
  if (state.join_sleeps.load(std::memory_order_relaxed) == 0) return;  // [C] with [D]
  // While others are to come nobody can know more than before.
  if (!JoinableRings(state).AllAreOut()) return;
  state.join_sleeps.store(0, std::memory_order_relaxed);
  FutexWake(LowHalf(state.done), kWakeAll);
}

// To take --------------------------------------------------------------------------------------

// `try_it`, until it has another result than kBusy; it takes `count` at most.
JoinableCalls::Result JoinableCalls::Until(JoinableState& state, size_t count,
                                           const timespec* deadline,
                                           absl::FunctionRef<Result()> try_it) {
  auto try_with_memory = [&] { return MessageRings::WithMemory(try_it); };
  Result result = try_with_memory();
  if (result == Result::kBusy) [[unlikely]] {
    result = WaitUntil(state, deadline, try_with_memory);
  }
  // What was found to be returned by the dead, or dropped.
  TellTakers(state);
  TellJoiners(state);
  MessageQueue(state).WakeAfter(QueueEvent::kGet, count);
  JoinableRings(state).Tidy();
  return result;
}

JoinableCalls::Result JoinableCalls::WaitUntil(JoinableState& state, const timespec* deadline,
                                               absl::FunctionRef<Result()> try_it) {
  if (deadline != nullptr && IsPast(*deadline)) {
    // Perhaps nobody sleeps, and so nobody watches.
    return LookForTheDeadRarely() ? try_it() : Result::kBusy;
  }
  const JoinableRings rings(state);
  Result result = Result::kBusy;
  auto try_again = [&] {
    if (rings.MayTake()) result = try_it();
    return result != Result::kBusy;
  };
  if (SpinUntil(try_again)) return result;
  FutexWord& news = LowHalf(state.news);
  const SleepsOn note(LaneForNotes(), news);
  for (;;) {
    const uint32_t deaths = Deaths();
    const uint32_t seen = news.load(std::memory_order_acquire);
    state.take_sleeps.store(1, std::memory_order_seq_cst);  // [B] with [A]
    result = try_it();
    if (result != Result::kBusy) break;
    const WaitResult waited =
        Wait(news, seen, {.deadline = deadline, .deaths = &deaths, .spin = false});
    if (waited == WaitResult::kTimedOut) {
      result = try_it();
      break;
    }
  }
  // Others may sleep, and there may be more for them.
  if (result != Result::kBusy && rings.MayTake()) Wake(state, 1);
  return result;
}

absl::Status JoinableCalls::StatusOf(Result result, const JoinableState& state) {
  if (result != Result::kNoMemory) return QueueCalls::AfterGet(result, state);
  return absl::ResourceExhaustedError(
      absl::StrCat(state.Describe(), ": no memory to note who has a message: see MP_COMMIT_LIMIT"));
}

absl::Status JoinableCalls::Get(JoinableState& state, Received& received,
                                const timespec* deadline) {
  JoinableRings rings(state);
  size_t count;
  const Result result = Until(state, 1, deadline, [&] {
    return rings.TryGet(
        1, count, [&](const void* place, size_t size) { received.Read(place, size); },
        [&](const JoinableRings::Block& block) { received.Take(block); }, deadline);
  });
  return StatusOf(result, state);
}

absl::Status JoinableCalls::GetMany(JoinableState& state, size_t most,
                                    std::vector<std::unique_ptr<Received>>& received,
                                    const timespec* deadline) {
  JoinableRings rings(state);
  auto next = [&]() -> Received& { return *received.emplace_back(std::make_unique<Received>()); };
  size_t count;
  const Result result = Until(state, most, deadline, [&] {
    return rings.TryGet(
        most, count, [&](const void* place, size_t size) { next().Read(place, size); },
        [&](const JoinableRings::Block& block) { next().Take(block); }, deadline);
  });
  return StatusOf(result, state);
}

absl::Status JoinableCalls::Take(JoinableState& state, Lease& lease, const timespec* deadline) {
  JoinableRings rings(state);
  return StatusOf(Until(state, 1, deadline, [&] { return rings.TryLease(lease, deadline); }),
                  state);
}

void JoinableCalls::Finish(JoinableState& state, const Lease& lease) {
  JoinableRings rings(state);
  rings.Finish(lease);
  TellTakers(state);
  TellJoiners(state);
  rings.Tidy();
}

void JoinableCalls::Return(JoinableState& state, const Lease& lease) {
  JoinableRings rings(state);
  rings.Return(lease);
  TellTakers(state);
  TellJoiners(state);
  rings.Tidy();
}

// To join --------------------------------------------------------------------------------------

void JoinableCalls::TaskDone(JoinableState& state) {
  if (!JoinableRings(state).TaskDone()) {
    Fatal(absl::StrCat(state.Describe(), ": TaskDone() by pid ", getpid(),
                       ", and every value that was got is done"));
  }
  TellJoiners(state);
  JoinableRings(state).Tidy();
}

void JoinableCalls::Settle(JoinableState& state, const timespec* deadline) {
  JoinableRings rings(state);
  JoinableRings::Progress progress;
  static_cast<void>(rings.Look(progress, deadline));
  TellTakers(state);
  TellJoiners(state);
  rings.Tidy();
}

absl::Status JoinableCalls::Join(JoinableState& state, const timespec* deadline) {
  JoinableRings rings(state);
  FutexWord& done = LowHalf(state.done);
  for (bool last = false;;) {
    const uint32_t deaths = Deaths();
    const uint32_t seen = done.load(std::memory_order_acquire);
    state.join_sleeps.store(1, std::memory_order_seq_cst);  // [D] with [C]
    JoinableRings::Progress progress;
    const bool looked = rings.Look(progress, deadline);
    TellTakers(state);
    rings.Tidy();
    if (looked && progress.unfinished == 0) return absl::OkStatus();
    if (looked && progress.lost == progress.unfinished) {
      return absl::AbortedError(
          absl::StrCat(state.Describe(), ": ", progress.lost,
                       " values were got by processes that died before TaskDone(): call it that "
                       "often to go on"));
    }
    // Perhaps nobody sleeps, and so nobody watches.
    const bool past = deadline != nullptr && IsPast(*deadline);
    if (last || (past && !LookForTheDeadRarely())) {
      return LateStatus(
          absl::StrCat(state.Describe(), ": ", progress.unfinished, " values are not finished"));
    }
    last = past ||
           Wait(done, seen, {.deadline = deadline, .deaths = &deaths}) == WaitResult::kTimedOut;
  }
}

void JoinableCalls::Shutdown(JoinableState& state, bool immediate) {
  MessageQueue(state).Shut(immediate);
  Settle(state, nullptr);  // what is dropped goes
}

// LeaseHold ------------------------------------------------------------------------------------

LeaseHold::LeaseHold(const Handle<JoinableState>& state, const JoinableCalls::Lease& lease)
    : state_(state), lease_(lease), process_(Domain::Current()->ThisProcessIfAny()) {}

LeaseHold::LeaseHold(LeaseHold&& other) noexcept
    : state_(other.state_), lease_(other.lease_), process_(std::exchange(other.process_, 0)) {}

LeaseHold& LeaseHold::operator=(LeaseHold&& other) noexcept {
  if (this == &other) return *this;
  Return();
  state_ = other.state_;
  lease_ = other.lease_;
  process_ = std::exchange(other.process_, 0);
  return *this;
}

bool LeaseHold::Release() {
  const ProcessId process = std::exchange(process_, 0);
  return process != 0 && process == Domain::Current()->ThisProcessIfAny();
}

void LeaseHold::Finish() {
  if (Release()) JoinableCalls::Finish(*state_, lease_);
}

void LeaseHold::Return() {
  if (Release()) JoinableCalls::Return(*state_, lease_);
}

}  // namespace mp::internal
