#include "mp/internal/message_queue.h"

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "shared/internal/deadline.h"
#include "shared/internal/futex.h"
#include "shared/internal/lane.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp::internal {

using Result = MessageQueue::Result;

void MessageQueue::Wake(QueueEvent event, size_t count) {
  FutexWake(WordOf(event), static_cast<int>(std::min<size_t>(count, kWakeAll)));
}

// By one that was woken and has what it wanted: others may sleep, and there may be more for them.
void MessageQueue::PassOn(QueueEvent event) {
  SleepsFor(event).store(1, std::memory_order_seq_cst);
  if (rings_.MayGo(event)) FutexWake(WordOf(event), 1);
}

Result MessageQueue::WaitFor(QueueEvent event, const timespec* deadline,
                             absl::FunctionRef<Result()> try_it) {
  if (deadline != nullptr && IsPast(*deadline)) {
    // Perhaps nobody sleeps, and so nobody watches.
    LookForTheDeadRarely();
    return Result::kBusy;
  }
  Result result = Result::kBusy;
  auto try_again = [&] {
    if (rings_.MayGo(event)) result = try_it();
    return result != Result::kBusy;
  };
  if (event == QueueEvent::kPut) rings_.LetSomeGather();
  if (SpinUntil(try_again)) return result;
  FutexWord& word = WordOf(event);
  // Until it has what it wants, and the others are seen to, a wake that it gets is passed on when
  // it dies.
  const SleepsOn note(LaneForNotes(), word);
  std::optional<uint32_t> passed;  // what the word was when a wake was no use here
  for (bool woken = false;;) {
    const uint32_t seen = word.load(std::memory_order_acquire);
    result = try_it();
    if (result != Result::kBusy) {
      if (woken) PassOn(event);
      return result;
    }
    SleepsFor(event).store(1, std::memory_order_seq_cst);  // [B] with [A]
    if (word.load(std::memory_order_seq_cst) != seen) continue;
    // It is too little for this one, which puts many; for another, perhaps, it is enough.
    if (woken && passed != seen && rings_.MayGo(event)) {
      passed = seen;
      FutexWake(word, 1);
    }
    const WaitResult waited = internal::Wait(
        word, seen, {.deadline = deadline, .cancel = &LowHalf(state().shut), .spin = false});
    if (waited == WaitResult::kTimedOut) {
      result = try_it();
      if (result == Result::kDone) PassOn(event);
      return result;
    }
    woken = woken || waited == WaitResult::kWoken;
  }
}

void MessageQueue::Shut(bool drop) {
  rings_.Shut(drop);
  for (FutexWord* word : {&state().puts(), &state().gets(), &LowHalf(state().shut)}) {
    FutexWake(*word, kWakeAll);
  }
}

}  // namespace mp::internal
